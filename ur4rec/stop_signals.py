"""Signals that ask a process to end: they interrupt it as Ctrl-C does, so that it keeps what it has and tidies up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOT_HANDLED = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(KeyboardInterrupt, SystemExit):
    """A signal came. Caught by nobody, it ends the process without a traceback, with the exit code of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


class _Shield:
    depth = 0
    number = 0
    """The signal that waits; 0: none does."""


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Have the signals raise `Stopped` in the block; those that are ignored or handled already stay as they are.

    After the first one only Ctrl-C interrupts again. Outside of the main thread this does nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    heeded = [number for number in HEEDED if is_main and signal.getsignal(number) in NOT_HANDLED]
    before = {number: signal.signal(number, _stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finished_first() -> Iterator[None]:
    """Bring the block to its end before a signal interrupts."""
    _Shield.depth += 1
    try:
        yield
    finally:
        _Shield.depth -= 1
        number = 0 if _Shield.depth else _Shield.number
        if number:
            _Shield.number = 0
            raise Stopped(number)


def _stop(number: int, frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_IGN)
    if _Shield.depth:
        _Shield.number = number
        return
    raise Stopped(number)
