"""One stored answer, and the line that holds it in a segment."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import asdict, dataclass
from typing import Literal, get_args

Status = Literal["accepted", "answered", "refused", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
FAILURE = STATUSES.index("refused")
"""Rank from which on a status says that there is no answer."""
LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","answer":(.*)\}\n?')


class CacheError(ValueError):
    """A cache that cannot be read or written; names its location and what to do."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What became of one request."""

    key: str
    """sha256 of the request, in hexadecimal."""
    status: Status
    text: str
    """The text that was accepted, the raw answer that was not, or why there is none."""
    tokens_in: int
    tokens_out: int
    stored_at_s: int
    """Seconds since 1970."""
    expires_at_s: int | None
    """From this second on the entry counts as absent; None: never."""
    estimated: bool = False
    """Whether the service told no tokens; in a line only where it is so, which earlier versions cannot read."""

    @property
    def is_well_formed(self) -> bool:
        """Whether every field is of its type; a text may hold what is no valid Unicode, so no library can tell."""
        numbers = self.tokens_in, self.tokens_out, self.stored_at_s, self.expires_at_s or 0
        texts = self.key, self.status, self.text
        is_typed = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
        return is_typed and self.status in STATUSES

    @property
    def precedence(self) -> tuple[int, int, str]:
        """Of several entries of a key the smallest counts: an answer before a failure, then the first stored."""
        return min(STATUSES.index(self.status), FAILURE), self.stored_at_s, self.text

    def is_expired(self, now_s: float) -> bool:
        """Whether the entry counts as absent."""
        return self.expires_at_s is not None and self.expires_at_s <= now_s


def encode_line(answer: CachedAnswer) -> bytes:
    """A line of JSON with a checksum of its own; pure ASCII, so that no text can break it."""
    fields = {name: value for name, value in asdict(answer).items() if name != "estimated" or value}
    body = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return b'{"crc32":"%08x","answer":%b}\n' % (zlib.crc32(body), body)


def decode_line(line: bytes) -> CachedAnswer | None:
    """The answer of a line, or None where it is torn, corrupt or of an unknown layout."""
    match = LINE.fullmatch(line)
    if match is None or zlib.crc32(match[2]) != int(match[1], 16):
        return None
    try:
        answer = CachedAnswer(**json.loads(match[2]))
    except (TypeError, ValueError):
        return None
    return answer if answer.is_well_formed else None
