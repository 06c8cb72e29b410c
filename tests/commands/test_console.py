"""What becomes of an exception on the command line."""

import errno
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path

import pytest
import typer

from ur4rec.commands.console import report_errors, show, show_table
from ur4rec.storage.writing import WriteError


class TypedError(ValueError):
    pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TypedError("a.csv:\n  no column"), "Error: a.csv: no column"),
        (PermissionError(errno.EACCES, "Permission denied", "/locked/x"), "Error: /locked/x: Permission denied"),
        (OSError(errno.ENOTEMPTY, "Directory not empty", ".new", None, "old"), "Error: old: Directory not empty"),
        (OSError("no answer from the server"), "Error: no answer from the server"),
        (WriteError(errno.ENOSPC, "No space left on device", "/full/x"), "Error: /full/x: No space left on device"),
        (MemoryError("4 TiB"), "Error: out of memory (4 TiB); lower the amount of data, or give it more memory"),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
            "Error: out of memory (DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes); "
            "lower the amount of data, or give it more memory",
        ),
    ],
)
def test_what_a_user_can_put_right_is_one_line(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    with pytest.raises(typer.Exit) as exit_, report_errors():
        raise error
    assert exit_.value.exit_code == 2
    assert capsys.readouterr().err == f"{line}\n"
    with pytest.raises(type(error)), report_errors(debug=True):
        raise error


@pytest.mark.parametrize(
    "error",
    [ValueError("a defect"), KeyError("a defect"), RuntimeError("a defect"), BrokenPipeError(errno.EPIPE, "closed")],
)
def test_everything_else_passes(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    with pytest.raises(type(error)), report_errors():
        raise error
    assert capsys.readouterr().err == ""


def test_standard_output_that_is_full_is_named() -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full, redirect_stdout(full):
        show_rules = partial(show_table, "rules", ("rule",), [("a",)])
        for tell in (partial(show, "a line"), show_rules):
            with pytest.raises(WriteError, match=r"^standard output: No space left on device; free some space$"):
                tell()


def test_the_name_of_a_row_is_not_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    show_table("rules", ("rule", "what"), [("slice_long_tail_items", "a sentence that is too long for one line " * 2)])
    show_table("files", ("file",), [("x" * 70,)])
    printed = capsys.readouterr().out
    assert "slice_long_tail_items" in printed
    assert printed.count("x") == 70


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_printed_is_one_line(option: str) -> None:
    command = [str(Path(sys.executable).with_name("ur4rec")), option]
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr == "Error: standard output: No space left on device; free some space\n"
