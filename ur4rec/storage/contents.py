"""Contents of artifact folders: read as the types and shapes that a reader counts on, before anything is computed.

A digest says that a file is as it was written; what is read here says that it is what should have been written.

R rows.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool
from pydantic import TypeAdapter, ValidationError

from ur4rec.storage.artifacts import MAKE_AGAIN, ArtifactError

Content = TypeVar("Content")
Shape = tuple[int | None, ...]
"""The lengths of an array; None: any."""

DAMAGE = (
    *(ValueError, EOFError, OSError, LookupError, SyntaxError, TypeError, NotImplementedError, OverflowError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What numpy raises for bytes that are no array, depending on where it stumbles."""
ROWS_AT_ONCE = 1 << 18


class ContentError(ArtifactError):
    """A file of an artifact folder whose content is not what its readers count on; `fault` tells both."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(path, fault)
        self.path, self.fault = path, fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}{MAKE_AGAIN}"


def read_array(path: Path, kind: str, shape: Shape) -> np.ndarray:
    """Open a `.npy` file as a memory map.

    Raises:
        ContentError: It is no array of this type, such as `int64`, and shape.
        OSError: It cannot be read.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise _refuse(path, error) from None
    check_array(path, array, kind, shape)
    return array


def read_arrays(path: Path, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read the one-dimensional arrays of a `.npz` file; `kinds`: name → name of the type.

    Raises:
        ContentError: It is no such file, or holds others than these.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content}
    except DAMAGE as error:
        raise _refuse(path, error) from None
    if arrays.keys() != kinds.keys():
        raise ContentError(path, f"expected the arrays {', '.join(kinds)}, found {', '.join(arrays)}")
    for name, kind in kinds.items():
        check_array(path, arrays[name], kind, (None,), f"{name}: ")
    return arrays


def check_array(path: Path, array: Any, kind: str, shape: Shape, name: str = "") -> None:
    """Raise a `ContentError` that names both where type or shape differ."""
    wanted = f"{kind} ({', '.join('any' if size is None else str(size) for size in shape)})"
    if not isinstance(array, np.ndarray):
        raise ContentError(path, f"{name}expected an array, {wanted}")
    fits = len(array.shape) == len(shape) and all(
        size in (None, found) for size, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != kind or not fits:
        found = f"{array.dtype} ({', '.join(map(str, array.shape))})"
        raise ContentError(path, f"{name}expected {wanted}, found {found}")


def check_finite(path: Path, array: np.ndarray) -> None:
    """Raise a `ContentError` that names the row where a number is NaN or an infinity.

    The array is read some rows at a time and not copied.
    """
    for start in range(0, len(array), ROWS_AT_ONCE):
        part = array[start : start + ROWS_AT_ONCE]
        if part.size and not (np.isfinite(part.min()) and np.isfinite(part.max())):
            row = start + int(np.argmax(~np.isfinite(part).all(axis=1)))
            raise ContentError(path, f"row {row:,}: holds NaN or an infinity")


def refuse_rows(path: Path, fails: Bool[np.ndarray, "R"], expected: str, first: int = 0) -> None:
    """Raise a `ContentError` that names the first row that `fails`; `first` is the number of the first of them all."""
    if fails.any():
        raise ContentError(path, f"row {first + int(np.argmax(fails)):,}: expected {expected}")


def read_json(path: Path, kind: type[Content]) -> Content:
    """Read a JSON file of a given structure, such as `dict[str, int]`; nothing is converted.

    Raises:
        ContentError: It is not JSON, or has another structure; names the first key that differs.
        OSError: It cannot be read.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"{key}: " for key in first["loc"])
        raise ContentError(path, f"{where}{first['msg']}") from None


def read_index(path: Path) -> dict[str, int]:
    """Read original id → dense index; a `ContentError` tells where not every number from 1 on has one id."""
    index_of = read_json(path, dict[str, int])
    if sorted(index_of.values()) != list(range(1, len(index_of) + 1)):
        raise ContentError(path, f"expected each of the numbers 1 to {len(index_of)} once, one an id")
    return index_of


def read_columns(
    path: Path, texts: Sequence[str], numbers: Sequence[str] = (), nullable: Sequence[str] = ()
) -> pa.Table:
    """Read columns of a Parquet file.

    Args:
        path: The file.
        texts: Columns of text without gaps.
        numbers: Columns of whole numbers without gaps.
        nullable: Columns of whole numbers that may have gaps.

    Raises:
        ContentError: It is no Parquet file, or a column is missing, of another type or has gaps; names it.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _refuse(path, error) from None
    for name in (*texts, *numbers, *nullable):
        if table.column_names.count(name) != 1:
            raise ContentError(path, f"column {name!r}: {'missing' if name not in table.column_names else 'twice'}")
        kind, what = table[name].type, "text" if name in texts else "whole numbers"
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (is_text if name in texts else pa.types.is_integer(kind)):
            raise ContentError(path, f"column {name!r}: expected {what}, found {kind}")
        if table[name].null_count and name not in nullable:
            raise ContentError(path, f"column {name!r}: expected {what} in every row, some are missing")
    return table


def _refuse(path: Path, error: Exception) -> Exception:
    """Return the error to raise for a file that could not be read."""
    if isinstance(error, OSError) and error.filename is not None:
        return error
    return ContentError(path, f"damaged, cut short or something else ({' '.join(str(error).split()) or 'empty'})")


def save_array(path: Path, array: np.ndarray) -> None:
    """Save an array, and tell why where it fails; `np.save` (2.4) itself tells only how much was written."""
    with path.open("wb") as file:
        np.save(_Plain(file.write), array, allow_pickle=False)


class _Plain:
    """Not a file, so numpy hands it bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
