"""A budget holds even if every call in flight turns out as dear as it can."""

import asyncio
import re
from pathlib import Path

import pytest
from present import present

from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import (
    Budget,
    BudgetError,
    PriceError,
    Usage,
    estimate_prompt_tokens,
    estimate_tokens,
    load_prices,
    most_prompt_tokens,
)

TABLE = """
as_of: 2026-01-02
currency: EUR
per_million_tokens:
  toy: {input: 2, output: 10}
"""


def test_price_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(TABLE)
    prices = load_prices(str(path))
    # 500,000 · 2 / 10⁶ + 100,000 · 10 / 10⁶
    assert prices.price("toy", 500_000, 100_000) == pytest.approx(2.0)
    assert prices.price("toy", 0, 0) == 0
    assert prices.price("toy-2026-01-01", 1, 1) is None
    assert prices.currency == "EUR"


def test_shipped_table_prices_the_default_model() -> None:
    prices = load_prices()
    assert prices.price("qwen-flash", 1_000_000, 1_000_000) == pytest.approx(0.45)
    assert {"qwen-plus", "qwen-turbo", "qwen3-max"} <= set(prices.per_million_tokens)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("currency: EUR\n", "", "currency: Field required"),
        ("input: 2", "input: -2", "per_million_tokens.toy.input: Input should be greater than or equal to 0"),
        ("input: 2", "input: .nan", "per_million_tokens.toy.input: Input should be a finite number"),
        ("input: 2, ", "", "per_million_tokens.toy.input: Field required"),
        ("toy: {", "toy: [", "malformed YAML"),
        ("input: 2", "input: 2, input: 3", "malformed YAML: input: given in line"),
        (TABLE, "", "content: Input should be a valid dictionary"),
    ],
)
def test_bad_tables_are_refused_by_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(PriceError, match=f"^{re.escape(f'{path}: {message}')}"):
        load_prices(str(path))


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="cannot be read: No such file"):
        load_prices(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("comedy", 1),
        ("comedies", 2),
        ("1995", 4),  # a token a digit
        ('{"a": 1}', 5),  # {" a ": 1 }
        ("经典科幻", 3),  # 4 · 0.75
        ("Drama, 1994.", 7),  # Drama , 1 9 9 4 .
    ],
)
def test_estimate_by_hand(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_a_prompt_costs_its_messages_and_their_marks() -> None:
    assert estimate_prompt_tokens((("system", "comedy"), ("user", "1995"))) == 1 + 5 + 4 + 5


DENSE = "0123456789" * 20
"""A token a byte, the most that a tokenizer over bytes can make of a text."""


def make_chat(number: int, content: str = DENSE) -> ChatRequest:
    return ChatRequest("openai", "qwen-flash", "v1", (("user", f"{content}{number:04}"),), 0.0, 50, 0, True)


async def ask(budget: Budget, usage: Usage, numbers: range, share: float) -> None:
    """One call after another, each at a share of what it may cost at most."""
    for number in numbers:
        chat = make_chat(number)
        async with budget.hold(chat):
            await asyncio.sleep(0)
            usage.answered += 1
            usage.tokens_in += int(share * most_prompt_tokens(chat.messages))
            usage.tokens_out += int(share * chat.max_tokens)


def spend(limit: float, workers: int, share: float) -> Budget:
    """What is left of a budget that eight workers use up."""
    usage = Usage()
    budget = Budget(limit, load_prices(), "qwen-flash", usage)

    async def run() -> list[BaseException | None]:
        asked = [ask(budget, usage, range(1000 * worker, 1000 * worker + 999), share) for worker in range(workers)]
        return await asyncio.gather(*asked, return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [BudgetError] * workers
    assert f"{budget.spent:.4f} spent on {usage.answered:,} answers" in str(outcomes[0])
    return budget


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_a_budget_is_used_up_and_never_exceeded(share: float) -> None:
    budget = spend(0.002, 8, share)
    dearest = present(spend(0.002, 1, 1.0).prices.price("qwen-flash", most_prompt_tokens(make_chat(0).messages), 50))
    assert budget.limit - dearest < budget.spent <= budget.limit


@pytest.mark.parametrize("content", [DENSE, "Crème brûlée 東京物語 🎬", "The quiet drama of a small town", ""])
def test_no_estimate_is_above_the_most(content: str) -> None:
    messages = make_chat(1, content).messages
    assert len(content.encode()) < most_prompt_tokens(messages)
    assert estimate_prompt_tokens(messages) <= most_prompt_tokens(messages)
