"""Compressed files and encodings: read as what they are, or an error that names the file and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import CSV, PACK, ROWS, read, read_items

from ur4rec.config_section import ConfigError
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError

SUFFIXES = {"gzip": ".gz", "bz2": ".bz2", "xz": ".xz", "zstd": ".zst", "lz4": ".lz4"}


@pytest.mark.parametrize("suffix", ["", "named", ".gz"])
@pytest.mark.parametrize("kind", PACK)
def test_a_compressed_file_is_read_whatever_its_name(kind: str, suffix: str, tmp_path: Path) -> None:
    name = "plays.csv" + (SUFFIXES[kind] if suffix == "named" else suffix)
    table = read(tmp_path / name, PACK[kind](CSV.encode()))
    assert table.columns.select(list(ROWS)).to_pydict() == ROWS
    assert table.read_as == f"{kind}-compressed CSV"
    assert table.locate(2) == "line 4"


@pytest.mark.parametrize("kind", PACK)
def test_parts_packed_one_after_another_are_one_file(kind: str, tmp_path: Path) -> None:
    first, second = CSV.encode()[:40], CSV.encode()[40:]
    if kind == "lz4":
        pytest.skip("its frames do not join")
    assert read(tmp_path / "plays.csv", PACK[kind](first) + PACK[kind](second)).num_rows == 3


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_is_cut_off_is_an_error(kind: str, tmp_path: Path) -> None:
    packed = PACK[kind](CSV.encode() + bytes(range(32, 127)) * 50)
    with pytest.raises(DataError, match=rf"plays\.csv\.x: {kind}-compressed, and damaged or cut off \(.+\); get or"):
        read(tmp_path / "plays.csv.x", packed[:-20])


@pytest.mark.parametrize("kind", PACK)
def test_nothing_inside_of_a_compressed_file(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plays\.csv\.x: empty file; expected the columns user_id, item_id, timestamp"):
        read(tmp_path / "plays.csv.x", PACK[kind](b""))


def test_an_encoding_in_a_compressed_file(tmp_path: Path) -> None:
    packed = PACK["gzip"]("item_id,title\n1,卧虎藏龙\n".encode("gb18030"))
    table = read_items(tmp_path / "items.csv.gz", packed, encoding="gb18030")
    assert table.columns["title"].to_pylist() == ["卧虎藏龙"]
    assert table.read_as == "gzip-compressed CSV in gb18030"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_how_to_read(encoding: str, tmp_path: Path) -> None:
    table = read_items(tmp_path / "items.csv", "item_id,title\r\n1,Füße\r\n".encode(encoding))
    assert table.columns.to_pydict() == {"item_id": ["1"], "title": ["Füße"]}


def test_utf_16_without_a_mark_is_read_by_option_or_told(tmp_path: Path) -> None:
    content = "item_id,title\n1,Füße\n".encode("utf-16-le")
    with pytest.raises(DataError, match=r"items\.csv: holds zero bytes.*--set encoding=utf-16-le"):
        read_items(tmp_path / "items.csv", content)
    table = read_items(tmp_path / "items.csv", content, encoding="utf-16-le")
    assert table.columns["title"].to_pylist() == ["Füße"]


def test_what_is_utf_8_stays_so_whatever_encoding_is_named(tmp_path: Path) -> None:
    table = read_items(tmp_path / "items.csv", "item_id,title\n1,倩女幽魂\n", encoding="gb18030")
    assert table.columns["title"].to_pylist() == ["倩女幽魂"]
    assert table.read_as == "CSV"


def test_a_named_encoding_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.csv, line 3: byte 0xff is not shift_jis, which the option encoding"):
        read_items(tmp_path / "items.csv", b"item_id,title\n1,A\n2,\xff\xff\n", encoding="shift_jis")


@pytest.mark.parametrize("name", ["latin9000", "base64"])
def test_an_unknown_encoding_is_refused_in_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match=r"encoding: .*not an encoding of text"):
        DataConfig.parse({"encoding": name})
