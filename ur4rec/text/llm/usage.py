"""What a batch of calls cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ur4rec.text.llm.chat import ChatAnswer, ChatError, EmptyAnswerError


@dataclass
class Usage:
    """Counts of a batch; grows while the batch runs, so that it can be shown."""

    calls: int = 0
    """Calls made, retries among them."""
    answered: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: int = 0
    """Calls whose tokens the service did not tell."""
    retries: Counter[str] = field(default_factory=Counter)
    """Reason → calls that were repeated because of it."""
    failures: Counter[str] = field(default_factory=Counter)
    """Reason → requests that ended without an answer because of it."""
    seconds: float = 0.0

    def note_answer(self, answer: ChatAnswer) -> None:
        """Adds an answer and its tokens."""
        self.answered += 1
        self._note_tokens(answer)

    def note_failed_call(self, error: ChatError) -> None:
        """Adds the tokens of a call that brought no answer but is charged for."""
        if isinstance(error, EmptyAnswerError):
            self._note_tokens(error)

    def summary(self) -> dict[str, object]:
        """All counts, ready for a manifest."""
        return {
            "calls": self.calls,
            "answered": self.answered,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "calls_with_estimated_tokens": self.estimated,
            "retries": _to_plain(self.retries),
            "failures": _to_plain(self.failures),
            "seconds": round(self.seconds, 3),
        }

    def _note_tokens(self, call: ChatAnswer | EmptyAnswerError) -> None:
        self.tokens_in += call.tokens_in
        self.tokens_out += call.tokens_out
        self.estimated += call.estimated


def _to_plain(counts: Counter[str]) -> dict[str, int]:
    return {str(reason): count for reason, count in sorted(counts.items())}
