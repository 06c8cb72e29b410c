"""How long a fully cached run waits for its answers, in a folder and below a `gs://` prefix of an emulator.

`python -m benchmarks.text_cache -o outputs/bench/text_cache.json`. Prompts and answers are about a kilobyte each. The
table tells of each store the seconds to write (all puts durable), to open before the writer has merged its segments (as
after a kill), to close, to open, and to look all prompts up, their keys computed and every text compared.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.peers import describe_machine
from tests.emulators import create_bucket, environment_of, running_gcs_emulator
from ur4rec.storage.artifacts import peak_memory_mb, write_text_atomic
from ur4rec.text.llm.cache import AnswerCache, CachedAnswer, open_cache
from ur4rec.text.llm.chat import ChatRequest

FILLER = "The viewer returns to quiet dramas with a moral question at their heart. "
BYTES = 1000


@dataclass(frozen=True)
class Times:
    """Seconds of each step in one store."""

    store: str
    write_s: float
    open_unmerged_s: float
    close_s: float
    open_s: float
    read_s: float

    @property
    def cached_run_s(self) -> float:
        """What a run that asks for nothing new spends in the cache."""
        return self.open_s + self.read_s


def main(
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 100_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Puts that wait at once.")] = 256,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Measures both stores and prints a table."""
    machine = describe_machine(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure("folder", f"{folder}/cache", prompts, concurrency)]
    with running_gcs_emulator() as address, environment_of(address):
        rows.append(measure("emulator", f"gs://{create_bucket()}/cache", prompts, concurrency))
    Console().print(tabulate(rows, prompts))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        report = {"prompts": prompts, "concurrency": concurrency, "stores": [asdict(row) for row in rows]}
        write_text_atomic(
            output, json.dumps(report | {"machine": machine, "peak_memory_mb": peak_memory_mb()}, indent=2)
        )


def measure(store: str, location: str, num_prompts: int, concurrency: int) -> Times:
    """Writes, reopens and reads one store."""
    writer = open_cache(location)
    marks = [time.perf_counter()]
    asyncio.run(_write(writer, num_prompts, concurrency))
    marks.append(time.perf_counter())
    open_cache(location).close()
    marks.append(time.perf_counter())
    writer.close()
    marks.append(time.perf_counter())
    with open_cache(location) as cache:
        marks.append(time.perf_counter())
        for number in range(num_prompts):
            answer = cache.get(make_request(number).key)
            assert answer is not None
            assert answer.text == _text(number)
        marks.append(time.perf_counter())
        assert (len(cache), cache.skipped_lines) == (num_prompts, 0)
    return Times(store, *(round(after - before, 2) for before, after in pairwise(marks)))


def make_request(number: int) -> ChatRequest:
    """A request with a prompt of about a kilobyte."""
    messages = (("system", "Describe the viewer."), ("user", f"prompt {_text(number)}"))
    return ChatRequest("dashscope", "qwen-flash", "benchmark.v1+000000000000", messages, 0.0, 300, 0, True)


def tabulate(rows: list[Times], num_prompts: int) -> Table:
    """One line a store."""
    table = Table(title=f"{num_prompts:,} cached prompts of {BYTES:,} bytes, in seconds")
    for name in ("store", "write", "open, unmerged", "close", "open", "read all", "open + read all"):
        table.add_column(name, justify="left" if name == "store" else "right")
    for row in rows:
        seconds = (row.write_s, row.open_unmerged_s, row.close_s, row.open_s, row.read_s, row.cached_run_s)
        table.add_row(row.store, *(f"{value:.1f}" for value in seconds))
    return table


async def _write(cache: AnswerCache, num_prompts: int, concurrency: int) -> None:
    waiting: Iterator[int] = iter(range(num_prompts))

    async def work() -> None:
        for number in waiting:
            key = make_request(number).key
            await cache.put(CachedAnswer(key, "answered", _text(number), 250, 250, 1_700_000_000, None))

    await asyncio.gather(*(work() for _ in range(concurrency)))


def _text(number: int) -> str:
    return f"{number} {FILLER * (BYTES // len(FILLER) + 1)}"[:BYTES]


if __name__ == "__main__":
    typer.run(main)
