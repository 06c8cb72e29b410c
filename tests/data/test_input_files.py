"""What a folder holds, by the names of its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulators import put_object

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.input_files import digest_data, find_inputs, list_files
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.storage.artifacts import sha256_file

PLAYS = "user_id,item_id,timestamp\n" + "".join(f"{u},{i},{10**9 + u * 9 + i}\n" for u in range(4) for i in range(5))


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(
    ("names", "interactions", "items"),
    [
        (["interactions.tsv.gz", "items.jsonl", "notes.txt"], "interactions.tsv.gz", "items.jsonl"),
        (["ratings.csv", "movies.csv", "tags.csv", "links.csv", "README.txt"], "ratings.csv", "movies.csv"),
        (["ratings.csv.zst"], "ratings.csv.zst", None),
        (["ratings.dat", "movies.dat", "users.dat"], "ratings.dat", "movies.dat"),
        (["u.data", "u.item", "u.user", "u1.base"], "u.data", "u.item"),
        (["films.inter", "films.item", "films.user"], "films.inter", "films.item"),
        (["plays.inter.gz", "plays.item.gz"], "plays.inter.gz", "plays.item.gz"),
        (["behaviors.tsv", "news.tsv", "entity_embedding.vec"], "behaviors.tsv", "news.tsv"),
        (["All_Beauty.jsonl.gz", "meta_All_Beauty.jsonl.gz"], "All_Beauty.jsonl.gz", "meta_All_Beauty.jsonl.gz"),
        (["interactions.csv", "ratings.csv", "movies.csv"], "interactions.csv", None),
        (["interactions.parquet/part-0", "items.parquet/part-0"], "interactions.parquet", "items.parquet"),
        (["part-00000.parquet", "_SUCCESS"], ".", None),
        (["part-00000.csv.gz", "part-00001.csv.gz", ".part-00000.csv.gz.crc"], ".", None),
        (["dt=2017/a.parquet", "dt=2018/a.parquet"], ".", None),
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "README.md"], ".", None),
        (["2024.csv", "2025.csv"], ".", None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_files_are_found_by_their_names(names: list[str], interactions: str, items: str | None, tmp_path: Path) -> None:
    expected = {"interactions": tmp_path / interactions} | ({"items": tmp_path / items} if items else {})
    assert find_inputs(fill(tmp_path, *names)) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ratings.csv", "ratings.dat"], r"holds both ratings\.csv and ratings\.dat; name the file to read"),
        (["u.data", "ml-100k.inter"], r"holds both u\.data and ml-100k\.inter"),
        (["ratings.csv", "ratings.csv.gz"], r"holds both ratings\.csv and ratings\.csv\.gz"),
        (["a.train.inter", "a.valid.inter"], r"holds both a\.train\.inter and a\.valid\.inter"),
        (["ratings.csv", "movies.csv", "movies.csv.gz"], r"holds both movies\.csv and movies\.csv\.gz"),
        (["plays.csv"], r"no file interactions\.csv or interactions\.parquet in this folder, which holds plays\.csv"),
        (["plays.csv", "songs.parquet"], r"which holds plays\.csv, songs\.parquet; name the file to read"),
        ([], r"no file interactions\.csv or interactions\.parquet in this folder, which holds nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_folder_that_may_mean_several_or_none(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        find_inputs(fill(tmp_path, *names))


def test_a_named_item_table_goes_before_that_of_the_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path, "ratings.csv", "movies.csv", "other.csv")
    assert find_inputs(folder, folder / "other.csv")["items"] == folder / "other.csv"
    with pytest.raises(DataError, match=r"absent\.csv: not found"):
        find_inputs(folder, folder / "absent.csv")


def test_every_part_has_its_digest_in_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    header, *rows = PLAYS.splitlines(keepends=True)
    for number, part in enumerate((rows[:9], rows[9:])):
        (folder / f"year={number}").mkdir(parents=True)
        (folder / f"year={number}" / "part-0.csv").write_text(header + "".join(part))
    manifest = preprocess_sequences(folder, tmp_path / "sequences", DataConfig())
    assert manifest.details["rows"]["read"] == 20
    parts = [f"year={number}/part-0.csv" for number in range(2)]
    assert manifest.inputs == {f"interactions/{part}": sha256_file(folder / part) for part in parts}
    assert list(list_files({"interactions": folder})) == [f"interactions/{part}" for part in parts]
    before = digest_data(str(folder))
    (folder / parts[1]).write_text(header + "".join(rows[10:]))
    assert digest_data(str(folder)) != before


@pytest.mark.emulator
def test_parts_in_cloud_storage_are_found_alike(bucket: str, tmp_path: Path) -> None:
    header, *rows = PLAYS.splitlines(keepends=True)
    for number, part in enumerate((rows[:9], rows[9:])):
        put_object(bucket, f"plays/year={number}/part-0.csv", header + "".join(part))
    location = f"gs://{bucket}/plays"
    before = digest_data(location)
    manifest = preprocess_sequences(location, tmp_path / "sequences", DataConfig(), data_digest=before)
    assert manifest.details["rows"]["read"] == 20
    put_object(bucket, "plays/year=1/part-0.csv", header + "".join(rows[10:]))
    assert digest_data(location) != before
