"""Money: what a run has spent, and when it has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.costs import PriceTable, most_prompt_tokens
from ur4rec.text.llm.usage import Usage


class BudgetError(ValueError):
    """A budget that is spent, or that cannot be kept because a price is not known."""


class Budget:
    """Lets a call begin only if the answers so far, the calls in flight and this one fit, each at its dearest.

    Args:
        limit: In the currency of the table.
        prices: Of the model, among others.
        model: What is asked.
        usage: Counts the tokens of the answers so far.

    Raises:
        BudgetError: The table does not name the model.
    """

    def __init__(self, limit: float, prices: PriceTable, model: str, usage: Usage) -> None:
        self.limit, self.prices, self.model, self.usage = limit, prices, model, usage
        self._num_held, self._held = 0, 0.0
        self._released = asyncio.Event()
        if prices.price(model, 0, 0) is None:
            raise BudgetError(
                f"no price is known for {model!r}, so no budget can be kept; name it in a table (text_prices, --prices)"
            )

    @property
    def spent(self) -> float:
        """Price of the answers so far."""
        return self._price(self.usage.tokens_in, self.usage.tokens_out)

    @asynccontextmanager
    async def hold(self, chat: ChatRequest) -> AsyncIterator[None]:
        """Sets aside what a call may cost at most, for as long as it takes.

        Where it does not fit it waits for calls in flight, which as a rule cost less than the most.

        Raises:
            BudgetError: It does not fit and nothing is in flight.
        """
        dearest = self._price(most_prompt_tokens(chat.messages), chat.max_tokens)
        while self.spent + self._held + dearest > self.limit:
            if not self._num_held:
                raise BudgetError(
                    f"the budget of {self.limit:.4g} {self.prices.currency} would be exceeded: {self.spent:.4f} spent "
                    f"on {self.usage.answered:,} answers, which are kept; raise it and run again"
                )
            self._released.clear()
            await self._released.wait()
        self._num_held, self._held = self._num_held + 1, self._held + dearest
        try:
            yield
        finally:
            self._num_held, self._held = self._num_held - 1, self._held - dearest
            self._released.set()

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        price = self.prices.price(self.model, tokens_in, tokens_out)
        assert price is not None
        return price
