"""Giving up early where nothing succeeds."""

from __future__ import annotations

from collections.abc import Callable

from ur4rec.text.llm.chat import ChatError, CircuitOpenError, Reason, RefusedError, TransientError

LONGEST_RETRY_AFTER_S = 600.0
LONGEST_STALL_S = 900.0
"""Without any answer, however the failures are counted: a quota that is spent looks like throttling."""


class CircuitBreaker:
    """Counts failures in a row.

    A refusal by the content filter counts neither way: the service works, and a run that repeats only
    what was refused before must be able to finish.

    Args:
        limit: Failures in a row, without any success, that open the circuit.
        clock: Seconds, from any zero.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit, self._clock = limit, clock
        self._failures = 0
        self._last_answer_s = clock()

    def note_answer(self) -> None:
        """A call succeeded."""
        self._failures, self._last_answer_s = 0, self._clock()

    def note_failure(self, error: ChatError, counts: bool = True) -> None:
        """A call failed.

        Args:
            error: How.
            counts: False for a call that says no more than those before it: throttled in a pause, say.

        Raises:
            CircuitOpenError: The batch should give up.
        """
        if isinstance(error, TransientError) and (error.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S:
            raise CircuitOpenError(
                f"the service asks to wait {error.retry_after_s:.0f} s, more than the {LONGEST_RETRY_AFTER_S:.0f} s "
                f"that a run waits: {error}; run again later, what is answered is kept",
                Reason.CIRCUIT_OPEN,
            )
        stalled_s = self._clock() - self._last_answer_s
        if isinstance(error, TransientError) and stalled_s > LONGEST_STALL_S:
            raise CircuitOpenError(
                f"no answer for {stalled_s:.0f} s; the last failure: {error}; check the account's quota and balance",
                Reason.CIRCUIT_OPEN,
            )
        if counts and not isinstance(error, RefusedError):
            self._failures += 1
        if self._failures >= self._limit:
            raise CircuitOpenError(
                f"{self._failures} failures in a row without a success; the last: {error}", Reason.CIRCUIT_OPEN
            )
