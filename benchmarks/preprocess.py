"""Preprocessing of a generated data set against the plain pandas way of doing less.

The peer reads the CSV, encodes both ids and sorts by user and time: no check of any row, no split, nothing written.
Both run in a process of their own; `python -m benchmarks.preprocess`.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.storage.artifacts import peak_memory_mb
from ur4rec.terminal import PlainConsole

FOLDER = Path("outputs/bench")
NUM_USERS, NUM_ITEMS, NUM_ROWS = 20_000, 5_000, 1_000_000


def generate(path: Path, seed: int = 0) -> Path:
    """Writes interactions with a long tail of items and of users."""
    generator = np.random.default_rng(seed)
    users = np.concatenate(
        [np.repeat(np.arange(NUM_USERS), 5), _long_tail(generator, NUM_USERS, NUM_ROWS - 5 * NUM_USERS)]
    )
    columns = {
        "user_id": users,
        "item_id": _long_tail(generator, NUM_ITEMS, NUM_ROWS),
        "timestamp": generator.integers(1_500_000_000, 1_600_000_000, NUM_ROWS),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def ours(path: Path) -> None:
    """Reads, checks every row, splits, writes with digests."""
    preprocess_sequences(path, FOLDER / "sequences", DataConfig(dataset_name="generated"))


def peer(path: Path) -> None:
    """Reads, encodes, sorts."""
    frame = pd.read_csv(path)
    for column in ("user_id", "item_id"):
        frame[column] = pd.factorize(frame[column])[0]
    frame.sort_values(["user_id", "timestamp"], kind="stable")


def measure(task: Callable[[Path], None], path: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a task in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (task, path))


def _timed(task: Callable[[Path], None], path: Path) -> tuple[float, float]:
    started = time.perf_counter()
    task(path)
    return time.perf_counter() - started, peak_memory_mb()


def _long_tail(generator: np.random.Generator, size: int, count: int) -> np.ndarray:
    weights = 1 / np.arange(1, size + 1) ** 0.8
    return generator.choice(size, count, p=weights / weights.sum())


def main() -> None:
    """Prints the table."""
    path = generate(FOLDER / "interactions.csv")
    results = {"preprocess_sequences": measure(ours, path), "pandas, reading and sorting only": measure(peer, path)}
    base = results["pandas, reading and sorting only"][0]
    table = Table("task", "seconds", "ratio", "peak MiB", title=f"{NUM_ROWS:,} interactions, {path}")
    for name, (seconds, memory) in results.items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / base:.2f}", f"{memory:,.0f}")
    PlainConsole().print(table)


if __name__ == "__main__":
    main()
