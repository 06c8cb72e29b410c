import pickle
from pathlib import Path

import pytest
import torch

from ur4rec.models.tensor_files import TensorFileError, check_tensors, read_tensors


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


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_tensor(
    saved: Path, dtype: torch.dtype, value: float, mmap: bool
) -> None:
    tensor = torch.ones(7, 5, dtype=dtype)
    tensor[6, 4] = value
    torch.save({"whole": torch.ones(3), "empty": torch.ones(0), "part": {"steps": [3, {"weight": tensor}]}}, saved)
    with pytest.raises(TensorFileError, match=r"model\.pt: part\.steps\.1\.weight: holds NaN or an infinity; copy it"):
        read_tensors(saved, mmap)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": torch.ones(2)}, "b: missing"),
        ({"a": torch.ones(2), "b": torch.ones(9), "c": torch.ones(1)}, "c: this model has no such tensor"),
        ({"a": torch.ones(3), "b": torch.ones(9)}, r"a: expected float32 \(2,\), found float32 \(3,\)"),
        ({"a": torch.ones(2).double(), "b": torch.ones(9)}, r"a: expected float32 \(2,\), found float64 \(2,\)"),
        ({"a": torch.ones(2), "b": torch.ones(9).int()}, r"b: expected float32 \(1,\), found int32 \(9,\)"),
        ({"a": [1.0, 2.0], "b": torch.ones(9)}, r"a: expected float32 \(2,\), found list"),
    ],
)
def test_tensors_of_another_model_are_named(found: dict[str, object], message: str) -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(1)}
    check_tensors(Path("model.pt"), {"a": torch.ones(2), "b": torch.ones(9)}, expected, free=["b"])
    with pytest.raises(TensorFileError, match=rf"^model\.pt: {message}; copy it anew"):
        check_tensors(Path("model.pt"), found, expected, free=["b"])
