"""The optimizer steps as torch's own does, and goes on where a state ends."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from ur4rec.training.optimizer import AdamW, WarmupCosine

RATES = {"a.": 0.01, "b.": 0.002}
NUM_STEPS = 40


def make_parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(7)
    return {name: nn.Parameter(torch.randn(5, 3)) for name in ("a.first", "b.second", "a.third", "b.never")}


def loss(parameters: dict[str, nn.Parameter], step: int) -> Tensor:
    """The third takes part in every other step, the last one in none."""
    total = (parameters["a.first"] @ parameters["b.second"].T).square().sum()
    return total + (parameters["a.third"] - 1).abs().sum() if step % 2 else total


def train(parameters: dict[str, nn.Parameter], optimizer: AdamW, steps: range) -> None:
    schedule = WarmupCosine(NUM_STEPS, 0.1)
    for step in steps:
        optimizer.clear_gradients()
        loss(parameters, step).backward()
        optimizer.step(schedule(step))


def test_steps_have_the_bits_of_torchs_own_class() -> None:
    ours, theirs = make_parameters(), make_parameters()
    train(ours, AdamW(ours, RATES, 0.01), range(NUM_STEPS))
    groups = [
        {"params": [value for name, value in theirs.items() if name.startswith(key)], "lr": rate}
        for key, rate in RATES.items()
    ]
    reference = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, WarmupCosine(NUM_STEPS, 0.1))
    for step in range(NUM_STEPS):
        reference.zero_grad()
        loss(theirs, step).backward()
        reference.step()
        schedule.step()
    untouched = make_parameters()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
        assert torch.equal(value, untouched[name]) == (name == "b.never"), name


def test_it_goes_on_from_a_state() -> None:
    whole, parts = make_parameters(), make_parameters()
    train(whole, AdamW(whole, RATES, 0.01), range(NUM_STEPS))
    before = AdamW(parts, RATES, 0.01)
    train(parts, before, range(9))
    after = AdamW(parts, RATES, 0.01)
    after.load_state_dict(before.state_dict())
    train(parts, after, range(9, NUM_STEPS))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_the_first_prefix_that_fits_counts() -> None:
    parameters = make_parameters()
    optimizer = AdamW(parameters, {"a.third": 0.5, "a.": 0.1, "": 0.2}, 0.0)
    assert optimizer.rates == {"a.first": 0.1, "b.second": 0.2, "a.third": 0.5, "b.never": 0.2}
    assert optimizer.rate == 0.1


@pytest.mark.parametrize(("num_steps", "share"), [(1, 0.05), (10, 0.0), (100, 0.3)])
def test_rates_climb_and_fall_to_nothing(num_steps: int, share: float) -> None:
    scales = [WarmupCosine(num_steps, share)(step) for step in range(num_steps + 1)]
    top = scales.index(max(scales))
    assert scales[top] == 1
    assert scales == [*sorted(scales[: top + 1]), *sorted(scales[top + 1 :], reverse=True)]
    assert all(0 <= scale <= 1 for scale in scales)


def test_training_loads_no_compiler() -> None:
    code = """
import sys
import torch
from ur4rec.training.optimizer import AdamW
from ur4rec.training.trainer import deterministic
value = torch.nn.Parameter(torch.ones(2))
with deterministic(1):
    optimizer = AdamW({"sasrec.": value}, {"": 0.1}, 0.01)
    value.sum().backward()
    torch.nn.utils.clip_grad_norm_([value], 1.0)
    optimizer.step(1.0)
assert torch.equal(value, torch.full((2,), 0.899)), value
print(sorted({"torch._dynamo", "torch._inductor", "sklearn", "sympy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
