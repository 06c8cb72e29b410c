"""How fast texts are asked for, and how fast a run is that finds all of them in its cache.

`python -m benchmarks.text_generation [SEQUENCES]` starts a server with 200 ms latency that throttles 10 % and fails 3 %
of the calls, and asks it for every text; then it runs again, from the cache. Without sequences it makes 1,682 items and
943 users with four snapshots each, 5,454 prompts. `--cached 100000` makes so many prompts, a tenth of them about items,
fills a cache without a server, and times the run that finds them all: in a folder and below a `gs://` prefix of an
emulator, or where `--cache` says.

The ideal throughput is the concurrency divided by the latency. "Share of the ideal" is that of all calls, those that
the server turns away among them; the share of the answers is beside it, and cannot be above 87 % here.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from anyio.from_thread import start_blocking_portal
from rich.table import Table

from tests.emulators import create_bucket, environment_of, running_gcs_emulator
from tests.text.llm.server import answer_text
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import peak_memory_mb, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.llm.chat import ChatAnswer, ChatRequest
from ur4rec.text.llm.costs import load_prices
from ur4rec.text.llm.lookup import open_cache
from ur4rec.text.llm.provider import LanguageModelProvider, cache_location
from ur4rec.text.plan import plan_texts

LATENCY_MS, THROTTLED, FAILING = 200, 0.1, 0.03
NUM_ITEMS, NUM_USERS, LENGTH = 1682, 943, 90
LENGTH_OF_THREE = 44
"""Interactions of a user with three snapshots: after 10, 20 and 40."""
GENRES = (
    *("Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Horror", "Musical"),
    *("Mystery", "Romance", "War"),
)
WORDS = (
    *("river", "house", "winter", "last", "golden", "night", "stranger", "city", "letter", "long", "silent", "king"),
    *("garden", "road", "under", "of", "the", "two"),
)


@dataclass(frozen=True)
class Run:
    """One run of `generate_text`."""

    run: str
    prompts: int
    calls: int
    process_s: float
    """From the start of its process to the end of it, imports and all."""
    seconds: float
    """The run itself."""
    cpu_s: float
    asking_s: float
    share_of_ideal: float | None
    share_of_answers: float | None
    peak_memory_mb: float


def main(
    sequences: Annotated[Path | None, typer.Argument(help="Sequences folder.", exists=True, file_okay=False)] = None,
    cached: Annotated[int | None, typer.Option(min=100, help="Prompts of the cached run alone.")] = None,
    cache: Annotated[str | None, typer.Option(help="Where its answers are kept; else a temporary folder.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls in flight.")] = 32,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Measures and prints a table."""
    from benchmarks.peers import describe_machine  # imports torch, which the measured processes need not

    machine = describe_machine(threads=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if cached is None:
            data = sequences or make_sequences(folder, NUM_ITEMS, NUM_USERS, LENGTH)
            runs = list(measure_asking(data, folder, concurrency))
        else:
            data = make_sequences(folder, cached // 10, cached * 3 // 10, LENGTH_OF_THREE)
            runs = list(measure_cached(data, folder, cache))
    PlainConsole(width=140).print(tabulate(runs))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        report = {"runs": [asdict(run) for run in runs], "machine": machine}
        write_text_atomic(output, json.dumps(report, indent=2) + "\n")


def make_sequences(folder: Path, num_items: int, num_users: int, length: int, seed: int = 0) -> Path:
    """Users with equally many interactions, items with titles, years, genres and descriptions."""
    generator = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, num_items + 1) ** 0.7
    chosen = generator.choice(num_items, num_users * length, p=popularity / popularity.sum())
    chosen[:num_items] = np.arange(num_items)  # every item occurs
    rows = {
        "user_id": np.repeat(np.arange(num_users), length),
        "item_id": chosen,
        "timestamp": 1_500_000_000 + np.arange(num_users * length) * 60,
    }
    items = {
        "item_id": np.arange(num_items),
        "title": [f"{_phrase(generator, 3).title()} {number}" for number in range(num_items)],
        "year": generator.integers(1930, 2000, num_items),
        "genres": ["|".join(generator.choice(GENRES, generator.integers(1, 4), False)) for _ in range(num_items)],
        "description": [_phrase(generator, 25) for _ in range(num_items)],
    }
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    pd.DataFrame(items).to_csv(folder / "items.csv", index=False)
    config = DataConfig(dataset_name="generated", min_seq_len=3)
    preprocess_sequences(folder / "rows.csv", folder / "sequences", config, items=folder / "items.csv")
    return folder / "sequences"


def measure_asking(sequences: Path, folder: Path, concurrency: int) -> Iterator[Run]:
    """A run that asks for everything, and the same again."""
    with running_server() as url:
        config = TextConfig(
            text_provider="dashscope",
            text_base_url=f"{url}/api/v1",
            text_cache=str(folder / "cache"),
            text_concurrency=concurrency,
        )
        for name in ("asks for all", "finds all"):
            yield measure_process(name, sequences, folder / "texts", config)


def measure_cached(sequences: Path, folder: Path, cache: str | None) -> Iterator[Run]:
    """Runs that find everything in a cache filled before."""
    with ExitStack() as stack:
        caches = {"finds all": cache} if cache else {"finds all, folder": str(folder / "cache")}
        if not cache:
            stack.enter_context(environment_of(stack.enter_context(running_gcs_emulator())))
            caches["finds all, emulator"] = f"gs://{create_bucket()}/cache"
        for name, place in caches.items():
            config = TextConfig(text_provider="dashscope", text_cache=place)
            in_new_process(fill, sequences, config)
            yield measure_process(name, sequences, folder / "texts", config)


def measure_process(*arguments: object) -> Run:
    """One run in a process of its own."""
    started = time.perf_counter()
    run: Run = in_new_process(measure, *arguments)
    return replace(run, process_s=round(time.perf_counter() - started, 2))


def measure(name: str, sequences: Path, output: Path, config: TextConfig) -> Run:
    """One run in this process."""
    os.environ["DASHSCOPE_API_KEY"] = "sk-of-the-benchmark"
    started, started_cpu = time.perf_counter(), time.process_time()
    used = generate_text(sequences, output, config).details["language_model"]
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    ideal_s = LATENCY_MS / 1000 / config.text_concurrency

    def share(count: int) -> float | None:
        return round(count * ideal_s / used["seconds"], 3) if count else None

    return Run(
        run=name,
        prompts=used["texts"],
        calls=used["calls"],
        process_s=0,
        seconds=round(seconds, 2),
        cpu_s=round(cpu_s, 2),
        asking_s=used["seconds"],
        share_of_ideal=share(used["calls"]),
        share_of_answers=share(used["answered"]),
        peak_memory_mb=round(peak_memory_mb()),
    )


class InstantClient:
    """Answers at once, as the server would."""

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """The answer, by way of no network."""
        messages = [{"role": role, "content": content} for role, content in request.messages]
        return ChatAnswer(answer_text(messages), 200, 70)

    async def aclose(self) -> None:
        """Nothing to close."""


def fill(sequences: Path, config: TextConfig) -> None:
    """Stores the answer of every prompt."""
    plan = plan_texts(load_sequences(sequences), config)
    with start_blocking_portal() as portal, open_cache(cache_location(config)) as cache:
        provider = LanguageModelProvider(config, InstantClient(), cache, portal, load_prices())
        for describe, requests in (
            (provider.describe_items, plan.item_requests()),
            (provider.describe_users, plan.user_requests()),
        ):
            for _ in describe(requests, lambda _: None):  # type: ignore[operator]
                pass
        provider.finish()


def in_new_process(task: Callable[..., Any], *arguments: object) -> Any:
    """Outcome of a task in a process of its own, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


@contextmanager
def running_server() -> Iterator[str]:
    """URL of a server in a process of its own."""
    options = ("--latency-ms", LATENCY_MS, "--throttled", THROTTLED, "--failing", FAILING, "--seed", 1)
    command = [sys.executable, "-m", "tests.text.llm.server", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def tabulate(runs: list[Run]) -> Table:
    """One line a run."""
    table = Table(title=f"{LATENCY_MS} ms latency, {THROTTLED:.0%} throttled, {FAILING:.0%} failing")
    times = ("process s", "run s", "CPU s", "asking s")
    for name in ("run", "prompts", "calls", *times, "share of ideal", "of answers", "peak MiB"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for run in runs:
        shares = ("" if share is None else f"{share:.1%}" for share in (run.share_of_ideal, run.share_of_answers))
        seconds = (f"{value:.1f}" for value in (run.process_s, run.seconds, run.cpu_s, run.asking_s))
        table.add_row(run.run, f"{run.prompts:,}", f"{run.calls:,}", *seconds, *shares, f"{run.peak_memory_mb:,.0f}")
    return table


def _phrase(generator: np.random.Generator, length: int) -> str:
    return " ".join(generator.choice(WORDS, length))


if __name__ == "__main__":
    typer.run(main)
