import pickle
from pathlib import Path

import pytest
import torch

from ur4rec.models.tensor_files import TensorFileError, read_tensors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"weight": torch.arange(4000.0), "bias": torch.ones(3)}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_saved_is_read(saved: Path, mmap: bool) -> None:
    tensors = read_tensors(saved, mmap)
    assert torch.equal(tensors["weight"], torch.arange(4000.0))
    assert tensors.keys() == {"weight", "bias"}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("num_bytes", [0, 1, 4, 2000, 16_000, -1, -30])
def test_a_file_cut_short_is_named(saved: Path, num_bytes: int, mmap: bool) -> None:
    saved.write_bytes(saved.read_bytes()[:num_bytes])
    with pytest.raises(TensorFileError, match=r"model\.pt: damaged, cut short or not a file of tensors; copy it anew"):
        read_tensors(saved, mmap)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("content", [b"hello world\n" * 9, b"{}", b"\x80\x02\x8a\x0al\xfc", b"PK\x03\x04" + b"x" * 99])
def test_something_else_is_named(saved: Path, content: bytes, mmap: bool) -> None:
    saved.write_bytes(content)
    with pytest.raises(TensorFileError, match=r"model\.pt: damaged, cut short or not a file of tensors"):
        read_tensors(saved, mmap)


def test_a_file_that_holds_no_dictionary_is_named(saved: Path) -> None:
    torch.save(3, saved)
    with pytest.raises(TensorFileError, match=r"model\.pt: damaged"):
        read_tensors(saved)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def test_nothing_is_run(saved: Path, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    for write in (lambda: torch.save({"weight": trap}, saved), lambda: saved.write_bytes(pickle.dumps(trap, 2))):
        write()
        with pytest.raises(TensorFileError, match=r"model\.pt: damaged"):
            read_tensors(saved)
    assert not trap.place.exists()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.pt"):
        read_tensors(tmp_path / "model.pt")
