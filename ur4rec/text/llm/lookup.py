"""From what is to be written to its text, by what a cache holds: the answer, or the one repair of it."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ur4rec.storage.stores import is_cloud
from ur4rec.text.config import WritingConfig
from ur4rec.text.llm.answers import AnswerError, parse_answer, repair_messages
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.prompts import Prompt, PromptError, Subject, load_prompt
from ur4rec.text.llm.store import AnswerCache, CachedAnswer, CacheError
from ur4rec.text.requests import SHORT_BELOW, ItemRequest, UserRequest

DAY_S = 86_400
REFUSED_FOR_S = 30 * DAY_S
"""How long a refusal by the content filter, or an answer that no repair made valid, is believed."""
FAILED_FOR_S = 7 * DAY_S
"""How long another permanent failure is believed."""

SEED = 0

SHORT_PROMPTS = {"user_preferences.v1": "short_user_preferences.v1"}
"""Prompt about a user → the one that stands in for it where the choices are few."""

INVALID = "invalid_"
"""Begins the reason of an answer that breaks the rules of its prompt, even after a repair."""


class Question(NamedTuple):
    """A prompt about one subject, ready to be sent."""

    prompt: Prompt
    chat: ChatRequest
    earlier: Question | None = None
    """What an earlier release asked instead: an answer to it that is paid for is taken."""


class Questions:
    """Prompts about items and users, keyed for the cache.

    Args:
        config: Provider, model, prompts.

    Raises:
        PromptError: A prompt file cannot be used.
    """

    def __init__(self, config: WritingConfig) -> None:
        self.config = config
        self._item = _load_prompt("text_item_prompt", config.text_item_prompt, "item")
        self._user = _load_prompt("text_user_prompt", config.text_user_prompt, "user")
        has_short = config.text_user_prompt in SHORT_PROMPTS and config.snapshot_base < SHORT_BELOW
        self._short = load_prompt(SHORT_PROMPTS[config.text_user_prompt]) if has_short else None
        self.prompts = {prompt.version: prompt for prompt in (self._item, self._user, self._short) if prompt}
        """Version → prompt."""

    @property
    def versions(self) -> list[str]:
        """Names, versions and digests of the prompts."""
        return list(self.prompts)

    def ask(self, request: ItemRequest | UserRequest) -> Question:
        """The prompt about one subject."""
        if isinstance(request, ItemRequest):
            return self._ask(self._item, request)
        usual = self._ask(self._user, request)
        return self._ask(self._short, request, usual) if self._short and request.is_short else usual

    def _ask(self, prompt: Prompt, request: ItemRequest | UserRequest, earlier: Question | None = None) -> Question:
        chat = ChatRequest(
            provider=self.config.text_provider,
            model=self.config.text_model,
            prompt_version=prompt.version,
            messages=prompt.render(request),
            temperature=self.config.text_temperature,
            max_tokens=prompt.max_tokens,
            seed=SEED,
            json_object=True,
            request_fields=self.config.text_request_fields,
        )
        return Question(prompt, chat, earlier)


class Tokens(NamedTuple):
    """What answers are charged for."""

    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    """Whether the service did not tell some of them."""

    def add(self, answer: CachedAnswer) -> Tokens:
        """With those of one more answer."""
        tokens_in, tokens_out = self.tokens_in + answer.tokens_in, self.tokens_out + answer.tokens_out
        return Tokens(tokens_in, tokens_out, self.estimated or answer.estimated)


class Found(NamedTuple):
    """A text, and what it took, its repair included."""

    text: str
    tokens: Tokens


class Failed(NamedTuple):
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
        self.reading = cache.reading
        self._answerable: set[str] = set()
        self._held: defaultdict[str, dict[str, CachedAnswer]] = defaultdict(dict)
        """Version of the prompt → key → failure."""

    def get(self, key: str) -> CachedAnswer | None:
        """The answer of a key, or how it failed; None where there is neither."""
        for held in self._held.values():
            if key in held:
                return held[key]
        return self._cache.get(key)

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
    if question.earlier and isinstance(found := look_up(question.earlier, cache), Found):
        return found
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


def open_cache(location: str, create: bool = True) -> AnswerCache:
    """Opens a cache; close it or use it as a context manager.

    Args:
        location: A folder, or a prefix in cloud storage.
        create: Whether a folder that is not there is made; without it nothing can be stored in one.

    Raises:
        CacheError: The location cannot be read or written; says what to do.
    """
    if is_cloud(location):
        from ur4rec.text.llm.store_cloud import CloudCache  # its client takes a second to import

        return CloudCache(location)
    if "://" in location:
        raise CacheError(f"{location!r}: expected a folder or gs://bucket/prefix or s3://bucket/prefix")
    folder = Path(location).expanduser()
    if create or folder.exists():
        _make_usable(folder)
    return AnswerCache(location, folder)


def _make_usable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(f"{folder}: cannot be made ({error.strerror}); choose a folder for the cache") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CacheError(f"{folder}: cannot be written to; expected a folder that this user may read and write")


def _load_prompt(key: str, name_or_path: str, subject: Subject) -> Prompt:
    prompt = load_prompt(name_or_path)
    if prompt.file.subject != subject:
        raise PromptError(f"{key}: {name_or_path}: is a prompt about one {prompt.file.subject}, expected {subject}")
    return prompt
