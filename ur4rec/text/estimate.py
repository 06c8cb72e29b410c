"""The estimate of what texts would cost, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ur4rec.text.config import TextConfig
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import estimate_prompt_tokens, load_prices
from ur4rec.text.llm.lookup import Questions, look_up, open_cache
from ur4rec.text.llm.provider import cache_location
from ur4rec.text.llm.store import AnswerCache
from ur4rec.text.plan import plan_texts
from ur4rec.text.requests import ItemRequest, UserRequest


@dataclass(frozen=True)
class Estimate:
    """These are the calls and tokens that texts would take."""

    model: str
    num_texts: int
    num_calls: int
    """Each prompt without a cached answer is one call; repairs and retries are not foreseen."""
    tokens_in: int
    tokens_out: int
    cost: float | None
    """The price, or none where the price of the model is not known."""
    currency: str
    prices_as_of: str


def estimate_texts(
    sequences: Path, config: TextConfig, item_text: Path | None = None, user_text: Path | None = None
) -> Estimate:
    """Count what `generate_text` with the same arguments would ask for; this needs no key and sends nothing.

    Raises:
        PriceError: The table of prices cannot be used.
        CacheError: The cache of answers cannot be read.
        PromptError: A prompt file cannot be used.
        TextImportError: A file of texts cannot be used.
        ArtifactError: The sequences are incomplete or altered.
    """
    table, questions = load_prices(config.text_prices), Questions(config)
    plan = plan_texts(Path(sequences), config, item_text, user_text)
    with open_cache(cache_location(config), create=False) as cache:
        tokens = _count_tokens(chain(plan.item_requests(), plan.user_requests()), questions, cache)
    tokens_in, tokens_out = (sum(counts[part] for counts in tokens.values()) for part in (0, 1))
    return Estimate(
        model=config.text_model,
        num_texts=plan.num_texts,
        num_calls=len(tokens),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=table.price(config.text_model, tokens_in, tokens_out),
        currency=table.currency,
        prices_as_of=table.as_of.isoformat(),
    )


def _count_tokens(
    requests: Iterable[ItemRequest | UserRequest], questions: Questions, cache: AnswerCache
) -> dict[str, tuple[int, int]]:
    """Map the key of each prompt that would be sent to the tokens of prompt and answer."""
    tokens = {}
    for request in requests:
        question = questions.ask(request)
        missing = look_up(question, cache)
        if isinstance(missing, ChatRequest):
            tokens[missing.key] = estimate_prompt_tokens(missing.messages), question.prompt.file.typical_tokens
    return tokens
