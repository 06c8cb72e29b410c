"""Speed of serving: one user in process, many at once, over HTTP, in a million items, and all of a million users.

    python -m benchmarks.serving one BUNDLE
    python -m benchmarks.serving http BUNDLE
    python -m benchmarks.serving items
    python -m benchmarks.serving users

BUNDLE is a bundle folder, as `ur4rec serve` takes it. Each prints its numbers as JSON. The clock of a shared or
busy machine says little: processor seconds, of all threads, stand beside it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import torch
import typer

from benchmarks.generated_bundle import write_generated_bundle
from benchmarks.peers import describe_machine
from benchmarks.phases import Phases
from ur4rec.models.config import ModelConfig
from ur4rec.recommender.recommender import Recommender
from ur4rec.recommender.requests import Query, Request, resolve
from ur4rec.serving.microbatches import Microbatches

app = typer.Typer(no_args_is_help=True)
CLIENTS = 32
"""Who wait for their answer at the same time."""
COMMAND = [sys.executable, "-c", "from ur4rec.cli import app; app()"]
BundleArgument = Annotated[Path, typer.Argument(exists=True, file_okay=False)]


@app.command()
def one(bundle: BundleArgument, requests: int = 1000) -> None:
    """Single-user requests in this process: one after another, and by many callers through the server's queue."""
    torch.set_num_threads(1)
    recommender = Recommender.load(bundle)
    queries = _known_users(recommender, requests)
    histories = [resolve(Request(history=_newest_items(recommender, query)), recommender.bundle) for query in queries]
    _print(
        known_user=_time_each(lambda query: recommender.answer([query]), queries),
        history_of_30=_time_each(lambda query: recommender.answer([query]), histories[: requests // 4]),
        together=asyncio.run(_time_together(recommender, queries)),
    )


@app.command()
def http(bundle: BundleArgument, rate: float = 20.0, seconds: float = 30.0) -> None:
    """`ur4rec serve` in a process of its own, called at a steady rate whether or not it has answered."""
    gc.freeze()  # a collection in this process would count as an answer that came late
    command = [*COMMAND, "serve", "--model", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            users = list(json.loads((bundle / "user_map.json").read_text()))
            asyncio.run(_call_steadily(address, users, rate, 2.0))
            before = _cpu_s(server.pid)
            found = asyncio.run(_call_steadily(address, users, rate, seconds))
            spent = (_cpu_s(server.pid) - before) / len(found)
        finally:
            server.terminate()
    _print(rate=rate, requests=len(found), **_summarise(found), server_cpu_ms=round(spent * 1e3, 2))


@app.command()
def items(num_items: int = 1_000_000, requests: int = 30, threads: int = 2) -> None:
    """One user in a large random catalogue."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="ur4rec-bench-") as scratch:
        config = ModelConfig(cooccurrence_neighbors=64)
        write_generated_bundle(Path(scratch) / "bundle", 1000, num_items, 50, config)
        recommender = Recommender.load(Path(scratch) / "bundle")
        queries = _known_users(recommender, requests)
        recommender.answer(queries[:1])
        phases = Phases()
        times = _time_each(lambda query: recommender.answer([query]), queries)
        peak = phases.mark("answers").peak_mb
        _print(items=num_items, threads=threads, **times, peak_mb=peak)


@app.command()
def users(num_users: int = 1_000_000, num_items: int = 10_000, length: int = 20) -> None:
    """`ur4rec recommend --all-users` in a process of its own, with its memory every second."""
    with tempfile.TemporaryDirectory(prefix="ur4rec-bench-") as scratch:
        bundle, output = Path(scratch) / "bundle", Path(scratch) / "all.parquet"
        write_generated_bundle(bundle, num_users, num_items, length, ModelConfig(cooccurrence_neighbors=64))
        command = [*COMMAND, "recommend", "--all-users", "-o", str(output), "--model", str(bundle)]
        started, samples, done = time.perf_counter(), [], []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ThreadPoolExecutor(1) as reader:
            assert process.stdout is not None
            reader.submit(lambda: done.extend((time.perf_counter(), line) for line in process.stdout or ()))
            cpu_s = 0.0
            while process.poll() is None:
                samples.append((time.perf_counter(), *_memory_mb(process.pid)))
                cpu_s = _cpu_s(process.pid) or cpu_s
                time.sleep(1)
        seconds = time.perf_counter() - started
        first = next((moment for moment, line in done if line.startswith("progress")), started)
        written = [anonymous for moment, anonymous, _ in samples if moment >= first]
        _print(
            users=num_users,
            items=num_items,
            seconds=round(seconds, 1),
            cpu_s=round(cpu_s, 1),
            users_per_s=round(num_users / seconds),
            users_per_cpu_s=round(num_users / cpu_s),
            own_memory_mb={"after a tenth": written[0], "largest after": max(written), "last": written[-1]},
            mapped_files_mb=max(mapped for _, _, mapped in samples),
            output_mb=round(output.stat().st_size / 1e6, 1),
            last_line=done[-1][1].strip(),
        )


def _known_users(recommender: Recommender, count: int) -> list[Query]:
    names = list(recommender.bundle.user_index)
    return [resolve(Request(names[number % len(names)]), recommender.bundle) for number in range(count)]


def _newest_items(recommender: Recommender, query: Query) -> list[str]:
    return [str(item) for item in recommender.bundle.item_ids[query.items[-30:]]]


def _time_each(answer: Callable[[Query], object], queries: Sequence[Query]) -> dict[str, float]:
    answer(queries[0])
    seconds, began = [], time.process_time()
    for query in queries:
        start = time.perf_counter()
        answer(query)
        seconds.append(time.perf_counter() - start)
    cpu_ms = (time.process_time() - began) / len(queries) * 1e3
    return _summarise(seconds) | {"cpu_ms": round(cpu_ms, 2), "requests_per_s": round(1 / float(np.mean(seconds)), 1)}


def _summarise(seconds: Sequence[float]) -> dict[str, float]:
    best, median, p99 = (round(float(value) * 1e3, 2) for value in np.percentile(seconds, [0, 50, 99]))
    return {"best_ms": best, "median_ms": median, "p99_ms": p99}


async def _time_together(recommender: Recommender, queries: Sequence[Query]) -> dict[str, float]:
    """Requests of single users by callers who each wait for their answer."""
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        queue = Microbatches(recommender.answer, executor)

        async def call(own: Sequence[Query]) -> None:
            for query in own:
                await queue.submit([query])

        start, began = time.perf_counter(), time.process_time()
        await asyncio.gather(*(call(queries[client::CLIENTS]) for client in range(CLIENTS)))
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - began
    count = len(queries)
    return {
        "callers": CLIENTS,
        "requests_per_s": round(count / seconds, 1),
        "cpu_ms": round(cpu_s / count * 1e3, 2),
        "requests_per_cpu_s": round(count / cpu_s, 1),
    }


async def _call_steadily(address: str, users: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Seconds from the moment a request was due to its answer."""
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:

        async def call(due: float, user: str) -> float:
            await asyncio.sleep(due - time.perf_counter())
            begun = time.perf_counter()
            response = await client.post("/recommend", json={"requests": [{"user_id": user}]})
            response.raise_for_status()
            return time.perf_counter() - begun

        start = time.perf_counter() + 0.1
        due = [start + number / rate for number in range(int(rate * seconds))]
        return await asyncio.gather(*(call(when, users[i % len(users)]) for i, when in enumerate(due)))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> tuple[float, float]:
    """Memory of a process's own, and pages of files it has mapped, which the system can take back."""
    try:
        found = dict(re.findall(r"(Rss\w+):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()))
    except OSError:
        return 0.0, 0.0
    return tuple(round(int(found.get(name, 0)) / 1024, 1) for name in ("RssAnon", "RssFile"))  # type: ignore[return-value]


def _print(**values: Any) -> None:
    typer.echo(json.dumps({"machine": describe_machine(torch.get_num_threads()), **values}, indent=1))


if __name__ == "__main__":
    app()
