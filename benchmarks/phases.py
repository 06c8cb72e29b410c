"""What each part of a program took: seconds, processor seconds, the most memory it held."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ur4rec.storage.artifacts import peak_memory_mb

_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Phase:
    """One part of the program."""

    name: str
    seconds: float
    cpu_s: float
    """Of all threads; on a machine with other work the steadier of the two."""
    peak_mb: float
    """Largest resident memory during the part, in MiB, libraries and what earlier parts left included; of the whole
    process where Linux does not count it anew."""


class Phases:
    """Notes where one part ends and the next begins."""

    def __init__(self) -> None:
        self.finished: list[Phase] = []
        self._begin()

    def mark(self, name: str) -> Phase:
        """Ends a part."""
        seconds, cpu_s = time.perf_counter() - self._began, time.process_time() - self._cpu_began
        phase = Phase(name, round(seconds, 3), round(cpu_s, 3), peak_memory_mb())
        self.finished.append(phase)
        self._begin()
        return phase

    def _begin(self) -> None:
        with suppress(OSError):
            _CLEAR.write_text("5")  # Linux then counts the peak anew
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
