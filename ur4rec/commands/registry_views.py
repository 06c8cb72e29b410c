"""`ur4rec registry`: history, list, show, compare, and what all its commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import ConfigOption, SetOption, TrackingOption, read_config, show, show_table
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from ur4rec.registry.config import RegistryConfig

REFUSED = 1
MINUTES = len("2026-01-31 10:00")
"""A list shows so much of a time."""


def history(tracking_uri: TrackingOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Who made which version champion, when and why; moves by hand are shown as such.

    For example:

        ur4rec registry history
    """
    from ur4rec.registry.gate.verdict import NOBODY
    from ur4rec.registry.version_table import show_history

    with asking(config, settings) as names:
        found, unsettled = show_history(names, tracking_uri)
    columns = ("what", "version", "before", "at", "by", "gate", "reason")
    rows = [
        (
            str(move.kind),
            move.version or NOBODY,
            move.previous or NOBODY,
            move.at or "not known",
            move.by or "not known",
            move.verdict,
            move.reason,
        )
        for move in found.entries
    ]
    show_table(f"champions of {names.registered_model_name}", columns, rows)
    show(f"champion: {found.describe_champion()}")
    show(f"way back: {' → '.join(version or NOBODY for version in found.champions) or 'none'}")
    for line in unsettled:
        show(f"under way, or else: {line}; the next promote or rollback settles it")


def list_versions(tracking_uri: TrackingOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Every version with its aliases, its test result and the verdict of the gate.

    For example:

        ur4rec registry list
    """
    from ur4rec.registry.version_table import list_versions

    columns = ("version", "aliases", "registered (UTC)", "data", "ndcg@10", "gate", "promoted (UTC)")
    with asking(config, settings) as names:
        versions = list_versions(names, tracking_uri)
    rows = [
        (
            each.version,
            each.aliases.replace(", ", "\n"),
            _stack(each.registered_at[:MINUTES]),
            _stack(each.dataset),
            each.headline,
            each.verdict,
            _stack(each.promoted_at[:MINUTES]),
        )
        for each in versions
    ]
    show_table(f"versions of {names.registered_model_name}", columns, rows)


def show_version(
    version: Annotated[str, typer.Argument(help="Number or alias.")],
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Everything that is recorded of one version, and whether its files are there.

    For example:

        ur4rec registry show 3

        ur4rec registry show champion
    """
    from ur4rec.registry.version_table import show_version

    with asking(config, settings) as names:
        rows = show_version(names, version, tracking_uri)
    show_table(f"{names.registered_model_name}, {version}", ("what", "value"), rows)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Number or alias.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Two versions side by side: test metrics with their intervals, tags, settings that differ.

    Each was measured on the targets of its own data. To judge, ask the gate: it scores both on the same targets.

    For example:

        ur4rec registry compare champion challenger
    """
    from ur4rec.registry.version_table import compare_versions

    with asking(config, settings) as names:
        found = compare_versions(names, first, second, tracking_uri)
    columns = tuple(f"version {number}" for number in found.versions)
    intervals = tuple(f"95 % of {number}" for number in found.versions)
    show_table("test metrics", ("metric", *columns, *intervals), found.metrics)
    show_table("tags that differ", ("tag", *columns), found.tags)
    show_table("settings that differ", ("setting", *columns), found.settings)
    if not found.same_data:
        show("measured on different data, so the metrics cannot be compared: ask `ur4rec registry gate`")


@contextmanager
def asking(config: ConfigOption, settings: SetOption) -> Iterator[RegistryConfig]:
    """Read the names of model and aliases, and show on a terminal that MLflow is at work with them.

    The command ends with code 1, not 2, where all works and the answer is no.
    """
    from ur4rec.registry.champion.move import PromotionRefused
    from ur4rec.registry.config import RegistryConfig

    names = read_config(config, settings).narrow(RegistryConfig)
    try:
        with PlainConsole(stderr=True).status("asking MLflow"):
            yield names
    except PromotionRefused as refused:
        PlainConsole(stderr=True).tell(("Refused:", "red"), f" {refused}")
        raise typer.Exit(REFUSED) from None


def _stack(text: str) -> str:
    """Put the last word below the others, so that a narrow terminal breaks neither."""
    head, _, last = text.rpartition(" ")
    return f"{head}\n{last}" if head else last
