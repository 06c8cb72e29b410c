"""The estimate of what texts would cost, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ur4rec.auto.settle import settle
from ur4rec.data.sequences import load_sequences
from ur4rec.text.config import GridConfig, TextConfig
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import estimate_prompt_tokens, load_prices
from ur4rec.text.llm.lookup import Questions, look_up, open_cache
from ur4rec.text.llm.provider import cache_location
from ur4rec.text.llm.store import AnswerCache
from ur4rec.text.plan import plan_texts
from ur4rec.text.requests import ItemRequest, UserRequest


@dataclass(frozen=True)
class Calls:
    """What some texts would take."""

    num_texts: int
    num_calls: int
    """Each prompt without a cached answer is one call; repairs and retries are not foreseen."""
    tokens_in: int
    tokens_out: int
    cost: float | None
    """The price, or none where the price of the model is not known."""


@dataclass(frozen=True)
class UserTexts:
    """What the texts of users would take with one `snapshot_base`."""

    snapshot_base: int
    calls: Calls
    covered_share: float
    """Share of the test targets whose user has a text that they may see."""


@dataclass(frozen=True)
class Estimate(Calls):
    """What all texts would take, and those of users apart."""

    model: str
    currency: str
    prices_as_of: str
    users: tuple[UserTexts, ...]
    """With the configured base, then with the default one where it is another."""


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
    data = load_sequences(Path(sequences))
    config = settle(config, data)
    table, questions = load_prices(config.text_prices), Questions(config)
    plan = plan_texts(data, config, item_text, user_text)
    bases = dict.fromkeys((config.snapshot_base, GridConfig().snapshot_base))
    with open_cache(cache_location(config), create=False) as cache:
        items = _count_tokens(plan.item_requests(), questions, cache)
        plans = {base: plan.with_base(base) for base in bases}
        tokens = {base: _count_tokens(each.user_requests(), questions, cache) for base, each in plans.items()}

    def add_up(num_texts: int, tokens: Mapping[str, tuple[int, int]]) -> Calls:
        tokens_in, tokens_out = (sum(counts[part] for counts in tokens.values()) for part in (0, 1))
        cost = table.price(config.text_model, tokens_in, tokens_out)
        return Calls(num_texts, len(tokens), tokens_in, tokens_out, cost)

    return Estimate(
        **vars(add_up(plan.num_texts, items | tokens[config.snapshot_base])),
        model=config.text_model,
        currency=table.currency,
        prices_as_of=table.as_of.isoformat(),
        users=tuple(
            UserTexts(base, add_up(len(each.points), tokens[base]), each.covered_share) for base, each in plans.items()
        ),
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
