"""`fetch`: a public data set by name, by the first way that works."""

from __future__ import annotations

import difflib
import hashlib
import http.client
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_dir
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ur4rec.config_section import ConfigSection
from ur4rec.data.archives import read_source
from ur4rec.data.errors import SourceError
from ur4rec.data.movielens import (
    INTERACTIONS_CSV,
    ITEMS_CSV,
    Dataset,
    Layout,
    convert_1m,
    convert_100k,
    convert_100k_recbole,
)
from ur4rec.storage.artifacts import ArtifactError, read_artifact, write_artifact
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.storage.writing import writing
from ur4rec.terminal import PlainColumn, PlainConsole

CACHE_VARIABLE = "UR4REC_CACHE"
PRODUCER = "fetch"
TIMEOUT_S = 20
PIP_TIMEOUT_S = 300
CHUNK_BYTES = 1 << 16
MAX_DOWNLOAD_BYTES = 1 << 28
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def download(url: str, target: Path) -> Path:
    """Download a file, with a progress bar if standard error is a terminal.

    Raises:
        SourceError: The file cannot be had within the timeout, or is absurdly large.
    """
    columns = (PlainColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = PlainConsole(stderr=True)
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, bar as progress:  # noqa: S310 - constant address
            total = response.headers.get("Content-Length")
            task = progress.add_task(target.name, total=int(total) if total else None)
            with writing(target), target.open("wb") as file:
                while chunk := response.read(CHUNK_BYTES):
                    file.write(chunk)
                    progress.advance(task, len(chunk))
                    if file.tell() > MAX_DOWNLOAD_BYTES:
                        raise SourceError(f"{url}: more than {MAX_DOWNLOAD_BYTES:,} bytes; refused")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    return target


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download a wheel, without installing it, from wherever the user's pip is set up to look.

    Raises:
        SourceError: pip is missing, or finds no such wheel.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command += ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"pip download {requirement}: {error}") from None
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or ["no wheel came"]
        raise SourceError(f"pip download {requirement}: {CREDENTIALS.sub('', lines[-1].strip())}")
    return wheels[0]


ML_100K = Dataset(
    name="ml-100k",
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    layouts=(
        Layout(("u.data", "u.item"), convert_100k),
        Layout(("ml-100k.inter", "ml-100k.item"), convert_100k_recbole),
    ),
    sha256={
        INTERACTIONS_CSV: "a07bc1e86832d0964fa1b233ab20905bd81bd28b50190a7898557324fd5fb696",
        ITEMS_CSV: "9905486772bd3cb6475d08c0ab64102f8027da2e09b0521a5e438560e9a2db1b",
    },
    wheel="recbole==1.2.1",
)
ML_1M = Dataset(
    name="ml-1m",
    url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    layouts=(
        Layout(
            ("ratings.dat", "movies.dat"),
            convert_1m,
            md5={"ratings.dat": "a89aa3591bc97d6d4e0c89459ff39362"},
            sizes={"movies.dat": 171_308},
        ),
    ),
)
DATASETS = (ML_100K, ML_1M)


class FetchConfig(ConfigSection):
    """What was fetched."""

    name: str


@dataclass(frozen=True)
class _Way:
    """One place to look."""

    description: str
    locate: Callable[[Path], Path]
    """Takes a folder for temporary files; gives a folder or an archive."""


def fetch(name: str, source: Path | None = None, cache: Path | None = None) -> Path:
    """Get a public data set: from `source` if given, else cache, official site, package index, in this order.

    Args:
        name: `ml-100k` or `ml-1m`.
        source: Folder or zip archive with the published files.
        cache: Where fetched data are kept; by default `$UR4REC_CACHE` or the user's cache folder.

    Returns:
        Folder with `interactions.csv` and `items.csv`, of the same bytes whichever way they came.

    Raises:
        SourceError: No way works; lists every way, why it failed, and what to do.
    """
    return fetch_dataset(_find_dataset(name), source, cache or default_cache())


