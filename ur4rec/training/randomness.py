"""Seeds, and the state of every source of randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds torch and turns deterministic algorithms on for a while."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def random_state(generator: np.random.Generator, device: torch.device) -> dict[str, Any]:
    """State of numpy's generator and torch's global ones: plain values and tensors."""
    state = {"numpy": generator.bit_generator.state, "torch": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Any], generator: np.random.Generator, device: torch.device) -> None:
    """Goes on where `random_state` was taken."""
    generator.bit_generator.state = state["numpy"]
    torch.set_rng_state(state["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
