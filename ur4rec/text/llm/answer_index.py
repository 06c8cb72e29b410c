"""Where each cached answer is: texts stay on disk, memory holds two integers an entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ur4rec.text.llm.cached_answers import CachedAnswer, CacheError, decode_line

OFFSET_BITS = 40
KEY_DIGITS = 15
"""Hexadecimal digits of a key that the index holds: 60 bits, the most that fit the smallest integer object (32 bytes).

Two of a million keys share them with probability 4e-7. The entry that came later then takes the place of the other,
which is asked for again: the line on disk holds the whole key, so a wrong answer is never given.
"""


class AnswerIndex:
    """Finds answers in segments: key → (segment, offset), about 115 bytes an entry.

    Args:
        location: Of the cache, for messages.
    """

    def __init__(self, location: str = "") -> None:
        self.skipped_lines = 0
        self._location = location
        self._addresses: dict[int, int] = {}
        self._segments: list[Path] = []
        self._opened: tuple[int, BinaryIO] | None = None

    def __len__(self) -> int:
        return len(self._addresses)

    def add_segment(self, path: Path) -> int:
        """Registers a file of lines without reading it; returns its number."""
        self._segments.append(path)
        return len(self._segments) - 1

    def load(self, path: Path, now_s: float) -> None:
        """Adds every line of a segment that is whole and not expired; counts the lines that are not whole."""
        segment, offset = self.add_segment(path), 0
        with path.open("rb") as file:
            for line in file:
                answer = decode_line(line)
                if answer is None:
                    self.skipped_lines += 1
                elif not answer.is_expired(now_s):
                    self.add(answer, segment, offset, now_s)
                offset += len(line)

    def add(self, answer: CachedAnswer, segment: int, offset: int, now_s: float) -> None:
        """Enters an answer unless another of the same key takes precedence.

        Args:
            answer: What the line holds.
            segment: Number of the segment.
            offset: Where the line begins, in bytes.
            now_s: Seconds since 1970; expired entries give way.
        """
        assert offset < 1 << OFFSET_BITS
        fingerprint = _fingerprint(answer.key)
        if fingerprint in self._addresses:
            present = self.get(answer.key, now_s)
            if present and present.precedence <= answer.precedence:
                return
        self._addresses[fingerprint] = segment << OFFSET_BITS | offset

    def get(self, key: str, now_s: float) -> CachedAnswer | None:
        """The answer of a key, read from disk; None where it is unknown or expired."""
        address = self._addresses.get(_fingerprint(key))
        if address is None:
            return None
        answer = self._read(address)
        return answer if answer and answer.key == key and not answer.is_expired(now_s) else None

    def lines(self) -> Iterator[bytes]:
        """The line of every entry, in the order of the segments."""
        for address in sorted(self._addresses.values()):
            yield self._read_line(address)

    def close(self) -> None:
        """Closes the file that was read last."""
        if self._opened:
            self._opened[1].close()
            self._opened = None

    def _read(self, address: int) -> CachedAnswer | None:
        return decode_line(self._read_line(address))

    def _read_line(self, address: int) -> bytes:
        segment, offset = address >> OFFSET_BITS, address & ((1 << OFFSET_BITS) - 1)
        try:
            file = self._open(segment)
            file.seek(offset)
            return file.readline()
        except OSError as error:
            name = f"{self._location}/{self._segments[segment].name}"
            raise CacheError(f"{name}: cannot be read ({error.strerror}); was the cache moved while in use?") from None

    def _open(self, segment: int) -> BinaryIO:
        if self._opened is None or self._opened[0] != segment:
            self.close()
            self._opened = segment, self._segments[segment].open("rb")
        return self._opened[1]


def _fingerprint(key: str) -> int:
    return int(key[:KEY_DIGITS], 16)
