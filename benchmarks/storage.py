"""A gigabyte to cloud storage and back, beside the bare client's parallel transfer.

`python -m benchmarks.storage` starts an emulator for each repeat, in a process of its own, and moves the same files
through it by turns: `publish_folder` and `fetch_folder`, which hash, verify and replace as a whole, and the client's
`transfer_manager` with threads and with processes, which does none of that beyond its own checksums. Large files are
fetched in chunks by both. The emulator takes no upload in parallel parts (404), so a file goes up in one stream.

Processor seconds are those of this process and its children, not the emulator's.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from google.cloud import storage
from google.cloud.storage import transfer_manager
from rich.table import Table

from tests.emulators import create_bucket, environment_of, running_gcs_emulator
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.folders import fetch_folder, publish_folder
from ur4rec.terminal import PlainConsole

MB = 1e6
WORKERS = 8
CHUNKED_BYTES = 32 << 20
"""Files above this size the peer fetches in chunks of this size, its own default."""
OURS = "ours"
PEERS = {"client, threads": transfer_manager.THREAD, "client, processes": transfer_manager.PROCESS}


@dataclass(frozen=True)
class Measured:
    """One transfer."""

    what: str
    """`up` or `down`."""
    who: str
    repeat: int
    seconds: float
    cpu_s: float


def main(
    files: Annotated[int, typer.Option(min=1, help="Number of files.")] = 8,
    megabytes: Annotated[int, typer.Option(min=1, help="Of all files together.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Measures and prints a table."""
    from benchmarks.peers import describe_machine

    machine = describe_machine(threads=1)
    with tempfile.TemporaryDirectory(prefix="ur4rec-bench-") as temporary:
        folder = make_files(Path(temporary, "files"), files, megabytes)
        measured = [row for repeat in range(repeats) for row in measure(folder, Path(temporary), repeat)]
    PlainConsole(width=120).print(tabulate(measured, f"{files} files, {megabytes:,} MB, {repeats} repeats", megabytes))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        machine |= {"load_at_end": round(os.getloadavg()[0], 2)}
        report = {"files": files, "megabytes": megabytes, "runs": [asdict(row) for row in measured], "machine": machine}
        write_text_atomic(output, json.dumps(report, indent=1) + "\n")


def make_files(folder: Path, count: int, megabytes: int) -> Path:
    """Files of equal size with random bytes."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.bin").write_bytes(os.urandom(int(megabytes * MB) // count))
    return folder


def measure(folder: Path, scratch: Path, repeat: int) -> list[Measured]:
    """Everyone's transfers in both directions, in another order each time."""
    measured = []
    names = [OURS, *PEERS]
    for who in names[repeat % len(names) :] + names[: repeat % len(names)]:
        target = scratch / "target"
        with running_gcs_emulator() as address, environment_of(address):
            bucket = create_bucket()
            up, down = _transfers(who, folder, bucket, target)
            measured += [_timed("up", who, repeat, up), _timed("down", who, repeat, down)]
        _check_equal(folder, target)
        shutil.rmtree(target)
    return measured


def _transfers(who: str, folder: Path, bucket: str, target: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    if who == OURS:
        location = f"gs://{bucket}/folder"
        return lambda: publish_folder(folder, location), lambda: fetch_folder(location, target)
    target.mkdir()
    return lambda: _upload(folder, bucket, PEERS[who]), lambda: _download(bucket, target, PEERS[who])


def _upload(folder: Path, bucket: str, worker: str) -> None:
    with closing(storage.Client(project="toy")) as client:
        names = sorted(path.name for path in folder.iterdir())
        transfer_manager.upload_many_from_filenames(
            client.bucket(bucket),
            names,
            source_directory=str(folder),
            worker_type=worker,
            max_workers=WORKERS,
            raise_exception=True,
        )


def _download(bucket: str, target: Path, worker: str) -> None:
    with closing(storage.Client(project="toy")) as client:
        blobs = list(client.list_blobs(bucket))
        small = [(blob, str(target / blob.name)) for blob in blobs if blob.size <= CHUNKED_BYTES]
        transfer_manager.download_many(small, worker_type=worker, max_workers=WORKERS, raise_exception=True)
        for blob in blobs:
            if blob.size > CHUNKED_BYTES:
                transfer_manager.download_chunks_concurrently(
                    blob, str(target / blob.name), CHUNKED_BYTES, worker_type=worker, max_workers=WORKERS
                )


def _timed(what: str, who: str, repeat: int, transfer: Callable[[], object]) -> Measured:
    began_s, began_cpu_s = time.perf_counter(), _cpu_seconds()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        transfer()
    seconds, cpu_s = time.perf_counter() - began_s, _cpu_seconds() - began_cpu_s
    return Measured(what, who, repeat, round(seconds, 2), round(cpu_s, 2))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _check_equal(folder: Path, target: Path) -> None:
    for path in folder.iterdir():
        assert (target / path.name).stat().st_size == path.stat().st_size, path.name


def tabulate(measured: list[Measured], title: str, megabytes: int) -> Table:
    """Medians; the ratio is the speed of ours by that of the row."""
    table = Table("", "", title=title, title_justify="left")
    for name in ("seconds", "MB/s", "CPU s", "speed of ours by it", "CPU s of ours by its"):
        table.add_column(name, justify="right")
    for what in ("up", "down"):
        ours_s, ours_cpu_s = _medians(measured, what, OURS)
        for who in (OURS, *PEERS):
            seconds, cpu_s = _medians(measured, what, who)
            ratios = (f"{seconds / ours_s:.2f}", f"{ours_cpu_s / cpu_s:.2f}")
            table.add_row(what, who, f"{seconds:.1f}", f"{megabytes / seconds:,.0f}", f"{cpu_s:.1f}", *ratios)
    return table


def _medians(measured: list[Measured], what: str, who: str) -> tuple[float, float]:
    rows = [row for row in measured if (row.what, row.who) == (what, who)]
    return statistics.median(row.seconds for row in rows), statistics.median(row.cpu_s for row in rows)


if __name__ == "__main__":
    typer.run(main)
