"""Puts in what is left to the data, where the data are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from textwrap import wrap
from types import MappingProxyType

from ur4rec.auto.rules import Choice, Value, choose
from ur4rec.auto.statistics import measure
from ur4rec.config_section import Section
from ur4rec.data.sequences import Sequences

WIDTH = 80
"""Columns of a terminal that a table takes."""
LONGEST_VALUE = 18
INHERITED = "that of the model it begins with"


def settle(
    section: Section, data: Sequences, told: str = "", inherited: Mapping[str, Value] = MappingProxyType({})
) -> Section:
    """Return settings with values for those that are left to the data; equal data and settings always decide alike.

    Args:
        section: The settings.
        data: Only their training prefixes and the size of the catalogue are looked at.
        told: Begins the lines that are printed of what was chosen; empty: nothing is printed.
        inherited: Setting → value that a model has which training begins with; it goes before the data.

    Raises:
        ConfigError: A value does not go with the settings that are given.
    """
    left = section.left_to_data
    if not left:
        return section
    given = dict(inherited) | {name: value for name, value in section.to_dict().items() if name not in left}
    choices = choose(measure(data), given) | {name: Choice(value, INHERITED) for name, value in inherited.items()}
    chosen = {name: choice for name, choice in choices.items() if name in left}
    settled = section.settle(
        {name: choice.value for name, choice in chosen.items()},
        {name: choice.reason for name, choice in chosen.items()},
    )
    if told:
        print(f"{told}: settings from the data\n{describe(chosen)}", flush=True)
    return settled


def spell(value: Value | list[str]) -> str:
    """Return a value as a file would have it; a manifest has a list where the setting is a tuple.

    >>> spell(("user_preference", "item_description")), spell(["item_description"]), spell(0.5)
    ('[user_preference, item_description]', '[item_description]', '0.5')
    """
    return f"[{', '.join(value)}]" if isinstance(value, list | tuple) else str(value)


def describe(choices: Mapping[str, Choice]) -> str:
    """Return a table of settings, values and reasons, of which long ones go on below.

    >>> print(describe({"max_seq_len": Choice(50, "short"), "batch_size": Choice(128, "few")}))
      max_seq_len   50  short
      batch_size   128  few
    """
    rows = [(name, wrap(spell(choice.value), LONGEST_VALUE), choice.reason) for name, choice in choices.items()]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = max(len(part) for _, value, _ in rows for part in value)
    lines = []
    for name, value, reason in rows:
        reasons = wrap(reason, WIDTH - name_width - value_width - 6)
        cells = zip_longest([name], value, reasons, fillvalue="")
        lines += [f"  {own:<{name_width}}  {part:>{value_width}}  {why}".rstrip() for own, part, why in cells]
    return "\n".join(lines)
