"""A budget holds even if every call in flight turns out as dear as it can."""

import asyncio

import pytest

from ur4rec.text.llm.budget import Budget, BudgetError
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import estimate_prompt_tokens, load_prices, most_prompt_tokens
from ur4rec.text.llm.usage import Usage

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
    dearest = spend(0.002, 1, 1.0).prices.price("qwen-flash", most_prompt_tokens(make_chat(0).messages), 50)
    assert budget.limit - dearest < budget.spent <= budget.limit


@pytest.mark.parametrize("content", [DENSE, "Crème brûlée 東京物語 🎬", "The quiet drama of a small town", ""])
def test_no_estimate_is_above_the_most(content: str) -> None:
    messages = make_chat(1, content).messages
    assert len(content.encode()) < most_prompt_tokens(messages)
    assert estimate_prompt_tokens(messages) <= most_prompt_tokens(messages)
