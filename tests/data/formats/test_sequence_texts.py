"""Texts of a user and items a line; positions stand in for times."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import PACK, read

from ur4rec.data.errors import DataError

SEQUENCES = "1 5 6 7\n2 5\n3 9 8\n"
ROWS = {
    "user_id": ["1", "1", "1", "2", "3", "3"],
    "item_id": ["5", "6", "7", "5", "9", "8"],
    "timestamp": [0, 1, 2, 0, 0, 1],
}


@pytest.mark.parametrize(
    "content",
    [SEQUENCES, SEQUENCES.replace("\n", " \r\n"), SEQUENCES.replace(" ", "\t"), "\n" + SEQUENCES.replace("\n", "\n\n")],
    ids=["spaces", "windows", "tabs", "blank lines"],
)
def test_a_line_is_a_user_and_the_users_items(content: str, tmp_path: Path) -> None:
    table = read(tmp_path / "Beauty.txt", content)
    assert table.columns.to_pydict() == ROWS
    assert table.are_positions
    assert table.read_as == "text of a user and the user's items a line"


def test_items_are_located_by_their_lines(tmp_path: Path) -> None:
    table = read(tmp_path / "Beauty.txt", "\n1 5 6 7\n\n2 5\n3 9 8\n")
    assert [table.locate(row) for row in range(6)] == ["line 2"] * 3 + ["line 4", "line 5", "line 5"]


def test_lists_of_one_length_are_sequences_too(tmp_path: Path) -> None:
    table = read(tmp_path / "Beauty.txt", "1 5 6 7\n2 5 8 9\n")
    assert table.columns["item_id"].to_pylist() == ["5", "6", "7", "5", "8", "9"]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_a_line_is_a_user_and_an_item(separator: str, tmp_path: Path) -> None:
    content = "1 5\n1 6\n2 5\n1 7\n".replace(" ", separator)
    table = read(tmp_path / "Video.txt", content)
    assert table.columns.to_pydict() == {
        "user_id": ["1", "1", "2", "1"],
        "item_id": ["5", "6", "5", "7"],
        "timestamp": [0, 1, 0, 2],
    }
    assert table.are_positions
    assert table.locate(3) == "line 4"


def test_a_compressed_one(tmp_path: Path) -> None:
    table = read(tmp_path / "Beauty.txt.xz", PACK["xz"](SEQUENCES.encode()))
    assert table.columns.to_pydict() == ROWS
    assert table.read_as.startswith("xz-compressed text of a user")


def test_a_second_line_of_a_user_is_refused(tmp_path: Path) -> None:
    lines = "".join(f"{user} 5 6 {7 + user % 2 * 10} {user}\n" for user in range(1, 1_500))
    with pytest.raises(DataError, match=r"Beauty\.txt, line 1500: a second line of user '3'.*--set columns=user_id=1"):
        read(tmp_path / "Beauty.txt", lines + "3 8 9\n")


@pytest.mark.parametrize(
    "content",
    [
        "1 5 3 881250949\n2 6 4 881250950\n",
        "881250949 3 5 1\n881250950 4 6 2\n",
        "1 5 3\n1 6 4\n2 5 5\n",
        "1 5 x\n2 6 7\n",
        "5\n6\n",
    ],
    ids=["times", "times ahead", "users again", "words", "one number"],
)
def test_what_might_be_otherwise_is_a_question(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are no column names"):
        read(tmp_path / "plays.txt", content)


def test_positions_of_columns_go_before(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.txt", "1 5 30\n2 6 40\n", columns={"user_id": "1", "item_id": "2", "timestamp": "3"})
    assert table.columns["timestamp"].to_pylist() == ["30", "40"]
    assert not table.are_positions


@pytest.mark.parametrize("broken", ["2  5", " 2 5", "2 5 x", "(4 rows)", "2,5"])
@pytest.mark.parametrize("content", [SEQUENCES, "1 5\n1 6\n3 7\n"], ids=["lists", "pairs"])
def test_a_line_of_anything_else_is_counted_and_found(content: str, broken: str, tmp_path: Path) -> None:
    lines = content.splitlines() * 1
    lines += [f"{user} {user + 1}" + " 7" * ("5 6" in content) for user in range(10, 30)]
    table = read(tmp_path / "Beauty.txt", "\n".join([*lines[:2], broken, "   ", *lines[2:]]))
    whole = read(tmp_path / "whole.txt", "\n".join(lines))
    assert table.columns == whole.columns
    assert table.num_ragged == 1
    assert table.locate_ragged().startswith("line 3 (not a user and items")
    assert table.locate(table.columns.num_rows - 1) == f"line {len(lines) + 2}"


def test_a_user_without_items_has_no_row(tmp_path: Path) -> None:
    assert read(tmp_path / "test.txt", "1 5 6\n2\n3 7\n").columns["user_id"].to_pylist() == ["1", "1", "3"]
