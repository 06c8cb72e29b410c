"""What `--history` means."""

import doctest
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.commands import recommendation
from ur4rec.commands.console import OptionError
from ur4rec.commands.recommendation import read_history


def test_doctests() -> None:
    assert doctest.testmod(recommendation).attempted == 1
    assert doctest.testmod(recommendation).failed == 0


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["50"], ["50"]),
        (["50,172,181"], ["50", "172", "181"]),
        ([" 50 , ,172,"], ["50", "172"]),
        (["a,b", "c"], ["a,b", "c"]),
        (["a,b", "c,d", ""], ["a,b", "c,d"]),
        ([" spaced ", "[/x]"], [" spaced ", "[/x]"]),
    ],
)
def test_given_once_it_is_split_and_repeated_it_is_not(given: list[str], ids: list[str]) -> None:
    assert read_history(given, None) == ids


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("50\n172", ["50", "172"]),
        ("\ufeffa,b\r\n\r\n[/x]\r\n", ["a,b", "[/x]"]),
        ("one\u2028two\n three \n", ["one\u2028two", " three "]),
    ],
)
def test_a_file_holds_an_id_a_line(tmp_path: Path, content: str, ids: list[str]) -> None:
    (tmp_path / "ids.txt").write_bytes(content.encode())
    assert read_history(None, tmp_path / "ids.txt") == ids


@pytest.mark.parametrize("given", [[""], [","], ["", " "], []])
def test_no_id_is_refused(given: list[str]) -> None:
    with pytest.raises(OptionError, match="holds no item id"):
        read_history(given, None)


def test_what_is_no_name_of_parquet_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["recommend", "--all-users", "-o", str(tmp_path / "all.csv")])
    assert result.exit_code == 2
    assert "all.csv: Parquet is written" in " ".join(result.output.split())
