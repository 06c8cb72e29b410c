"""Texts of an item table without markup, and genres out of the ways in which lists are written into one field."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html.entities import html5
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.columns import DESCRIPTION, GENRE_SEPARATOR, GENRES
from ur4rec.data.fields import parse_text
from ur4rec.data.tables import Table

INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|strong|"
    "sub|sup|tt|u|var|wbr"
)
"""These elements stand inside a word or a line; nothing takes the place of their tags."""
BLOCK = (
    "address|article|aside|audio|base|blockquote|body|br|button|caption|center|col|colgroup|dd|details|div|dl|dt|"
    "embed|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|legend|li|link|main|"
    "meta|nav|noscript|object|ol|optgroup|option|p|param|picture|pre|script|section|select|source|style|summary|"
    "svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
)
"""These elements part what stands before them from what stands behind them; a space takes the place of their tags."""
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)|\s+(?:async|defer|clear|noshade|nowrap))*\s*/?"""
_REMOVALS = (
    (rf"(?is)<script{_ATTRIBUTES}>.*?(?:</script\s*>|\z)", " "),
    (rf"(?is)<style{_ATTRIBUTES}>.*?(?:</style\s*>|\z)", " "),
    (r"(?s)<!--.*?-->", " "),
    (rf"(?i)</?(?:{INLINE}){_ATTRIBUTES}>", ""),
    (rf"(?i)</?(?:{BLOCK}){_ATTRIBUTES}>|<!doctype[^>]*>", " "),
    (r"[\s\x{a0}]+", " "),
)
"""RE2 runs these patterns over a whole column, in time that grows with its length alone."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")
_MARKUP = r"<(?:/?[A-Za-z]|!--|!doctype)|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
ESCAPED_TWICE = 2

NOTHING = frozenset({"", "(no genres listed)", "\\n", "n/a", "nan", "none", "null"})
"""These labels say that there is no genre; they are compared in lower case."""
MAX_LIST_CHARS = 20_000
_TEXT = r"""(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\")"""
_QUOTED = re.compile(_TEXT)
_NAMED = re.compile(rf"['\"]name['\"]\s*:\s*{_TEXT}")
_BRACKET = re.compile(r"[][{}]")
_ENUMERATION = re.compile(r",[^,;]*( & | and )")


@dataclass(frozen=True)
class CleanTexts:
    """A column of texts."""

    texts: list[str]
    num_cleaned: int
    """This many of them held markup."""


def read_clean_texts(table: Table, name: str) -> CleanTexts:
    """Read a column of texts, or empty ones where there is none: no markup, genres as `A|B`.

    Raises:
        DataError: The column's type has no text form.
    """
    if name not in table.columns.column_names:
        return CleanTexts([""] * table.columns.num_rows, 0)
    texts, num_cleaned = clean_markup(_read_column(table, name))
    if name == GENRES:
        return CleanTexts(tidy_genres(texts), num_cleaned)
    return CleanTexts([join_list(text) for text in texts] if name == DESCRIPTION else texts, num_cleaned)


def clean_markup(texts: pa.ChunkedArray) -> tuple[list[str], int]:
    """Return texts with entities undone and tags removed, and how many have changed.

    What merely looks like markup stays: `I <3 you`, `a < b`, `List<String>`, `AT&T`. An unchanged text keeps its
    spaces.

    >>> clean_markup(pa.chunked_array([["H<sub>2</sub>O &amp; <b>salt</b><br>1 <3 2"]]))
    (['H2O & salt 1 <3 2'], 1)
    """
    cleaned: list[str] = texts.to_pylist()
    rows = pc.indices_nonzero(pc.match_substring_regex(texts, _MARKUP)).to_pylist()
    found = [cleaned[row] for row in rows]
    plain = pa.array([_undo_entities(text) for text in found], pa.string())
    for pattern, replacement in _REMOVALS[:-1]:
        plain = pc.replace_substring_regex(plain, pattern, replacement)
    pattern, replacement = _REMOVALS[-1]
    squeezed = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, pattern, replacement)).to_pylist()
    num_cleaned = 0
    for row, before, after, text in zip(rows, found, plain.to_pylist(), squeezed, strict=True):
        if after != before:
            cleaned[row] = text
            num_cleaned += 1
    return cleaned, num_cleaned


