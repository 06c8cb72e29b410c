"""Money: what a run has spent, and when it has to stop."""

from __future__ import annotations

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
        self._reserved: dict[str, float] = {}
        if prices.price(model, 0, 0) is None:
            raise BudgetError(f"no price is known for {model!r}, so no budget can be kept; pass a table of prices")

    @property
    def spent(self) -> float:
        """Price of the answers so far."""
        return self._price(self.usage.tokens_in, self.usage.tokens_out)

    def reserve(self, chat: ChatRequest) -> None:
        """Sets aside what a call may cost at most.

        Raises:
            BudgetError: It does not fit any more.
        """
        dearest = self._price(most_prompt_tokens(chat.messages), chat.max_tokens)
        if self.spent + sum(self._reserved.values()) + dearest > self.limit:
            raise BudgetError(
                f"the budget of {self.limit:g} {self.prices.currency} would be exceeded: "
                f"{self.spent:.4f} spent on {self.usage.answered:,} answers, which are kept; raise it and run again"
            )
        self._reserved[chat.key] = dearest

    def release(self, chat: ChatRequest) -> None:
        """The call has ended; what it cost is in the usage."""
        self._reserved.pop(chat.key, None)

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        price = self.prices.price(self.model, tokens_in, tokens_out)
        assert price is not None
        return price
