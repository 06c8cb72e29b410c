"""Which language a text is in, by its letters and its commonest words.

Meant to notice an answer in the wrong language, not to identify languages. Two rules: most letters belong to the
script of the language, and no other language of the same script shows more of its function words than it does
itself. The lists hold words that the others of the same script do not share.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

MIN_SCRIPT_SHARE = 0.7
"""Letters of the expected script, at the least: foreign titles may stand in a text."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language that texts can be written in.

    Args:
        name: In English, as a prompt says it.
        scripts: First words of the Unicode names of its letters.
        words: Function words that set it apart from the others of its script.
    """

    name: str
    scripts: tuple[str, ...]
    words: frozenset[str] = frozenset()


def _latin(name: str, words: str) -> Language:
    return Language(name, ("LATIN",), frozenset(words.split()))


LANGUAGES = {
    "en": _latin("English", "the of and with that this from which for are is their they to by its"),
    "de": _latin("German", "der das und ist von mit ein eine einen einer dem den für sich auch nicht auf zu"),
    "fr": _latin("French", "le les et est des du une dans pour avec qui aux sont ce cette ces sur il elle"),
    "es": _latin("Spanish", "el los las y es una con para por del su sus como más este esta"),
    "it": _latin("Italian", "il gli e è di che con per della delle dei una nel sono questo anche"),
    "pt": _latin("Portuguese", "o os as e é uma com para por do da dos das em não são seu sua"),
    "nl": _latin("Dutch", "het een en van voor met zijn dat deze ook naar bij wordt niet"),
    "zh": Language("Chinese", ("CJK",)),
    "ja": Language("Japanese", ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")),
    "ko": Language("Korean", ("HANGUL",)),
    "ru": Language("Russian", ("CYRILLIC",)),
}
_WORD = re.compile(r"[^\W\d_]+")


def is_in_language(text: str, code: str) -> bool:
    """Whether a text can be in a language of `LANGUAGES`.

    >>> is_in_language("A warm comedy for children.", "en"), is_in_language("Une comédie pour les enfants.", "en")
    (True, False)
    """
    language = LANGUAGES[code]
    if _share_in_script(text, language.scripts) < MIN_SCRIPT_SHARE:
        return False
    counts = Counter(chain.from_iterable(_find_languages(word) for word in _WORD.findall(text.lower())))
    return counts[code] >= max(counts[other] for other in LANGUAGES if LANGUAGES[other].scripts == language.scripts)


@lru_cache(maxsize=1 << 14)
def _find_languages(word: str) -> tuple[str, ...]:
    return tuple(code for code, language in LANGUAGES.items() if word in language.words)


def _share_in_script(text: str, scripts: tuple[str, ...]) -> float:
    counts = {character: count for character, count in Counter(text).items() if character.isalpha()}
    matching = sum(count for character, count in counts.items() if _find_script(character) in scripts)
    return matching / sum(counts.values()) if counts else 0.0


@lru_cache(maxsize=1 << 12)
def _find_script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0]
