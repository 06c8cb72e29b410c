"""What a text that is not UTF-8 may be encoded by: proposals for the user, who decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

LATIN = {
    "cp1252": "àáâãäåæçèéêëìíîïñòóôõöøùúûüßœ’“”–…",
    "cp1250": "ąćęłńóśźżáčďéěíňřšťúůýžőűăâîşţäöüßđ’“”–…",
    "cp1254": "çğışöüâîû’“”–…",
}
"""Encoding → letters, among those of ASCII, of the languages that are written in it."""
FOREIGN = {
    "gb18030": ("gb2312", range(0xB0, 0xD8)),
    "shift_jis": ("euc_jp", (0xA4, 0xA5, *range(0xB0, 0xD0))),
    "big5": ("big5", range(0xA4, 0xC7)),
    "cp1251": ("iso8859_5", range(0xA1, 0x100)),
    "euc_kr": ("euc_kr", range(0xB0, 0xC9)),
    "euc_jp": ("euc_jp", (0xA4, 0xA5, *range(0xB0, 0xD0))),
    "koi8_r": ("iso8859_5", range(0xA1, 0x100)),
    "cp1253": ("iso8859_7", range(0xB6, 0xFF)),
    "cp1255": ("iso8859_8", range(0xE0, 0xFB)),
    "cp1256": ("iso8859_6", range(0xC1, 0xF3)),
}
"""Encoding → where the frequent characters of its languages stand: a character set, and their first bytes in it."""
CANDIDATES = [*LATIN, *FOREIGN]
"""Of two that read a text equally well, the first is taken to be the likelier."""
SAMPLE_LINES = 2_000
SAMPLE_BYTES = 1 << 16
MOST_PROPOSALS = 3
SHOWN_CHARACTERS = 30
NOT_ASCII = re.compile(r"(?<![a-zA-Z])[^\x00-\x7f]+(?![a-zA-Z])")


def propose_encodings(lines: Iterable[bytes]) -> str:
    """Tell the likeliest encodings, each with the first text that is not ASCII as it reads it."""
    foreign = list(islice((line for line in lines if not line.isascii()), SAMPLE_LINES))
    proposals = rank_encodings(b"".join(foreign)[:SAMPLE_BYTES].rpartition(b"\n")[0] or foreign[0])
    if not proposals:
        return "no encoding of text fits; is it damaged, or no text at all?"
    shown = " or ".join(f"--set encoding={name} ({_show(foreign[0], name)!r})" for name in proposals[:MOST_PROPOSALS])
    return f"name the encoding that reads well: {shown}"


def rank_encodings(sample: bytes) -> list[str]:
    """Return the encodings that a text can have, the likeliest first; of those that read it alike, one.

    >>> rank_encodings("倩女幽魂".encode("gb18030"))[0], rank_encodings("Amélie".encode("latin-1"))[0]
    ('gb18030', 'cp1252')
    """
    from charset_normalizer import from_bytes  # only a text that cannot be read waits for it

    found = []
    for match in from_bytes(sample, cp_isolation=CANDIDATES):
        name = min(set(CANDIDATES) & set(match.could_be_from_charset), key=CANDIDATES.index)
        found.append((-round(_share_of_frequent(str(match), name), 1), match.chaos, CANDIDATES.index(name), name))
    return [name for *_, name in sorted(found)]


def _share_of_frequent(text: str, encoding: str) -> float:
    """Share of the characters outside of ASCII that are frequent in the languages of an encoding."""
    characters = [character for character in text.lower() if not character.isascii()]
    if encoding in LATIN:
        return sum(character in LATIN[encoding] for character in characters) / len(characters)
    charset, first_bytes = FOREIGN[encoding]
    apart = "".join(NOT_ASCII.findall(text))
    return sum(_first_byte(character, charset) in first_bytes for character in apart) / len(characters)


def _first_byte(character: str, charset: str) -> int:
    return (character.encode(charset, errors="ignore") or b"\0")[0]


def _show(line: bytes, encoding: str) -> str:
    text = line.decode(encoding, errors="replace").strip()
    start = next((place for place, character in enumerate(text) if not character.isascii()), 0)
    begin = max(0, start - SHOWN_CHARACTERS // 2)
    return text[begin : begin + SHOWN_CHARACTERS]
