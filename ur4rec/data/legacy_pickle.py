"""Dictionaries in old numpy files of dtype object, read without running anything that they bring along.

Numpy stores an object array as a pickle. A pickle is a program: it may call every function it can name. Here the only
names are plain containers and numbers, and three stand-ins for what numpy calls. Numpy's own functions are not among
them: they believe what a file says of its types, down to raw memory addresses.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy_format

from ur4rec.data.errors import DataError

PLAIN_KINDS = "biufUS"
"""Kinds of numpy types that hold no reference: truth values, numbers and text."""
HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
REWRITE = "write the dictionary again with plain lists, numbers and text in it"


class ForbiddenPickleError(DataError):
    """A pickle that names something outside the list of what is read."""


def load_legacy_dictionary(path: Path) -> dict[Any, Any]:
    """Read the dictionary that `np.save` wrote into a `.npy` file of dtype object, arrays in it as lists.

    Raises:
        ForbiddenPickleError: The file names a function or class that is not read; nothing of it was called.
        DataError: The file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise DataError(f"{path}: not found; expected a numpy file that holds a dictionary")
    with path.open("rb") as file:
        _check_header(path, file)
        try:
            content = _Unpickler(file, path).load()
        except ForbiddenPickleError:
            raise
        except Exception as error:  # a damaged pickle raises almost anything
            raise DataError(f"{path}: not a readable pickle ({type(error).__name__}: {error}); {REWRITE}") from None
    if isinstance(content, _Array) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__.strip('_').lower()}; expected a dictionary")
    return dict(content)


def _check_header(path: Path, file: io.BufferedReader) -> None:
    try:
        version = npy_format.read_magic(file)
        _, _, dtype = HEADERS[version](file)
    except Exception as error:  # the header is Python text: numpy lets whatever a tokenizer raises pass
        raise DataError(f"{path}: not a numpy file ({error}); expected one that np.save wrote") from None
    if not dtype.hasobject:
        raise DataError(
            f"{path}: holds {dtype} values, no pickled dictionary; a folder of this project needs no import, "
            "and other tables go through `ur4rec data preprocess`"
        )


class _Dtype:
    """Stands in for `numpy.dtype`; objects and plain types only."""

    def __init__(self, code: str, *_: bool) -> None:
        self._code, self._order = code, ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = {"<": "<", ">": ">"}.get(state[1], "")

    @property
    def is_object(self) -> bool:
        return self._code.startswith("O")

    def resolve(self) -> np.dtype[Any]:
        """Return the real type; a `ValueError` tells that it is none of the plain types."""
        dtype = np.dtype(self._order + self._code)
        if dtype.kind not in PLAIN_KINDS or dtype.subdtype is not None:
            raise ValueError(f"arrays of type {dtype} are not read")
        return dtype


class _Array(list[Any]):
    """Stands in for `numpy.ndarray` and its reconstruction: the content as a list, of lists if it has two dimensions.

    An array without dimensions becomes a list of one.
    """

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        if len(shape) > 2:
            raise ValueError(f"arrays with {len(shape)} dimensions are not read")
        if dtype.is_object:
            self[:] = _arrange(content, shape)
            return
        values = np.frombuffer(content, dtype.resolve()).reshape(shape or 1, order="F" if is_fortran else "C")
        self[:] = values.tolist()


class _Scalar:
    """Stands in for `numpy.…scalar`: gives Python's own number or text."""

    def __new__(cls, dtype: _Dtype, content: bytes) -> Self:
        value: Self = np.frombuffer(content, dtype.resolve(), count=1)[0].item()
        return value

    def __setstate__(self, state: object) -> None:
        raise ValueError("a number has no state")


READ_AS: Mapping[tuple[str, str], type] = {
    **{("builtins", kind.__name__): kind for kind in (list, dict, tuple, set, frozenset, int, float, str, bool)},
    ("collections", "defaultdict"): defaultdict,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): _Scalar for core in ("numpy.core", "numpy._core")},
}
"""Module and name in a pickle → what is called in its place. Nothing else is ever called."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> type:
        found = READ_AS.get((module_name, global_name))
        if found is None:
            raise ForbiddenPickleError(
                f"{self._path}: asks for {module_name}.{global_name}, which an old file of sequences does not need "
                f"and which is not called; if you trust where it comes from, {REWRITE}"
            )
        return found


def _arrange(flat: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Return objects in the shape of their array; numpy lists them row by row whatever the order in memory."""
    if not isinstance(flat, list) or math.prod(shape) != len(flat):
        raise ValueError(f"an array of shape {shape} does not fit its content")
    if len(shape) < 2:
        return flat
    return [flat[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]
