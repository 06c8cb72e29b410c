"""From a prompt to its text, by what a cache holds: the answer, or the one repair of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ur4rec.text.llm.answers import AnswerError, parse_answer, repair_messages
from ur4rec.text.llm.cache import AnswerCache
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.prompts import Prompt

DAY_S = 86_400
REFUSED_FOR_S = 30 * DAY_S
"""How long a refusal by the content filter, or an answer that no repair made valid, is believed."""
FAILED_FOR_S = 7 * DAY_S
"""How long another permanent failure is believed."""

INVALID = "invalid_"
"""Begins the reason of an answer that breaks the rules of its prompt, even after a repair."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt about one subject, ready to be sent."""

    prompt: Prompt
    chat: ChatRequest


@dataclass(frozen=True, slots=True)
class Tokens:
    """What answers are charged for."""

    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A text, and what it took, its repair included."""

    text: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no text, and asking again would not help."""

    reason: str
    tokens: Tokens = Tokens()

    @property
    def is_invalid(self) -> bool:
        """Whether there were answers, all of which broke the rules of the prompt."""
        return self.reason.startswith(INVALID)


def look_up(question: Question, cache: AnswerCache) -> Found | ChatRequest | Failed:
    """The text, what has to be asked for it, or why there is none.

    An answer that breaks the rules of its prompt is asked for once more, with what was wrong. That second prompt
    follows from the first answer, so a run that was stopped in between finds its way back to it.
    """
    chat, error, tokens = question.chat, None, Tokens()
    for _ in range(2):
        stored = cache.get(chat.key)
        if stored is None:
            return chat
        tokens = Tokens(tokens.tokens_in + stored.tokens_in, tokens.tokens_out + stored.tokens_out)
        if stored.status == "accepted":
            return Found(stored.text, tokens)
        if stored.status != "answered":
            return Failed(stored.text, tokens)
        try:
            return Found(parse_answer(question.prompt, stored.text), tokens)
        except AnswerError as caught:
            error = caught
            chat = replace(chat, messages=repair_messages(chat.messages, stored.text, error))
    assert error is not None
    return Failed(f"{INVALID}{error.reason}", tokens)
