"""Old object arrays are read; nothing that they name is run."""

from __future__ import annotations

import os
import pickle
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ur4rec.data.errors import DataError
from ur4rec.data.legacy_pickle import ForbiddenPickleError, load_legacy_dictionary


def write_header(path: Path, payload: bytes) -> Path:
    """An object array of the given pickle."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(payload)
    return path


def save(path: Path, content: Any) -> None:
    np.save(path, content, allow_pickle=True)


class Malicious:
    def __init__(self, function: Any, *arguments: object) -> None:
        self._call: tuple[Any, ...] = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train_sequences.npy"


@pytest.mark.parametrize(
    ("saved", "read"),
    [
        ({1: [1, 2], "b": (3, 4)}, {1: [1, 2], "b": (3, 4)}),
        ({1: [np.int64(1)], np.int32(2): [np.float64(2.5), np.str_("é")]}, {1: [1], 2: [2.5, "é"]}),
        ({1: np.array([1, 2])}, {1: [1, 2]}),
        ({1: np.array([[1, 10], [2, 20]], order="F")}, {1: [[1, 10], [2, 20]]}),
        ({1: np.array([1.5, 2], dtype=">f4")}, {1: [1.5, 2.0]}),
        ({1: np.array(["a", "bc"])}, {1: ["a", "bc"]}),
        ({1: np.array([[1, "a"], [2, "b"]], dtype=object, order="F")}, {1: [[1, "a"], [2, "b"]]}),
        ({1: np.array(7), 2: np.array([], dtype=np.int64)}, {1: [7], 2: []}),
        ({1: np.zeros((0, 2)), 2: np.zeros((0, 0), dtype=object)}, {1: [], 2: []}),
        (defaultdict(list, {1: [1]}), {1: [1]}),
    ],
)
def test_arrays_come_out_as_lists(path: Path, saved: Any, read: Any) -> None:
    np.save(path, saved, allow_pickle=True)
    assert load_legacy_dictionary(path) == read


@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_dictionary_may_lie_in_an_array(path: Path, shape: tuple[int, ...]) -> None:
    array = np.empty(shape, dtype=object)
    array[...] = [{1: [2]}] if shape else {1: [2]}
    np.save(path, array, allow_pickle=True)
    assert load_legacy_dictionary(path) == {1: [2]}


def test_the_dictionary_may_be_pickled_without_an_array(path: Path) -> None:
    assert load_legacy_dictionary(write_header(path, pickle.dumps({1: [2]}))) == {1: [2]}


def test_files_of_numpy_1(path: Path) -> None:
    """There, the private module had another name."""
    array = np.array({1: np.array([1, 2]), 2: np.int64(3)}, dtype=object)
    payload = pickle.dumps(array, protocol=3)
    assert b"numpy._core" in payload
    write_header(path, payload.replace(b"numpy._core", b"numpy.core"))
    assert load_legacy_dictionary(path) == {1: [1, 2], 2: 3}


@pytest.mark.parametrize(
    ("function", "name"),
    [(eval, "builtins.eval"), (getattr, "builtins.getattr"), (np.load, "numpy.load"), (pickle.loads, "_pickle.loads")],
)
def test_whatever_else_a_pickle_calls_is_named(path: Path, function: Any, name: str) -> None:
    save(path, {1: [2], 3: Malicious(function, "payload")})
    with pytest.raises(ForbiddenPickleError, match=rf"train_sequences\.npy: asks for {re.escape(name)}, which"):
        load_legacy_dictionary(path)


def test_a_command_in_a_pickle_does_not_run(path: Path) -> None:
    evidence = path.with_name("evidence")
    save(path, {1: Malicious(os.system, f"touch {evidence}")})
    with pytest.raises(ForbiddenPickleError, match=r"train_sequences\.npy: asks for posix\.system, which"):
        load_legacy_dictionary(path)
    assert not evidence.exists()
    np.load(path, allow_pickle=True)
    assert evidence.exists(), "the command works where pickles are trusted"


def test_names_below_an_allowed_class_are_refused(path: Path) -> None:
    payload = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    with pytest.raises(ForbiddenPickleError, match=r"asks for numpy\.ndarray\.tofile"):
        load_legacy_dictionary(write_header(path, payload))


class Reduced(Malicious):
    """Any call with any state."""

    def __init__(self, state: object, function: Any, *arguments: object) -> None:
        super().__init__(function, *arguments)
        self._call = function, arguments, state


def test_bytes_that_pose_as_objects_are_no_addresses(path: Path) -> None:
    """An object type whose flags deny it: numpy's own unpickler would take the bytes for pointers and crash."""
    lying = Reduced((3, "|", None, None, None, -1, -1, 0), np.dtype, "O8", False, True)
    array = Reduced((1, (1,), lying, False, b"\x41" * 8), np.zeros(1).__reduce__()[0], np.ndarray, (0,), b"b")
    save(path, {1: array})
    with pytest.raises(DataError, match=r"not a readable pickle \(ValueError: an array of shape \(1,\)"):
        load_legacy_dictionary(path)


def test_fields_outside_their_record_are_not_read(path: Path) -> None:
    record = np.zeros(1, dtype=[("a", "i8"), ("b", "i8")])
    save(path, {1: record})
    with pytest.raises(DataError, match=r"arrays of type \|V16 are not read"):
        load_legacy_dictionary(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a numpy file"),
        (b"PK\x03\x04 a zip archive", "not a numpy file"),
        (b"\x93NUMPY\x03\x00", "not a numpy file"),
        (b"\x93NUMPY\x01\x00\x05\x00{'a':", "not a numpy file"),
    ],
)
def test_other_files_are_named(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"train_sequences\.npy: {message}"):
        load_legacy_dictionary(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"train_sequences\.npy: not found"):
        load_legacy_dictionary(path)


def test_a_new_file_needs_no_import(path: Path) -> None:
    np.save(path, np.zeros((2, 3), dtype=np.int64))
    with pytest.raises(DataError, match="holds int64 values, no pickled dictionary; a folder of this project needs no"):
        load_legacy_dictionary(path)


@pytest.mark.parametrize("length", [1, 20, 60])
def test_a_cut_off_pickle_is_named(path: Path, length: int) -> None:
    whole = pickle.dumps(np.array({1: list(range(50))}, dtype=object))
    with pytest.raises(DataError, match=r"train_sequences\.npy: not a readable pickle"):
        load_legacy_dictionary(write_header(path, whole[:length]))


@pytest.mark.parametrize(("saved", "kind"), [([1, 2], "array"), (None, "nonetype"), ({1}, "set")])
def test_anything_but_a_dictionary_is_refused(path: Path, saved: object, kind: str) -> None:
    np.save(path, np.array(saved, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=rf"train_sequences\.npy: holds {kind}; expected a dictionary"):
        load_legacy_dictionary(path)


def test_arrays_of_three_dimensions_are_refused(path: Path) -> None:
    save(path, {1: np.zeros((1, 1, 1))})
    with pytest.raises(DataError, match="arrays with 3 dimensions are not read"):
        load_legacy_dictionary(path)
