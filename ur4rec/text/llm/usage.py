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
    retries: Counter[str] = field(default_factory=Counter)
    """Reason → calls that were repeated because of it."""
    failures: Counter[str] = field(default_factory=Counter)
    """Reason → requests that ended without an answer because of it."""
    seconds: float = 0.0

    def note_answer(self, answer: ChatAnswer) -> None:
        """Adds an answer and its tokens."""
        self.answered += 1
        self._note_tokens(answer.tokens_in, answer.tokens_out)

    def note_failed_call(self, error: ChatError) -> None:
        """Adds the tokens of a call that brought no answer but is charged for."""
        if isinstance(error, EmptyAnswerError):
            self._note_tokens(error.tokens_in, error.tokens_out)

    def summary(self) -> dict[str, object]:
        """All counts, ready for a manifest."""
        return {
            "calls": self.calls,
            "answered": self.answered,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "retries": _to_plain(self.retries),
            "failures": _to_plain(self.failures),
            "seconds": round(self.seconds, 3),
        }

    def _note_tokens(self, tokens_in: int, tokens_out: int) -> None:
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out


def _to_plain(counts: Counter[str]) -> dict[str, int]:
    return {str(reason): count for reason, count in sorted(counts.items())}
