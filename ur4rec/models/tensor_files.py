"""Files of tensors: read without running anything that they may bring along."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

DAMAGE = (RuntimeError, EOFError, pickle.UnpicklingError, struct.error, LookupError, TypeError, ValueError)
"""What `torch.load` raises for bytes that are no file of tensors, depending on where it stumbles."""


class TensorFileError(ValueError):
    """A file of tensors that is damaged; names it."""


def read_tensors(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Reads a dictionary that `torch.save` wrote; on the CPU.

    Args:
        path: The file.
        mmap: Whether the tensors stay in the file until they are read.

    Raises:
        TensorFileError: It is damaged, cut short or something else.
        OSError: It is missing or cannot be read.
    """
    try:
        loaded = torch.load(path, weights_only=True, mmap=mmap, map_location="cpu")
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise _damaged(path) from error
    if not isinstance(loaded, dict):
        raise _damaged(path)
    return loaded


def write_tensors(file: IO[bytes], tensors: Mapping[str, Any]) -> None:
    """Writes what `read_tensors` reads: the same bytes whatever the file is called.

    Raises:
        OSError: The reason why the file could not be written, which torch has last in its own error's context.
    """
    try:
        torch.save(dict(tensors), file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _damaged(path: Path) -> TensorFileError:
    return TensorFileError(
        f"{path}: damaged, cut short or not a file of tensors; copy it anew from where it is whole, or train again"
    )
