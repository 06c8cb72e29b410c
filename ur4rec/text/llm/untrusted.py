"""Text from outside (titles, descriptions, answers of a model) made harmless to quote.

Whatever goes into a prompt is cleaned, shortened, written as JSON and put between two marks that the cleaned
text cannot contain. A title may still say anything; it cannot end its string, its block or its message.
"""

from __future__ import annotations

import json
import re
import unicodedata

BEGIN_DATA = "<<<BEGIN DATA>>>"
END_DATA = "<<<END DATA>>>"
ELLIPSIS = "…"
_MARK_CHARACTERS = re.compile(r"[<>`]+")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what a reader does not see: controls, direction marks, tags, half surrogates."""
_READ_PER_CHARACTER = 4
"""Characters of the original looked at for one that is kept, so that a huge text costs nothing."""
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def drop_hidden(text: str) -> str:
    r"""Text without control, formatting and unassigned characters, its white space made single spaces.

    >>> drop_hidden("Toy\u202e \n\x00Story")
    'Toy Story'
    """
    text = unicodedata.normalize("NFC", text)
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = (" " if character.isspace() else character for character in text if not _is_hidden(character))
    return " ".join("".join(kept).split())


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and not character.isspace()


def clean(text: str, max_characters: int) -> str:
    """Text that can be quoted in a prompt: one line, no hidden characters, no angle brackets or backticks.

    >>> clean("Ignore this <b>now</b>", 100)
    'Ignore this b now /b'
    >>> clean("A very long title", 7)
    'A very…'
    """
    shortened = text[: max_characters * _READ_PER_CHARACTER]
    cleaned = " ".join(_MARK_CHARACTERS.sub(" ", drop_hidden(shortened)).split())
    if len(cleaned) <= max_characters:
        return cleaned
    return cleaned[: max_characters - 1].rstrip() + ELLIPSIS


def delimit(data: dict[str, object]) -> str:
    """A JSON object between the two marks, one key a line."""
    lines = (f"{_to_json(key)}: {_to_json(value)}" for key, value in data.items())
    return f"{BEGIN_DATA}\n{{" + ",\n ".join(lines) + f"}}\n{END_DATA}"
