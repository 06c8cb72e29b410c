"""Files of any kind in the place of arrays, tables and maps, and what is in them."""

import json
from collections.abc import Callable, Sized
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ur4rec.storage.contents import (
    ROWS_AT_ONCE,
    ContentError,
    check_finite,
    read_array,
    read_arrays,
    read_columns,
    read_json,
)

READERS: dict[str, Callable[[Path], Sized]] = {
    "x.npy": lambda path: read_array(path, "int64", (None,)),
    "x.npz": lambda path: read_arrays(path, {"a": "int64"}),
    "x.json": lambda path: read_json(path, dict[str, int]),
    "x.parquet": lambda path: read_columns(path, ("a",)),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.arange(100))
    np.savez(tmp_path / "x.npz", a=np.arange(100))
    (tmp_path / "x.json").write_text(json.dumps({str(number): number for number in range(100)}))
    pd.DataFrame({"a": [str(number) for number in range(100)]}).to_parquet(tmp_path / "x.parquet")
    return tmp_path


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read(files: Path, name: str) -> None:
    assert len(READERS[name](files / name)) in (1, 100)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("num_bytes", [0, 1, 6, 60, 120, -1, -40])
def test_a_file_cut_short_is_named(files: Path, name: str, num_bytes: int) -> None:
    (files / name).write_bytes((files / name).read_bytes()[:num_bytes])
    with pytest.raises(ContentError, match=f"^{files / name}: .*; make the artifact again$"):
        READERS[name](files / name)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("other", [*READERS, "text"])
def test_another_file_is_named(files: Path, name: str, other: str) -> None:
    (files / "text").write_text("Not Found")
    if other == name:
        return
    (files / name).write_bytes((files / other).read_bytes())
    with pytest.raises(ContentError, match=f"^{files / name}: "):
        READERS[name](files / name)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        READERS[name](tmp_path / name)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ContentError, match=r"x\.npy: damaged"):
        read_array(tmp_path / "x.npy", "object", (None,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_row_of_a_number_that_is_none_is_named(value: float) -> None:
    array = np.zeros((ROWS_AT_ONCE + 9, 2), dtype=np.float32)
    check_finite(Path("x.npy"), array)
    check_finite(Path("x.npy"), array[:0])
    array[ROWS_AT_ONCE + 3, 1] = value
    with pytest.raises(ContentError, match=f"^x.npy: row {ROWS_AT_ONCE + 3:,}: holds NaN or an infinity; make"):
        check_finite(Path("x.npy"), array)


def test_arrays_under_other_names_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.arange(3))
    for kinds in ({"a": "int64"}, {"a": "int64", "b": "int64", "c": "int64"}):
        with pytest.raises(ContentError, match=r"expected the arrays .*, found a, b"):
            read_arrays(tmp_path / "x.npz", kinds)
    with pytest.raises(ContentError, match=r"b: expected int32 \(any\), found int64 \(3\)"):
        read_arrays(tmp_path / "x.npz", {"a": "int64", "b": "int32"})
