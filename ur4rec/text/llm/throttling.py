"""When a service throttles most calls, all of them pause."""

from __future__ import annotations

import asyncio
from collections import deque

FEWEST_REMEMBERED = 8
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class ThrottleGate:
    """Lets calls through, except while the service throttles most of them.

    A throttled call delays its own request only, as long as most of the last calls went through: the
    service serves, and others need not wait. Once more than half of them are throttled, all pause, for as
    long as `Retry-After` says or, without it, for 1, 2, 4, … up to 60 s, until a call goes through again.

    Args:
        concurrency: Calls in flight at once; the last so many outcomes are looked at.
    """

    def __init__(self, concurrency: int) -> None:
        trusted = [False] * (FEWEST_REMEMBERED // 2)  # or the first call could pause all others
        self._throttled: deque[bool] = deque(trusted, maxlen=max(FEWEST_REMEMBERED, concurrency))
        self._closed_until = 0.0
        self._pauses = 0

    @property
    def pause_s(self) -> float:
        """Seconds until calls go through again."""
        return max(0.0, self._closed_until - _now())

    async def enter(self) -> None:
        """Waits while the gate is closed."""
        while (left := self.pause_s) > 0:
            await asyncio.sleep(left)

    def note_passed(self) -> None:
        """A call was not throttled."""
        self._throttled.append(False)
        self._pauses = 0

    def note_throttled(self, began_s: float, retry_after_s: float | None) -> bool:
        """A call was throttled.

        Args:
            began_s: When the call began, on the clock of the running loop.
            retry_after_s: How long the service asked to wait.

        Returns:
            Whether a new pause begins. A call from before the end of the last pause begins none.
        """
        if began_s < self._closed_until:
            self._close_for(retry_after_s or 0.0)
            return False
        self._throttled.append(True)
        if 2 * sum(self._throttled) <= len(self._throttled):
            return False
        self._close_for(max(retry_after_s or 0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses)))
        self._pauses += 1
        self._throttled.clear()
        return True

    def _close_for(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, _now() + seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
