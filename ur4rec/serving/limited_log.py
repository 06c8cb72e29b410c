"""A log that faults of callers cannot fill: a line of a kind is written once a minute."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WINDOW_S = 60

Kind = tuple[object, ...]


@dataclass
class _Seen:
    since: float
    message: str
    left_out: int = 0


class Repeats(logging.Filter):
    """Lets one record of a kind through in `WINDOW_S`; the next one says how many there were in between.

    A kind is a place in the code, with the place that an exception comes from, so there are never many.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Kind, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        seen = self._seen.get(kind := _kind(record))
        if seen is not None and record.created - seen.since < WINDOW_S:
            seen.left_out += 1
            return False
        message = record.getMessage()
        self._seen[kind] = _Seen(record.created, message.partition("\n")[0])
        if seen is not None and seen.left_out:
            record.msg, record.args = f"{message.rstrip()} ({seen.left_out:,} more of this since the last one)", None
        return True

    def summarise(self) -> list[str]:
        """What was left out and not yet said."""
        return [f"{seen.message} ({seen.left_out:,} more of this)" for seen in self._seen.values() if seen.left_out]


def _kind(record: logging.LogRecord) -> Kind:
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    origin = (type(error), trace.tb_frame.f_code, trace.tb_lineno) if trace else (type(error),)
    return record.pathname, record.lineno, *origin


@contextmanager
def limited_log() -> Iterator[None]:
    """Warnings and errors go to stderr until the block ends, which says what was left out."""
    handler, repeats = logging.StreamHandler(), Repeats()
    handler.setLevel(logging.WARNING)
    handler.addFilter(repeats)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        for line in repeats.summarise():
            handler.stream.write(f"{line}\n")