def default_cache() -> Path:
    """Return `$UR4REC_CACHE`, or the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("ur4rec"))


def fetch_dataset(dataset: Dataset, source: Path | None, cache: Path) -> Path:
    """Do what `fetch` does, for any description of a data set."""
    target = Path(cache) / dataset.name
    if source:
        return _store(dataset, Path(source), target, "given")
    failures = []
    try:
        return _check_cache(dataset, target)
    except ArtifactError as error:
        failures.append(f"cache: {error}")
    for way in _list_ways(dataset):
        with scratch_folder("fetch") as scratch:
            try:
                return _store(dataset, way.locate(scratch), target, way.description)
            except SourceError as error:
                failures.append(f"{way.description}: {error}")
    raise SourceError(_explain(dataset, failures))


def _find_dataset(name: str) -> Dataset:
    known = {dataset.name: dataset for dataset in DATASETS}
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise SourceError(
            f"unknown data set {name!r}, did you mean {nearest!r}? Known: {', '.join(known)}; "
            "your own CSV or Parquet files need no fetching"
        )
    return known[name]


def _list_ways(dataset: Dataset) -> list[_Way]:
    ways = [_Way("official download", lambda scratch: download(dataset.url, scratch / f"{dataset.name}.zip"))]
    if wheel := dataset.wheel:
        ways.append(_Way(f"copy inside the wheel {wheel}", lambda scratch: download_wheel(wheel, scratch)))
    return ways


def _check_cache(dataset: Dataset, folder: Path) -> Path:
    if not folder.exists():
        raise ArtifactError(f"nothing at {folder}")
    manifest = read_artifact(folder)
    for name, expected in dataset.sha256.items():
        if manifest.files.get(name) != expected:
            raise ArtifactError(f"{folder / name}: sha256 differs from the published data")
    return folder


def _store(dataset: Dataset, source: Path, target: Path, way: str) -> Path:
    """Convert and verify what a source holds, and put it into the cache."""
    layouts = {layout.names: layout for layout in dataset.layouts}
    files = read_source(source, tuple(layouts))
    layout = layouts[tuple(files)]
    for name, content in files.items():
        _verify_raw(source, layout, name, content)
    try:
        pair = layout.convert(files)
    except ValueError as error:
        raise SourceError(f"{source}: {', '.join(files)} are not in the published format ({error})") from None
    for name, content in pair.items():
        _verify_digest(source, name, hashlib.sha256(content).hexdigest(), dataset.sha256.get(name))
    return _write(dataset, pair, target, way)


def _verify_raw(source: Path, layout: Layout, name: str, content: bytes) -> None:
    _verify_digest(source, name, hashlib.md5(content, usedforsecurity=False).hexdigest(), layout.md5.get(name))
    expected = layout.sizes.get(name, len(content))
    if len(content) != expected:
        raise SourceError(f"{source}: {name} has {len(content):,} bytes, the published one {expected:,}")


def _verify_digest(source: Path, name: str, found: str, expected: str | None) -> None:
    if expected and found != expected:
        raise SourceError(
            f"{source}: {name} differs from the published data (digest {found}, expected {expected}); "
            f"get the original again, or use your copy as it is: ur4rec data preprocess {source}"
        )


def _write(dataset: Dataset, pair: dict[str, bytes], target: Path, way: str) -> Path:
    try:
        with write_artifact(target, PRODUCER, FetchConfig(name=dataset.name)) as writer:
            writer.details["way"] = way
            for name, content in pair.items():
                (writer.folder / name).write_bytes(content)
    except (OSError, ArtifactError) as error:
        with suppress(ArtifactError):  # another process may have been faster
            return _check_cache(dataset, target)
        raise SourceError(
            f"{target}: cannot be written ({error}); point {CACHE_VARIABLE} to a folder of your own"
        ) from None
    return target


def _explain(dataset: Dataset, failures: list[str]) -> str:
    tried = "\n".join(f"  {number}. {failure}" for number, failure in enumerate(failures, 1))
    return (
        f"{dataset.name}: no way to get it works:\n{tried}\n"
        f"What to do: get {dataset.url} on a machine that can, then\n"
        f"  ur4rec data fetch {dataset.name} --from {dataset.name}.zip    (an unpacked folder is fine too)\n"
        f"or point {CACHE_VARIABLE} to a folder into which it was fetched before."
    )
