"""A process that fills a cache and prints each key once stored: `cache_writer.py LOCATION FIRST LAST CONCURRENCY`."""

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ur4rec.text.llm.lookup import open_cache
from ur4rec.text.llm.store import AnswerCache, CachedAnswer


def make_answer(number: int, **changes: object) -> CachedAnswer:
    """The answer number `number`, always the same."""
    fields = {
        "key": hashlib.sha256(str(number).encode()).hexdigest(),
        "status": "answered",
        "text": f"text {number} " * 20,
        "tokens_in": 2 * number,
        "tokens_out": number,
        "stored_at_s": 1_700_000_000,
        "expires_at_s": None,
    }
    return CachedAnswer(**(fields | changes))  # type: ignore[arg-type]


def start_writer(location: str, first: int, last: int, concurrency: int, temporary: Path) -> "subprocess.Popen[str]":
    """Begins a process that stores answers `first` to `last` - 1, and keeps its temporary files in a folder."""
    arguments = [sys.executable, __file__, location, str(first), str(last), str(concurrency)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def kill_after(process: "subprocess.Popen[str]", num_keys: int) -> set[str]:
    """Kills a writer with SIGKILL when it has told so many keys; returns all it told before it died."""
    told = []
    with process:
        assert process.stdout
        for line in process.stdout:
            told.append(line)
            if len(told) == num_keys:
                process.kill()
    assert process.returncode == -9
    return {line.strip() for line in told if line.endswith("\n")}


async def put_all(cache: AnswerCache, answers: list[CachedAnswer]) -> None:
    """Stores answers concurrently."""
    await asyncio.gather(*(cache.put(answer) for answer in answers))


async def _write(cache: AnswerCache, numbers: range, concurrency: int) -> None:
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            answer = make_answer(number)
            await cache.put(answer)
            os.write(1, f"{answer.key}\n".encode())

    await asyncio.gather(*(work() for _ in range(concurrency)))


if __name__ == "__main__":
    with open_cache(sys.argv[1]) as opened:
        asyncio.run(_write(opened, range(int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4])))
