"""A budget holds even if every call in flight turns out as dear as it can."""

import pytest

from ur4rec.text.llm.budget import Budget, BudgetError
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import estimate_prompt_tokens, load_prices, most_prompt_tokens
from ur4rec.text.llm.usage import Usage

DENSE = "0123456789" * 20
"""A token a byte, the most that a tokenizer over bytes can make of a text."""


def make_chat(number: int, content: str = DENSE) -> ChatRequest:
    return ChatRequest("openai", "qwen-flash", "v1", (("user", f"{content}{number:04}"),), 0.0, 50, 0, True)


def test_calls_in_flight_that_all_cost_the_most_stay_within_the_budget() -> None:
    usage = Usage()
    budget = Budget(0.002, load_prices(), "qwen-flash", usage)
    in_flight: list[ChatRequest] = []
    with pytest.raises(BudgetError, match=r"0\.00\d+ spent on \d+ answers"):
        ask_without_end(budget, usage, in_flight)
    for chat in in_flight:
        finish(budget, usage, chat)
    assert 0.9 * budget.limit < budget.spent <= budget.limit


def ask_without_end(budget: Budget, usage: Usage, in_flight: list[ChatRequest]) -> None:
    for number in range(1000):
        budget.reserve(make_chat(number))
        in_flight.append(make_chat(number))
        if len(in_flight) == 8:
            finish(budget, usage, in_flight.pop(0))


def finish(budget: Budget, usage: Usage, chat: ChatRequest) -> None:
    usage.answered += 1
    usage.tokens_in += len(chat.messages[0][1]) + 4
    usage.tokens_out += chat.max_tokens
    budget.release(chat)


@pytest.mark.parametrize("content", [DENSE, "Crème brûlée 東京物語 🎬", "The quiet drama of a small town", ""])
def test_no_estimate_is_above_the_most(content: str) -> None:
    messages = make_chat(1, content).messages
    assert len(content.encode()) < most_prompt_tokens(messages)
    assert estimate_prompt_tokens(messages) <= most_prompt_tokens(messages)
