"""AdamW with a rate for each module; the rates warm up, then fall as a cosine does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """Steps by AdamW (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"), in torch's fused kernel.

    Torch's own class would load its compiler, which is 75 MB and a second of every task.

    Args:
        parameters: Those that are trained, by name.
        rates: Highest learning rate of those whose name begins with the key; the first key that fits counts.
        weight_decay: Share of the rate by which a parameter shrinks in a step.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float], weight_decay: float) -> None:
        self._parameters, self._weight_decay = dict(parameters), weight_decay
        self.rates = {name: next(rates[key] for key in rates if name.startswith(key)) for name in parameters}
        self._means = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self._squares = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self._steps = {name: torch.zeros((), device=value.device) for name, value in parameters.items()}

    @property
    def rate(self) -> float:
        """Highest rate of the first parameter."""
        return next(iter(self.rates.values()))

    def clear_gradients(self) -> None:
        """Let go of every gradient."""
        for value in self._parameters.values():
            value.grad = None

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move every parameter that has a gradient, at a share of its highest rate."""
        for rate in set(self.rates.values()):
            moved = {name: value for name, value in self._parameters.items() if self.rates[name] == rate}
            gradients = {name: value.grad for name, value in moved.items() if value.grad is not None}
            adamw(
                [moved[name] for name in gradients],
                list(gradients.values()),
                [self._means[name] for name in gradients],
                [self._squares[name] for name in gradients],
                [],
                [self._steps[name] for name in gradients],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate * factor,
                weight_decay=self._weight_decay,
                eps=EPSILON,
                maximize=False,
            )

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors that change with the steps."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of one with the same parameters returned."""
        for name, table in self.state_dict().items():
            for key, value in table.items():
                value.copy_(state[name][key])


class WarmupCosine:
    """Share of the highest rate by step: it climbs for a while, then falls to nothing.

    >>> [WarmupCosine(num_steps=12, warmup_share=0.2)(step) for step in (0, 1, 7, 12)]
    [0.5, 1.0, 0.5, 0.0]

    Args:
        num_steps: Steps of the whole training.
        warmup_share: Share of them that climb; one step at least.
    """

    def __init__(self, num_steps: int, warmup_share: float) -> None:
        self._num_steps, self._warmup = num_steps, max(1, round(num_steps * warmup_share))

    def __call__(self, step: int) -> float:
        """Return the share in a step, from 0."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        done = (step - self._warmup) / max(1, self._num_steps - self._warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
