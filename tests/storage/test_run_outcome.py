import doctest

import pytest

from ur4rec.storage import run_outcome
from ur4rec.storage.run_outcome import describe_outcome, report_outcome


def test_the_examples_hold() -> None:
    assert doctest.testmod(run_outcome) == (0, 2)


@pytest.mark.parametrize(
    ("state", "error", "line"),
    [
        ("SUCCEEDED", None, "run succeeded: runs/7"),
        ("CANCELED", None, "run canceled: runs/7"),
        ("FAILED", "two\n lines", "run failed: runs/7: two lines"),
    ],
)
def test_one_line_whatever_happened(state: str, error: str | None, line: str, capsys) -> None:
    report_outcome(state, "runs/7", error)
    assert capsys.readouterr().out == f"{line}\n"
    assert describe_outcome(state, "runs/7", error) == line
