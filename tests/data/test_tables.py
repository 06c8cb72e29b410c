"""Files that cannot be read as tables: an error that says where and what, or a count in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from malformed import GOOD, HEADER, preprocess, write_parquet

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.tables import read_table


@dataclass(frozen=True)
class File:
    """A file that cannot be used at all, whatever `bad_rows` says."""

    name: str
    content: str | bytes
    message: str
    suffix: str = ".csv"


FILES = [
    File("empty", "", r"interactions\.csv: empty file; expected the columns user_id, item_id, timestamp"),
    File("blank_lines_only", "\n\n", r"interactions\.csv, first line: no column 'user_id'"),
    File("header_only", HEADER, r"interactions\.csv: no rows below the column names"),
    File(
        "no_header",
        GOOD,
        r"first line: 'u', 'a', '1' are no column names; .* --set columns=user_id=1,item_id=2,timestamp=3",
    ),
    File("missing_column", "user_id,item_id\nu,a\n", r"no column 'timestamp' among 'user_id', 'item_id'"),
    File(
        "misspelt_column",
        "user_id,itm_id,timestamp\nu,a,1\n",
        r"no column 'item_id' .* is it 'itm_id'\?; say which: --set columns=item_id=itm_id",
    ),
    File("doubled_column", "user_id,item_id,item_id,timestamp\nu,a,b,1\n", r"column 'item_id' occurs more than once"),
    File(
        "latin_1",
        HEADER.encode() + "u,a,1\nü,b,2\n".encode("latin-1"),
        r"line 3: byte 0xfc is not UTF-8; name the encoding that reads well: --set encoding=cp1252 \('ü,b,2'\)",
    ),
    File("truncated_utf_8", HEADER.encode() + b"u,a,1\nu,b\xc3", r"line 3: byte 0xc3 is not UTF-8"),
    File("gzip", b"\x1f\x8b\x08\x00", r"gzip-compressed, and damaged or cut off .*; get or write the file again"),
    File("zip", b"PK\x03\x04rest", r"not a readable zip archive \(.*\); unpack it first"),
    File("tar", b"name".ljust(257, b"\0") + b"ustar\0", r"a tar archive; unpack it first"),
    File("parquet_named_csv", b"PAR1rest", r"interactions\.csv: not readable as Parquet"),
    File("corrupt_parquet", b"PAR1 this is no parquet", r"interactions\.parquet: not readable as Parquet", ".parquet"),
    File("csv_named_parquet", HEADER + GOOD, r"interactions\.parquet: not readable as Parquet", ".parquet"),
    File("unknown_ending", HEADER + GOOD, r"unknown kind of file '\.xlsx'; save the sheet as CSV", ".xlsx"),
    File("pickle", HEADER + GOOD, r"'\.pkl'; old pickled sequences come in by ur4rec data import-legacy", ".pkl"),
    File("open_quote", HEADER + 'u,"a,1\n' + GOOD, r"line 2 .*: a quote is opened and never closed"),
    File(
        "no_long_user",
        HEADER + "u,a,1\nv,a,2\nv,b,3\n",
        r"no train interaction is left of 3 rows \(3 user_below_min_seq_len\); low",
    ),
]


@pytest.mark.parametrize("bad_rows", ["error", "exclude"])
@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_unusable_file_is_an_error(case: File, bad_rows: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=case.message):
        preprocess(tmp_path, case.content, suffix=case.suffix, bad_rows=bad_rows)
    assert not (tmp_path / "sequences").exists()


@pytest.mark.parametrize(
    ("row", "found"), [("u,b", 2), ("u,b,2,5", 4), ("u", 1), (",,,", 4)], ids=["short", "long", "one", "commas"]
)
def test_ragged_row(row: str, found: int, tmp_path: Path) -> None:
    content = HEADER + "u,a,1\n" + row + "\nu,b,2\nu,c,3\n"
    with pytest.raises(DataError, match=rf"line 3 \({found} fields instead of 3\)"):
        preprocess(tmp_path, content)
    manifest = preprocess(tmp_path, content, bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"ragged_row": 1}
    assert manifest.details["rows"]["read"] == 4


def test_lines_are_counted_past_quoted_line_breaks(tmp_path: Path) -> None:
    content = 'user_id,item_id,timestamp,"a\nnote"\nu,a,1,"two\nlines"\nu,b,x,\n'
    with pytest.raises(DataError, match="line 5, column 'timestamp'"):
        preprocess(tmp_path, content)


def test_lines_are_right_beside_excluded_ragged_rows(tmp_path: Path) -> None:
    items = "item_id,title\na,A\nb\na,Another\n"
    with pytest.raises(
        DataError, match=r"items.csv, line 3 \(1 fields instead of 2\) \(1 more bad rows: 1 conflicting"
    ):
        preprocess(tmp_path, HEADER + GOOD, items)


def test_lines_are_right_below_fields_of_any_length(tmp_path: Path) -> None:
    items = "item_id,title\na," + "A" * 200_000 + "\na,Another\n"
    with pytest.raises(DataError, match=r"items.csv, line 3, column 'item_id'"):
        preprocess(tmp_path, HEADER + GOOD, items)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: not found; expected a file"):
        preprocess_sequences(tmp_path / "absent.csv", tmp_path / "sequences", DataConfig())


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    content = (HEADER + GOOD).replace("\n", "\r\n").encode("utf-8-sig")
    preprocess(tmp_path, content)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "a", "b", "c", "d")


def test_further_columns_are_ignored(tmp_path: Path) -> None:
    preprocess(tmp_path, "note,timestamp,item_id,user_id\n" + '"x,y",1,a,u\n,2,b,u\n,3,c,u\n')
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "a", "b", "c")


@pytest.mark.parametrize("header", ["user_id,itemid,timestamp", "USER_ID,item_id,timestamp", "user_id, item_id,Time"])
def test_a_column_may_be_spelled_otherwise(header: str, tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, f"{header}\n{GOOD}")
    assert manifest.details["num_interactions"] == 4


def test_parquet_without_a_column(tmp_path: Path) -> None:
    pd.DataFrame({"usrid": [1], "item_id": [1], "timestamp": [1]}).to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(
        DataError, match=r"no column 'user_id' among 'usrid', 'item_id', 'timestamp'; .*is it 'usrid'\?"
    ):
        preprocess_sequences(tmp_path / "interactions.parquet", tmp_path / "sequences", DataConfig())


def test_parquet_cut_off(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"interactions\.parquet: not readable as Parquet"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", user_id=[], item_id=[], timestamp=[])
    with pytest.raises(DataError, match=r"interactions\.parquet: no rows below the column names"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


@pytest.mark.parametrize(
    "content", [",user_id,item_id,timestamp\n7,u,a,1\n8,u,b,2\n", "user_id,item_id,timestamp,\nu,a,1,7\nu,b,2,\n"]
)
def test_a_column_without_a_name_is_not_used(content: str, tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text(content)
    table = read_table(tmp_path / "plays.csv", ("user_id", "item_id", "timestamp"), ("rating",))
    assert table.columns.to_pydict() == {"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": ["1", "2"]}
    assert table.unused == ("a column without a name",)


def test_a_note_for_spreadsheets_is_named(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("sep=;\nuser_id;item_id;timestamp\nu;a;1\n")
    with pytest.raises(DataError, match=r"plays\.csv, line 1: 'sep=;' is a note for spreadsheets; delete the line"):
        read_table(tmp_path / "plays.csv", ("user_id", "item_id", "timestamp"), ())
