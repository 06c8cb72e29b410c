"""The items that a text names, found by their titles.

Titles are compared by words. Case, accents, marks, an article in front and what stands in brackets do not matter.
Where titles overlap, the longest counts: "Batman Forever" is no mention of "Batman".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import islice

from ur4rec.text.requests import ItemRequest

MIN_CHARACTERS = 4
"""Titles with fewer letters and digits than this, all words together, are left out."""
MIN_CHARACTERS_ALONE = 6
"""A single word is found without the article of its title only if it is at least this long."""

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])[^\W_])+"
)
"""This matches a word, or one character of a script that puts no space between words."""
_ASCII_WORD = re.compile("[A-Za-z0-9]+")
"""This matches the same where there are no other letters, ten times as fast."""
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_BRACKETS = re.compile(r"\s*\([^()]*\)")
_ARTICLES = frozenset(("the", "a", "an", "la", "le", "les", "il", "el", "los", "las", "das", "der", "die"))
_SENTENCE_ENDS = (".", "!", "?", "…", "\n")

Words = tuple[str, ...]


class TitleIndex:
    """The titles of a catalogue, ready to be found in texts.

    Some titles would be found where nobody names them, so they are left out: those of fewer than four letters and
    digits, those of digits alone, and those of one word that is written small or is the name of a genre.

    Args:
        items: Request of item index i at position i − 1.
    """

    def __init__(self, items: Sequence[ItemRequest]) -> None:
        genres = {_normalise(genre) for item in items for genre in item.genres}
        self._items: dict[Words, set[int]] = defaultdict(set)
        for index, item in enumerate(items, 1):
            for words in _spell(item.name):
                if _is_telling(words, item.name, genres):
                    self._items[words].add(index)
        self._add_short_forms(items, genres)
        lengths: dict[str, set[int]] = defaultdict(set)
        for words in self._items:
            lengths[words[0]].add(len(words))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        self.nameable = frozenset(index for indices in self._items.values() for index in indices)
        """The indices of the items that can be found."""

    def _add_short_forms(self, items: Sequence[ItemRequest], genres: set[Words]) -> None:
        """Add what stands before a colon as a title, unless it names or begins another title ("Star Trek")."""
        names = {index: _BRACKETS.sub("", item.name) for index, item in enumerate(items, 1) if ":" in item.name}
        heads = {index: _drop_article(_normalise(name.split(":")[0])) for index, name in names.items()}
        counts = Counter(heads.values())
        for index, head in heads.items():
            if len(head) > 1 and counts[head] == 1 and head not in self._items and _is_telling(head, "", genres):
                self._items[head].add(index)

    def find(self, text: str) -> frozenset[int]:
        """Return the indices of the items that a text names.

        A title has to begin with a capital letter there, if its script has any. At the beginning of a sentence, a
        title of one word counts only in quotation or emphasis marks.

        >>> items = [ItemRequest("1", "The Wedding Singer"), ItemRequest("2", "Batman"), ItemRequest("3", "Heat")]
        >>> sorted(TitleIndex(items).find("Likes *Wedding Singer* and Heat. Batman Forever is no favourite."))
        [1, 3]
        """
        text = _flatten(text)
        words = _pattern(text).findall(text)
        spelled = tuple(map(str.casefold, words))
        found: set[int] = set()
        position = 0
        while position < len(words):
            title = () if words[position][0].islower() else self._match(text, spelled, position)
            if title:
                found |= self._items[title]
            position += len(title) or 1
        return frozenset(found)

    def _match(self, text: str, words: Words, position: int) -> Words:
        """Return the longest title that begins at a word, or an empty one."""
        for length in self._lengths.get(words[position], ()):
            title = words[position : position + length]
            if title in self._items and not (length == 1 and _opens_sentence(text, position)):
                return title
        return ()


def _spell(name: str) -> set[Words]:
    """Spell a name with brackets and without, each also without its article where the rest is long enough."""
    spelled = {_normalise(name), _normalise(_BRACKETS.sub("", name))}
    return {words for words in spelled | {_drop_article(words) for words in spelled} if words}


def _drop_article(words: Words) -> Words:
    rest = words[1:]
    is_long = len(rest) > 1 or len("".join(rest)) >= MIN_CHARACTERS_ALONE
    return rest if words and words[0] in _ARTICLES and is_long else words


def _is_telling(words: Words, name: str, genres: set[Words]) -> bool:
    joined = "".join(words)
    if len(joined) < MIN_CHARACTERS or joined.isdigit() or words in genres:
        return False
    return len(words) > 1 or not name[:1].islower()


def _normalise(text: str) -> Words:
    """Return the words in small letters without accents; "&" is "and"."""
    text = _flatten(text)
    return tuple(map(str.casefold, _pattern(text).findall(text)))


def _flatten(text: str) -> str:
    """Return a text without accents and apostrophes."""
    text = _APOSTROPHE.sub("", text.replace("&", " and "))
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(mark for mark in decomposed if not unicodedata.combining(mark)))


def _pattern(text: str) -> re.Pattern[str]:
    return _ASCII_WORD if text.isascii() else _WORD


def _opens_sentence(text: str, position: int) -> bool:
    """Return whether the word at a position begins a sentence without a quotation or emphasis mark in front."""
    match = next(islice(_pattern(text).finditer(text), position, None))
    before = text[max(0, match.start() - 4) : match.start()].rstrip(" \t")
    return not before or before.endswith(_SENTENCE_ENDS)
