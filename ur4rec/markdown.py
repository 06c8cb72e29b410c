"""Markdown whose words are shown as they are, whatever they hold."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<!\w)[_@#]|_(?!\w)|:(?=\w)")
"""Characters, where they mean something in Markdown, or in MLflow's (mentions, emoji)."""


def escape_markdown(text: str) -> str:
    r"""Make of any words a line of Markdown that shows them.

    >>> print(escape_markdown("<b>*plays*</b> of a_b | [c](d)"))
    &lt;b&gt;\*plays\*&lt;/b&gt; of a_b \| \[c\](d)
    """
    return html.escape(_MARKUP.sub(r"\\\g<0>", " ".join(text.split())), quote=False)


def make_code_span(text: str) -> str:
    """Words as code; not for the cell of a table.

    >>> make_code_span("a`b")
    '`` a`b ``'
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
