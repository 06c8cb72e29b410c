"""What one very long user costs: the replays of an epoch with and without them, for each trigger.

    python -m benchmarks.long_user -o outputs/bench/long_user.json

An epoch of stages 2 to 4 replays the memories twice: up to each user's window before the training, and over the whole
histories before the validation. The long user has one window, like everybody. With and without alternate, and a number
is the median of the processor seconds. The long user one interaction after another, as `UserMemory.step` reads a
stream, is measured on a part of the history and scaled up.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from ur4rec.data.sequences import Histories
from ur4rec.models.config import UpdateTrigger
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.training.windows import sample_epoch

TEXT_DIM, DAY_S = 384, 86_400
STEPS = 500
"""Interactions that are read one by one."""


@dataclass(frozen=True)
class Measured:
    """Processor seconds for one trigger."""

    trigger: str
    without_s: float
    with_s: float
    one_by_one_s: float
    """The long user alone, one interaction after another."""

    @property
    def ratio(self) -> float:
        """How many times longer with the long user."""
        return self.with_s / self.without_s


def draw(lengths: list[int], num_items: int) -> Histories:
    """Histories of so many interactions, with six hours from one to the next in the mean."""
    generator = np.random.default_rng(1)
    offsets = np.concatenate([[0, 0], np.cumsum(lengths)])
    items = generator.integers(1, num_items + 1, offsets[-1])
    gaps_s = generator.exponential(DAY_S / 4, offsets[-1]).astype(np.int64)
    return Histories(offsets, items, 1_500_000_000 + gaps_s.cumsum())


def build(trigger: UpdateTrigger, num_items: int, num_users: int) -> UR4RecV2MoE:
    """An untrained model with texts of items."""
    torch.manual_seed(0)
    model = UR4RecV2MoE(num_items, num_users, update_trigger=trigger)
    texts, none = torch.randn(num_items + 1, TEXT_DIM), torch.zeros(0, 2, dtype=torch.int64)
    model.retriever.encoder.text.fill(texts, torch.zeros(0, TEXT_DIM), torch.zeros(1, dtype=torch.int64), none, 0)
    return model.eval()


def replay_epoch(model: UR4RecV2MoE, histories: Histories) -> None:
    """Both replays of an epoch."""
    window = model.config.max_seq_len
    epoch = sample_epoch(histories, window, np.random.default_rng(0), 0.0, False, torch.device("cpu"))
    lengths = torch.from_numpy(histories.lengths[epoch.users.numpy()])
    for runs in (epoch.before(), replace(epoch.before(), lengths=lengths)):
        model.retriever.replay(runs)


def measure(trigger: UpdateTrigger, users: int, length: int, longest: int, num_items: int, repeats: int) -> Measured:
    """Both ways, in turn."""
    model = build(trigger, num_items, users + 1)
    histories = draw([length] * users, num_items), draw([length] * users + [longest], num_items)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for each, found in zip(histories, seconds, strict=True):
            before = time.process_time()
            replay_epoch(model, each)
            found.append(time.process_time() - before)
    without_s, with_s = (median(found[1:]) for found in seconds)  # the first is a warm-up
    return Measured(trigger.value, without_s, with_s, 2 * longest * time_step(model, STEPS))


@torch.no_grad()
def time_step(model: UR4RecV2MoE, steps: int) -> float:
    """Processor seconds of one interaction of one user."""
    memory = model.retriever.memory
    assert memory is not None
    state, everyone = memory.empty_state(1), torch.ones(1, dtype=torch.bool)
    vectors, times = torch.randn(steps, 1, memory.item_dim), torch.arange(steps)[:, None] * DAY_S // 4
    before = time.process_time()
    for vector, now in zip(vectors, times, strict=True):
        state = memory.step(state, vector, now, everyone)
    return (time.process_time() - before) / steps


def tabulate(measured: list[Measured]) -> Table:
    """One line a trigger."""
    table = Table("trigger", "without, CPU s", "with", "ratio", "one by one", title="Replays of an epoch")
    for each in measured:
        numbers = f"{each.without_s:.4f}", f"{each.with_s:.4f}", f"{each.ratio:.2f}", f"{each.one_by_one_s:.1f}"
        table.add_row(each.trigger, *numbers)
    return table


def main(
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("outputs/bench/long_user.json"),
    users: Annotated[int, typer.Option(min=1)] = 300,
    length: Annotated[int, typer.Option(min=2, help="Interactions of each of them.")] = 80,
    longest: Annotated[int, typer.Option(min=2, help="Interactions of the long user.")] = 100_000,
    items: Annotated[int, typer.Option(min=1)] = 2000,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Measure every trigger, write the numbers and print a table."""
    torch.set_num_threads(1)
    measured = [measure(trigger, users, length, longest, items, repeats) for trigger in UpdateTrigger]
    settings = {"users": users, "length": length, "longest": longest, "items": items, "repeats": repeats}
    rows = [asdict(each) | {"ratio": each.ratio} for each in measured]
    write_text_atomic(output, json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")
    PlainConsole().print(tabulate(measured))


if __name__ == "__main__":
    typer.run(main)
