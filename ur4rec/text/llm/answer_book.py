"""From a prompt to its text, by what a cache holds: the answer, or the one repair of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace

from ur4rec.text.llm.answers import AnswerError, parse_answer, repair_messages
from ur4rec.text.llm.cache import AnswerCache, CachedAnswer
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
    estimated: bool = False
    """Whether the service did not tell some of them."""

    def add(self, answer: CachedAnswer) -> Tokens:
        """With those of one more answer."""
        return Tokens(
            self.tokens_in + answer.tokens_in,
            self.tokens_out + answer.tokens_out,
            self.estimated or answer.estimated,
        )


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
    answer: str = ""
    """The last one, where there was one."""

    @property
    def is_invalid(self) -> bool:
        """Whether there were answers, all of which broke the rules of the prompt."""
        return self.reason.startswith(INVALID)


class RunAnswers:
    """The cache as one run sees it: a failure is stored once the service has shown that it can answer such a prompt.

    Where no answer to a prompt has the form asked for, whatever the subject, the service or its settings are taken to
    be at fault. The failures count for this run alone then, and the next one asks again.

    Args:
        cache: What earlier runs have stored.
    """

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache
        self._answerable: set[str] = set()
        self._held: defaultdict[str, dict[str, CachedAnswer]] = defaultdict(dict)
        """Version of the prompt → key → failure."""

    def get(self, key: str) -> CachedAnswer | None:
        """The answer of a key, or how it failed; None where there is neither."""
        return next((held[key] for held in self._held.values() if key in held), None) or self._cache.get(key)

    def holds(self, key: str) -> bool:
        """Whether a key failed in this run alone."""
        return any(key in held for held in self._held.values())

    async def put(self, answer: CachedAnswer, prompt_version: str, is_failure: bool) -> None:
        """Keeps what became of a request; it is durable when this returns, unless it is held back.

        Args:
            answer: What became of it.
            prompt_version: Of what was asked.
            is_failure: Whether it has no answer, or one without the form asked for.
        """
        if is_failure and prompt_version not in self._answerable:
            self._held[prompt_version][answer.key] = answer
            return
        self._answerable.add(prompt_version)
        stored = [answer, *self._held.pop(prompt_version, {}).values()]
        await asyncio.gather(*map(self._cache.put, stored))


def look_up(question: Question, cache: AnswerCache | RunAnswers) -> Found | ChatRequest | Failed:
    """The text, what has to be asked for it, or why there is none.

    An answer that breaks the rules of its prompt is asked for once more, with what was wrong. That second prompt
    follows from the first answer, so a run that was stopped in between finds its way back to it.
    """
    chat, error, stored, tokens = question.chat, None, None, Tokens()
    for _ in range(2):
        stored = cache.get(chat.key)
        if stored is None:
            return chat
        tokens = tokens.add(stored)
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
    assert stored is not None
    return Failed(f"{INVALID}{error.reason}", tokens, stored.text)
