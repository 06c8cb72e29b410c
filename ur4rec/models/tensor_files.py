"""Files of tensors: read without running anything that they may bring along, and checked before they are used."""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from torch import Tensor, nn

DAMAGE = (RuntimeError, EOFError, pickle.UnpicklingError, struct.error, LookupError, TypeError, ValueError)
"""Errors that `torch.load` raises for bytes that are no file of tensors, depending on where it stumbles."""
DAMAGED = "damaged, cut short or not a file of tensors"
MEND = "copy it anew from where it is whole, or train again"


class TensorFileError(ValueError):
    """A file of tensors that is damaged, or holds others than it should.

    Args:
        path: The file.
        fault: What is wrong with it; begins with the name of the tensor, where it is one.
    """

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(path, fault)
        self.path, self.fault = path, fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}; {MEND}"


def read_tensors(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Reads a dictionary that `torch.save` wrote, all of whose numbers are finite; on the CPU.

    With `mmap` the tensors lie in the file's own pages.

    Raises:
        TensorFileError: It is damaged, cut short or something else, or a tensor holds NaN or an infinity.
        OSError: It is missing or cannot be read.
    """
    try:
        loaded = torch.load(path, weights_only=True, mmap=mmap, map_location="cpu")
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise TensorFileError(path, DAMAGED) from error
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise TensorFileError(path, DAMAGED)
    for name, tensor in _list_tensors(loaded):
        if not is_finite(tensor):
            raise TensorFileError(path, f"{name}: holds NaN or an infinity")
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


def is_finite(tensor: Tensor) -> bool:
    """Tells whether every number is finite; one pass that makes no copy."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(math.isfinite(bound) for bound in torch.stack(torch.aminmax(tensor.detach())).tolist())


def check_tensors(
    path: Path, found: Mapping[str, Any], expected: Mapping[str, Tensor], free: Collection[str] = ()
) -> None:
    """Checks that a file holds tensors of the expected names, shapes and types, and no others.

    Those whose names are `free` may have another shape.

    Raises:
        TensorFileError: A tensor is missing, unknown, or of another shape or type; names it.
    """
    if differing := sorted(expected.keys() ^ found.keys()):
        what = "missing" if differing[0] in expected else "this model has no such tensor"
        raise TensorFileError(path, f"{differing[0]}: {what}")
    for name, tensor in expected.items():
        here, wanted = _describe(found[name]), _describe(tensor)
        if here != wanted and not (name in free and here.split()[0] == wanted.split()[0]):
            raise TensorFileError(path, f"{name}: expected {wanted}, found {here}")


def _describe(content: Any) -> str:
    if not isinstance(content, Tensor):
        return type(content).__name__
    return f"{str(content.dtype).removeprefix('torch.')} {tuple(content.shape)}"


def _list_tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors in dictionaries and lists, however deep, by their dotted names."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, dict | list | tuple):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _list_tensors(value, f"{name}.{key}" if name else str(key))


class ResizableBuffers(nn.Module):
    """A module that takes some of its buffers from a state dictionary whatever their shape."""

    resizable: ClassVar[tuple[str, ...]]
    """Names of those buffers."""

    def find_fault(self) -> str:
        """Returns what is wrong with the tables, beginning with the buffer's name; empty where nothing is."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.resizable:
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