def tell_cleaned(items: dict[str, Any]) -> str:
    """Return a line about the texts that held markup, or nothing."""
    count = items.get("cleaned_texts", 0)
    return f"{count:,} texts of the item table held markup: entities are undone, tags removed" if count else ""


def tidy_genres(texts: Sequence[str]) -> list[str]:
    """Return genres as `A|B` out of any way to write a list.

    A list in brackets may be of JSON, Python or numpy; lists in lists are one list, and an object counts by its
    `name`. A column without `|` is split at commas and semicolons. It is not split if that makes more names than
    there were values and some of these enumerate: `Clothing, Shoes & Jewelry` is one name.

    >>> tidy_genres(["['Action', 'Drama']", '[["Books", "Poetry"], ["Books"]]', "(no genres listed)"])
    ['Action|Drama', 'Books|Poetry', '']
    >>> tidy_genres(["Action, Drama", "Drama"])
    ['Action|Drama', 'Drama']
    """
    listed = _map_distinct(texts, lambda text: join_list(text, GENRE_SEPARATOR))
    split = _split_at_commas if _holds_commas(set(listed)) else _split_at_bars
    return _map_distinct(listed, lambda text: GENRE_SEPARATOR.join(_name_genres(split(text))))


def join_list(text: str, separator: str = " ") -> str:
    """Return the entries of a list that is written in brackets, and any other text as it is."""
    stripped = text.strip()
    if len(text) > MAX_LIST_CHARS or stripped[:1] + stripped[-1:] not in ("[]", "{}"):
        return text
    if separator != GENRE_SEPARATOR and stripped[1:].lstrip()[:1] not in ("'", '"', "]"):
        return text  # a sentence may begin and end with a bracket
    return separator.join(_flatten(_parse_list(stripped)))


def _read_column(table: Table, name: str) -> pa.ChunkedArray:
    """Read the texts of a column; those of a list of lists or of objects are joined as well."""
    column = table.columns[name]
    separator = GENRE_SEPARATOR if name == GENRES else " "
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pa.chunked_array([[separator.join(_flatten(value)) for value in column.to_pylist()]], pa.string())
    return parse_text(table, name)


def _undo_entities(text: str) -> str:
    """Undo entities with their semicolon, and those that were escaped a second time; unknown ones stay."""
    for _ in range(ESCAPED_TWICE):
        text = _ENTITY.sub(
            lambda match: html5.get(f"{match[1]};", match[0]) if match[1] else html.unescape(match[0]), text
        )
    return text


def _parse_list(text: str) -> Any:
    """Read a list of JSON, or else one as Python or numpy writes it: nothing but quoted texts, or the names in it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if quoted := _NAMED.findall(text) or _QUOTED.findall(text):
        return [re.sub(r"\\(.)", r"\1", single or double) for single, double in quoted]
    if _BRACKET.search(text[1:-1]):
        return text  # `[b]Drama[/b]` is no list
    return [entry.strip() for entry in text[1:-1].split(",")]


def _flatten(value: Any) -> Iterator[str]:
    """Yield the texts of lists in lists; an object is its name, or the list of its keys."""
    if isinstance(value, dict):
        value = value["name"] if "name" in value else list(value)
    if isinstance(value, list | tuple | set):
        for entry in value:
            yield from _flatten(entry)
    elif value is not None:
        yield str(value)


def _holds_commas(values: set[str]) -> bool:
    """Return whether commas and semicolons part the genres of a column."""
    if any(GENRE_SEPARATOR in value for value in values):
        return False
    parts = {part.strip() for value in values for part in _split_at_commas(value)}
    return len(parts) <= len(values) or not any(map(_ENUMERATION.search, values))


def _split_at_commas(text: str) -> list[str]:
    return re.split("[,;]", text)


def _split_at_bars(text: str) -> list[str]:
    return text.split(GENRE_SEPARATOR)


def _name_genres(parts: Iterable[str]) -> Iterator[str]:
    names = dict.fromkeys(part.strip() for part in parts)
    return (name for name in names if name.lower() not in NOTHING)


def _map_distinct(texts: Sequence[str], change: Callable[[str], str]) -> list[str]:
    changed = {text: change(text) for text in dict.fromkeys(texts)}
    return [changed[text] for text in texts]
