"""What becomes of an exception on the command line."""

import errno

import pytest
import typer

from ur4rec.commands.console import report_errors, show_table


class TypedError(ValueError):
    pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TypedError("a.csv:\n  no column"), "Error: a.csv: no column"),
        (PermissionError(errno.EACCES, "Permission denied", "/locked/x"), "Error: /locked/x: Permission denied"),
        (OSError(errno.ENOTEMPTY, "Directory not empty", ".new", None, "old"), "Error: old: Directory not empty"),
        (OSError("no answer from the server"), "Error: no answer from the server"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(capsys, error, line):
    with pytest.raises(typer.Exit) as exit_, report_errors():
        raise error
    assert exit_.value.exit_code == 2
    assert capsys.readouterr().err == f"{line}\n"
    with pytest.raises(type(error)), report_errors(debug=True):
        raise error


@pytest.mark.parametrize(
    "error", [ValueError("a defect"), KeyError("a defect"), BrokenPipeError(errno.EPIPE, "closed")]
)
def test_everything_else_passes(capsys, error):
    with pytest.raises(type(error)), report_errors():
        raise error
    assert capsys.readouterr().err == ""


def test_the_name_of_a_row_is_not_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    show_table("rules", ("rule", "what"), [("slice_long_tail_items", "a sentence that is too long for one line " * 2)])
    show_table("files", ("file",), [("x" * 70,)])
    printed = capsys.readouterr().out
    assert "slice_long_tail_items" in printed
    assert printed.count("x") == 70
