"""A served model under load and among callers that behave badly, over the loopback interface.

    python -m benchmarks.serving_faults BUNDLE
    python -m benchmarks.serving_faults BUNDLE --load-s 10 --beside-s 10 --silent 100 --leaving 100

BUNDLE is a bundle folder, as `ur4rec serve` takes it. Prints, as JSON: so many connections that ask again as soon as
they are answered; callers at a steady rate beside connections that say nothing; the first answer after callers that
hung up. Each has a server of its own, the latter two with a limit of open files.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from benchmarks.peers import describe_machine

COMMAND = [sys.executable, "-c", "from ur4rec.cli import app; app()"]
TIMEOUT_S = 30
CALL_ITEMS = 256
"""Requests in the calls of those who hang up."""


@dataclass
class Found:
    """What callers got."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def summarise(self) -> dict[str, Any]:
        """Counts and milliseconds of those that were answered."""
        median, p99, longest = np.percentile(self.seconds or [np.nan], [50, 99, 100]) * 1e3
        times = {"p50_ms": round(median, 1), "p99_ms": round(p99, 1), "longest_ms": round(longest, 1)}
        return {"answered": len(self.seconds), "errors": dict(self.errors), **times}


def main(
    bundle: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    connections: int = 64,
    load_s: float = 120,
    silent: int = 400,
    rate: float = 20,
    beside_s: float = 30,
    leaving: int = 500,
    open_files: int = 256,
) -> None:
    """Runs the three and prints what they found."""
    users = list(json.loads((bundle / "user_map.json").read_text()))
    with _serve(bundle) as (address, log):
        load = asyncio.run(_load(address, users, connections, load_s)).summarise() | {"log_bytes": log.stat().st_size}
    with _serve(bundle, open_files) as (address, log), ExitStack() as stack:
        for _ in range(silent):
            stack.enter_context(closing(_connect(address)))
        beside = asyncio.run(_ask_steadily(address, users, rate, beside_s)).summarise()
        beside |= {"log_bytes": log.stat().st_size}
    with _serve(bundle, open_files) as (address, log):
        _hang_up(address, users, leaving)
        after = asyncio.run(_ask_steadily(address, users, 1, 1)).summarise() | {"log_bytes": log.stat().st_size}
    found = {f"{connections}_connections": load, f"beside_{silent}_silent": beside, f"after_{leaving}_left": after}
    typer.echo(json.dumps({"machine": describe_machine(1), **found}, indent=1))


@contextmanager
def _serve(bundle: Path, open_files: int | None = None) -> Iterator[tuple[str, Path]]:
    """Address and log of a server that has to be alive at the end."""
    limit = None if open_files is None else (open_files, open_files)
    command = [*COMMAND, "serve", "--model", str(bundle), "--port", "0"]
    with tempfile.NamedTemporaryFile("w", prefix="ur4rec-bench-") as log:
        server = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)) if limit else None,
        )
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1], Path(log.name)
            assert server.poll() is None, "the server ended"
        finally:
            server.terminate()
            server.communicate()


async def _load(address: str, users: list[str], connections: int, seconds: float) -> Found:
    """Each connection asks again as soon as it is answered."""
    found, end = Found(), time.perf_counter() + seconds

    async def ask_on(number: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S, verify=False) as client:
            while time.perf_counter() < end:
                await _ask(client, users[number % len(users)], found)
                number += connections

    await asyncio.gather(*(ask_on(number) for number in range(connections)))
    return found


async def _ask_steadily(address: str, users: list[str], rate: float, seconds: float) -> Found:
    """Each caller has a connection of its own and comes when it is due, whether or not those before are answered."""
    found, start = Found(), time.perf_counter() + 0.1

    async def ask_once(number: int) -> None:
        await asyncio.sleep(start + number / rate - time.perf_counter())
        async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S, verify=False) as client:
            await _ask(client, users[number % len(users)], found)

    await asyncio.gather(*(ask_once(number) for number in range(round(rate * seconds))))
    return found


async def _ask(client: httpx.AsyncClient, user: str, found: Found) -> None:
    begun = time.perf_counter()
    try:
        response = await client.post("/recommend", json={"requests": [{"user_id": user}]})
    except httpx.HTTPError as error:
        found.errors[type(error).__name__] += 1
        return
    if response.status_code == 200:
        found.seconds.append(time.perf_counter() - begun)
    else:
        found.errors[str(response.status_code)] += 1


def _hang_up(address: str, users: list[str], count: int) -> None:
    """Callers that leave before, within and after a large call, and never read an answer."""
    body = json.dumps({"requests": [{"user_id": user} for user in users[:CALL_ITEMS]], "k": 100})
    call = f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    for number in range(count):
        with closing(_connect(address)) as connection:
            connection.sendall(call[: len(call) * (number % 5) // 4])


def _connect(address: str) -> socket.socket:
    split = urlsplit(address)
    assert split.hostname is not None
    assert split.port is not None
    return socket.create_connection((split.hostname, split.port), timeout=TIMEOUT_S)


if __name__ == "__main__":
    typer.run(main)
