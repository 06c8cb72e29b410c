"""What is printed with rich, shown as it is written: ids, titles and names are never markup, emoji codes or commands.

Everything that prints with rich does so through this module.
"""

from __future__ import annotations

from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.progress import Task, TextColumn
from rich.style import Style
from rich.text import Text

_UNSEEN = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_REPLACED = dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
_INERT = _UNSEEN | _REPLACED


def make_inert(text: str) -> str:
    r"""Turn control characters into signs that a terminal shows; halves of characters have no sign of their own.

    >>> make_inert("\x1b[31mred\r[bold] :smile:\n")
    '␛[31mred␍[bold] :smile:\n'
    """
    return text.translate(_INERT)


class PlainConsole(Console):
    """A console for which all text is text; styles are given beside it."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """Return what rich makes of every string: of printed ones, of titles, headings and cells of tables."""
        return Text(make_inert(text), style=style, justify=justify, overflow=overflow)

    def tell(self, *parts: str | tuple[str, str]) -> None:
        """Print a line that is not broken, of texts or pairs of a text and its style."""
        styled = [(part, "") if isinstance(part, str) else part for part in parts]
        self.print(Text.assemble(*((make_inert(text), style) for text, style in styled)), soft_wrap=True)


class PlainColumn(TextColumn):
    """A column of a progress bar: fields of the task in a format of Python's."""

    def render(self, task: Task) -> Text:
        """Return the column of one task."""
        return Text(make_inert(self.text_format.format(task=task)), style=self.style, justify=self.justify)
