"""Adaptive alternation of joint fine-tuning: one module trains until it stops improving, then the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

CHANGING = ("active", "previous", "losses", "switches")


@dataclass
class Alternation:
    """Which module trains in joint fine-tuning: it changes when the loss stops improving.

    >>> alternation = Alternation(("a", "b"), threshold=0.1, min_steps=2)
    >>> [alternation.observe(loss) for loss in (8.0, 6.0, 5.0, 4.0, 4.4, 4.4)]
    ['a', 'a', 'a', 'a', 'a', 'b']
    """

    modules: tuple[str, ...]
    threshold: float
    min_steps: int
    active: int = 0
    previous: float = math.inf
    losses: list[float] = field(default_factory=list)

    switches: int = 0

    @property
    def module(self) -> str:
        """Which module trains now."""
        return self.modules[self.active]

    def observe(self, loss: float) -> str:
        """Takes the loss of a step; returns the module that trains next."""
        self.losses.append(loss)
        if len(self.losses) == self.min_steps:
            mean = sum(self.losses) / len(self.losses)
            stalled = not math.isinf(self.previous) and (self.previous - mean) / self.previous < self.threshold
            self.previous, self.losses = (math.inf, []) if stalled else (mean, [])
            self.active = (self.active + stalled) % len(self.modules)
            self.switches += stalled
        return self.module

    def describe(self) -> dict[str, float]:
        """Index of the module that trains now, and how often it has changed."""
        return {"alternation": float(self.active), "alternation_switches": float(self.switches)}

    def state_dict(self) -> dict[str, Any]:
        """What changes from step to step."""
        return {name: getattr(self, name) for name in CHANGING}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        for name in CHANGING:
            setattr(self, name, state[name])
