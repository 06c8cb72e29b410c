"""A language model as a provider of texts: every prompt asked once, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import TypeVar

from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from platformdirs import user_cache_path

from ur4rec.stop_signals import interrupted_by_signals
from ur4rec.text.config import WritingConfig
from ur4rec.text.llm.answers import AnswerError, FormError, parse_answer, quote_beginning
from ur4rec.text.llm.batch import Batch
from ur4rec.text.llm.chat import ChatAnswer, ChatClient, ChatError, ChatRequest, Reason, RefusedError, RejectedError
from ur4rec.text.llm.costs import Budget, PriceTable, Usage, load_prices
from ur4rec.text.llm.lookup import (
    DAY_S,
    FAILED_FOR_S,
    REFUSED_FOR_S,
    Failed,
    Found,
    Question,
    Questions,
    RunAnswers,
    look_up,
    open_cache,
)
from ur4rec.text.llm.pacing import BatchLimits
from ur4rec.text.llm.store import AnswerCache, CachedAnswer, Status
from ur4rec.text.provider_table import API_KEYS, create_client
from ur4rec.text.providers import Advance, TemplateProvider, Text
from ur4rec.text.requests import ItemRequest, UserRequest

Request = TypeVar("Request", ItemRequest, UserRequest)

AT_ONCE = 4096
"""Requests that are looked up, asked and written together; bounds the memory, whatever their number."""
USELESS_SHARE = 0.5
"""Share of invalid answers, repairs included, above which the run stops."""
FEWEST_JUDGED = 20
"""Texts that are enough to judge a prompt by."""
BREAKER_FAILURES = 50


class TextGenerationError(ValueError):
    """A service that cannot be used, or too many texts that failed; says why and what to do."""


class _EnoughError(Exception):
    """Most answers so far break the rules of their prompt."""


class LanguageModelProvider:
    """Texts by a language model, from the cache where it has them; those that fail fall back to the template.

    Args:
        config: As configured.
        client: Makes the calls, on the portal's event loop.
        cache: Keeps the answers.
        portal: An event loop in a thread of its own.
        prices: For the cost.
        budget: Most that may be spent, in the currency of the prices.

    Raises:
        PromptError: A prompt file cannot be used.
        BudgetError: The price of the model is not known.
    """

    def __init__(
        self,
        config: WritingConfig,
        client: ChatClient,
        cache: AnswerCache,
        portal: BlockingPortal,
        prices: PriceTable,
        budget: float | None = None,
    ) -> None:
        self._config, self._client, self._portal, self._prices = config, client, portal, prices
        self._answers = RunAnswers(cache)
        self._questions = Questions(config)
        self._fallback = TemplateProvider()
        self._usage = Usage()
        self._budget = None if budget is None else Budget(budget, prices, config.text_model, self._usage)
        self._not_answered: dict[str, str] = {}
        """Key of a prompt that failed in this run, to be asked again in the next → reason."""
        self._fallen_back: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        """Key of a prompt → texts that fell back for want of its answer."""
        self._last_failure = self._unfit_answer = ""
        self._num_texts = self._num_cached = self._num_invalid = 0
        self._texts_tokens_in = self._texts_tokens_out = self._texts_estimated = 0
        """Of the answers behind all texts, whenever they were paid for."""

    @property
    def name(self) -> str:
        """`dashscope` or `openai`."""
        return self._config.text_provider

    @property
    def version(self) -> str:
        """Model and prompts."""
        return " ".join([self._config.text_model, *self._questions.versions])

    def describe_items(self, requests: Iterable[ItemRequest], advance: Advance) -> Iterator[Text]:
        """Item descriptions."""
        return self._write(requests, self._fallback.write_item, advance)

    def describe_users(self, requests: Iterable[UserRequest], advance: Advance) -> Iterator[Text]:
        """User preferences."""
        return self._write(requests, self._fallback.write_user, advance)

    def finish(self) -> dict[str, object]:
        """Calls, tokens, cost and failures, for the manifest.

        Raises:
            TextGenerationError: More texts failed than may.
        """
        self._check_failures()
        usage = self._usage
        return {
            "model": self._config.text_model,
            "prompts": self._questions.versions,
            "texts": self._num_texts,
            "cached": self._num_cached,
            "fallen_back": {str(reason): count for reason, count in sorted(self._fallen_back.items())},
            **usage.summary(),
            "cost": self._price(usage.tokens_in, usage.tokens_out),
            "cost_of_texts": self._price(self._texts_tokens_in, self._texts_tokens_out),
            "texts_with_estimated_tokens": self._texts_estimated,
            "currency": self._prices.currency,
            "prices_as_of": self._prices.as_of.isoformat(),
        }

    def _write(
        self, requests: Iterable[Request], fallback: Callable[[Request], Text], advance: Advance
    ) -> Iterator[Text]:
        waiting = iter(requests)
        while part := list(islice(waiting, AT_ONCE)):
            for request, found in zip(part, self._find(part, advance), strict=True):
                if isinstance(found, Found):
                    yield Text(found.text, self.name)
                else:
                    self._fallen_back[found.reason] += 1
                    yield fallback(request)

    def _check_prompt(
        self, questions: Sequence[Question], found: Mapping[str, Found | ChatRequest | Failed]
    ) -> dict[str, Found | Failed]:
        """What is settled; stops where most of it is of no use, even after a repair, whatever else may fail."""
        settled = {key: outcome for key, outcome in found.items() if not isinstance(outcome, ChatRequest)}
        reasons = Counter(
            outcome.reason for outcome in settled.values() if isinstance(outcome, Failed) and outcome.is_invalid
        )
        if len(settled) >= FEWEST_JUDGED and reasons.total() > self._most_invalid * len(settled):
            prompts = " and ".join(dict.fromkeys(question.prompt.version for question in questions))
            raise TextGenerationError(
                f"{self._name_service()}: {reasons.total():,} of {len(settled):,} answers to "
                f"{prompts} are of no use, even after a repair: {_list(reasons)}{self._quote(found)}; correct "
                "the prompt, turn off the thinking of a model that thinks first (text_request_fields) or choose "
                "another model before more is paid for"
            )
        return settled

    @property
    def _most_invalid(self) -> float:
        """Share of invalid answers up to which asking goes on."""
        return max(USELESS_SHARE, self._config.text_max_failed_share)

    def _quote(self, found: Mapping[str, Found | ChatRequest | Failed]) -> str:
        """The beginning of an answer that was of no use, for a message."""
        answers = (outcome.answer for outcome in found.values() if isinstance(outcome, Failed))
        unfit = next(filter(None, answers), "")
        return f"; an answer begins {quote_beginning(unfit, read_api_key(self._config))}" if unfit else ""

    def _name_service(self) -> str:
        place = f" at {self._config.text_base_url}" if self._config.text_base_url else ""
        return f"{self.name} {self._config.text_model}{place}"

    def _price(self, tokens_in: int, tokens_out: int) -> float | None:
        price = self._prices.price(self._config.text_model, tokens_in, tokens_out)
        return None if price is None else round(price, 6)

    def _find(self, requests: Collection[ItemRequest | UserRequest], advance: Advance) -> list[Found | Failed]:
        """What each request comes to, after asking for what is not there, and for one repair where it is of no use."""
        questions = [self._questions.ask(request) for request in requests]
        distinct = {question.chat.key: question for question in questions}
        with self._answers.reading():
            found = {key: look_up(question, self._answers) for key, question in distinct.items()}
        missing = _list_missing(found)
        self._num_texts += len(questions)
        self._num_cached += sum(not isinstance(found[question.chat.key], ChatRequest) for question in questions)
        advance(len(questions) - len(missing))
        settled = self._check_prompt(questions, found)
        while missing:
            self._ask(missing, advance)
            self._look_again(found, distinct)
            self._ask([chat for chat in _list_missing(found) if chat.key not in distinct], lambda _: None)
            self._look_again(found, distinct)
            settled = self._check_prompt(questions, found)
            missing = _list_missing(found)
        for outcome in settled.values():
            self._texts_tokens_in += outcome.tokens.tokens_in
            self._texts_tokens_out += outcome.tokens.tokens_out
            self._texts_estimated += outcome.tokens.estimated
        self._failed.update(
            question.chat.key for question in questions if isinstance(settled[question.chat.key], Failed)
        )
        self._unfit_answer = self._quote(settled) or self._unfit_answer
        return [settled[question.chat.key] for question in questions]

    def _look_again(self, found: dict[str, Found | ChatRequest | Failed], questions: Mapping[str, Question]) -> None:
        for chat_key, question in questions.items():
            if isinstance(found[chat_key], ChatRequest):
                outcome = look_up(question, self._answers)
                if isinstance(outcome, ChatRequest) and outcome.key in self._not_answered:
                    self._not_answered[chat_key] = self._not_answered[outcome.key]
                    outcome = Failed(self._not_answered[chat_key])
                found[chat_key] = outcome

    def _while_useful(self, chats: Iterable[ChatRequest]) -> Iterator[ChatRequest]:
        """The chats, until most answers break the rules: then repairs have to show first that they can be kept.

        Raises:
            _EnoughError: They do.
        """
        before = self._usage.answered, self._num_invalid
        for chat in chats:
            answered, invalid = self._usage.answered - before[0], self._num_invalid - before[1]
            if answered >= FEWEST_JUDGED and invalid > self._most_invalid * answered:
                raise _EnoughError
            yield chat

    def _ask(self, chats: Iterable[ChatRequest], advance: Advance) -> None:
        async def keep(chat: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
            await self._keep(chat, outcome)
            advance(1)

        async def ask(*, task_status: TaskStatus[asyncio.Task[None] | None]) -> None:
            task_status.started(asyncio.current_task())
            limits, useful = find_limits(self._config), self._while_useful(chats)
            with suppress(_EnoughError):
                await Batch(self._client, useful, keep, limits, self._usage, self._budget).run()

        try:
            self._run(ask)
        except ChatError as error:
            origin = f"; the key is read from {API_KEYS[self.name]}" if error.reason is Reason.API_KEY else ""
            raise TextGenerationError(f"{self._name_service()}: {error}{origin}") from None

    def _run(self, ask: Callable[..., Awaitable[None]]) -> None:
        """On the event loop. After Ctrl-C or SIGTERM the calls in flight come to their end, for they are paid for."""
        running, task = self._portal.start_task(ask)
        with interrupted_by_signals():
            try:
                running.result()
            except KeyboardInterrupt:
                print("waiting for the answers to calls in flight; what is answered is kept", flush=True)
                self._portal.call(task.cancel)
                wait([running])
                raise

    async def _keep(self, chat: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
        if isinstance(outcome, ChatError):
            self._last_failure = f"; the last: {outcome}"
        match outcome:
            case ChatAnswer():
                entry, has_form = self._judge(chat, outcome)
            case RefusedError():
                entry, has_form = _make_entry(chat, "refused", outcome.reason, REFUSED_FOR_S), False
            case RejectedError():
                entry, has_form = _make_entry(chat, "failed", outcome.reason, FAILED_FOR_S), False
            case _:
                self._not_answered[chat.key] = outcome.reason
                return
        await self._answers.put(entry, chat.prompt_version, is_failure=not has_form)

    def _judge(self, chat: ChatRequest, answer: ChatAnswer) -> tuple[CachedAnswer, bool]:
        """What to store, and whether the answer has the form asked for.

        Stored is the text that it comes to; one that breaks the rules as it is, so that the repair can quote it.
        """
        prompt = self._questions.prompts[chat.prompt_version]
        try:
            return _make_entry(chat, "accepted", parse_answer(prompt, answer.text), None, answer), True
        except AnswerError as error:
            self._num_invalid += 1
            entry = _make_entry(chat, "answered", answer.text, REFUSED_FOR_S, answer)
            return entry, not isinstance(error, FormError)

    def _check_failures(self) -> None:
        num_failed, allowed = self._fallen_back.total(), self._config.text_max_failed_share
        if num_failed <= allowed * self._num_texts:
            return
        again = sum(
            count for key, count in self._failed.items() if key in self._not_answered or self._answers.holds(key)
        )
        days = f"{FAILED_FOR_S // DAY_S} to {REFUSED_FOR_S // DAY_S} days"
        other = f"choose another model (another run asks for them only after {days})"
        advice = f"run again to ask for {again:,} of them once more" if again else other
        if self._unfit_answer and again:
            advice = f"if the model thinks first, turn that off (text_request_fields); {advice}"
        raise TextGenerationError(
            f"{num_failed:,} of {self._num_texts:,} texts failed, at most {allowed:.1%} may: {_list(self._fallen_back)}"
            f"{self._last_failure}{self._unfit_answer}; answers are kept; {advice}, or raise text_max_failed_share"
        )


@contextmanager
def open_language_model(config: WritingConfig, budget: float | None = None) -> Iterator[LanguageModelProvider]:
    """The provider of a configuration, with its connections and its cache.

    Raises:
        PriceError: The table of prices cannot be used.
        TextGenerationError: The key is missing.
        CacheError: The cache cannot be opened.
        PromptError: A prompt file cannot be used.
        BudgetError: The price of the model is not known.
    """
    key = read_api_key(config)
    prices = load_prices(config.text_prices)
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        try:
            client = create_client(config.text_provider, config.text_base_url or None, key, config.text_timeout_s)
        except ChatError as error:
            raise TextGenerationError(str(error)) from None
        stack.callback(lambda: portal.call(client.aclose))
        cache = stack.enter_context(open_cache(cache_location(config)))
        yield LanguageModelProvider(config, client, cache, portal, prices, budget)


def read_api_key(config: WritingConfig) -> str:
    """From the environment; a secret made from a file ends in a line break."""
    return os.environ.get(API_KEYS[config.text_provider], "").strip()


def find_limits(config: WritingConfig) -> BatchLimits:
    """How fast to go and how long to try."""
    return BatchLimits(
        concurrency=config.text_concurrency,
        requests_per_minute=config.text_requests_per_minute,
        tokens_per_minute=config.text_tokens_per_minute,
        timeout_s=config.text_timeout_s,
        max_attempts=config.text_max_attempts,
        breaker_failures=BREAKER_FAILURES,
    )


def cache_location(config: WritingConfig) -> str:
    """Where the answers are kept."""
    return config.text_cache or str(user_cache_path("ur4rec") / "texts")


def _make_entry(
    chat: ChatRequest, status: Status, text: str, lifetime_s: int | None, answer: ChatAnswer | None = None
) -> CachedAnswer:
    now_s = int(time.time())
    expires_at_s = None if lifetime_s is None else now_s + lifetime_s
    charged = (answer.tokens_in, answer.tokens_out) if answer else (0, 0)
    return CachedAnswer(chat.key, status, text, *charged, now_s, expires_at_s, bool(answer and answer.estimated))


def _list_missing(found: Mapping[str, Found | ChatRequest | Failed]) -> list[ChatRequest]:
    """What has to be asked, repairs that an earlier run did not come to first."""
    missing = {chat.key: chat for chat in found.values() if isinstance(chat, ChatRequest)}
    return sorted(missing.values(), key=lambda chat: chat.key in found)


def _list(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
