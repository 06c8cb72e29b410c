"""Proposals for texts that are not UTF-8: the likeliest first, with the text as it would read."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import read_items

from ur4rec.data.errors import DataError
from ur4rec.data.formats.encodings import propose_encodings, rank_encodings

TITLES = {
    "gb18030": ["倩女幽魂", "卧虎藏龙", "西游记之大圣归来"],
    "big5": ["臥虎藏龍", "重慶森林", "花樣年華", "悲情城市"],
    "shift_jis": ["となりのトトロ", "千と千尋の神隠し", "七人の侍"],
    "euc_jp": ["となりのトトロ", "千と千尋の神隠し", "もののけ姫"],
    "euc_kr": ["올드보이", "살인의 추억", "기생충"],
    "cp1251": ["Сталкер", "Солярис", "Иван Васильевич меняет профессию"],
    "koi8_r": ["Сталкер", "Солярис", "Иван Васильевич меняет профессию"],
    "cp1252": ["Amélie", "Les Misérables", "Ça va", "Müller", "España"],
    "cp1250": ["Ostře sledované vlaky", "Nóż w wodzie", "Popiół i diament"],
    "cp1253": ["Ταξίδι στα Κύθηρα", "Ζορμπάς"],
    "cp1254": ["Kış Uykusu", "Üç Maymun", "Babam ve Oğlum"],
}


@pytest.mark.parametrize("encoding", TITLES)
def test_the_likeliest_encoding_is_the_right_one(encoding: str) -> None:
    text = "\n".join(f"{number},{title}" for number, title in enumerate(TITLES[encoding]))
    assert rank_encodings(text.encode(encoding))[0] == encoding


@pytest.mark.parametrize("encoding", TITLES)
def test_a_file_is_refused_with_its_first_title_as_it_would_read(encoding: str, tmp_path: Path) -> None:
    text = "item_id,title\n0,ASCII\n" + "".join(f"{number},{name}\n" for number, name in enumerate(TITLES[encoding], 1))
    with pytest.raises(
        DataError, match=rf"items\.csv, line 3: byte .*: --set encoding={encoding} \('1,{TITLES[encoding][0]}'"
    ):
        read_items(tmp_path / "items.csv", text.encode(encoding))
    table = read_items(tmp_path / "items.csv", text.encode(encoding), encoding=encoding)
    assert table.columns["title"].to_pylist() == ["ASCII", *TITLES[encoding]]


@pytest.mark.parametrize(
    "header",
    [
        "item_id:token\ttitle:token\n1\t",
        "1::",
        '{"item_id": "1", "title": "',
        "N1\tnews\tworld\t",
        "item_id\ttitle\n1\t",
    ],
    ids=["atomic", "MovieLens", "JSON", "MIND", "tabs"],
)
def test_every_format_names_the_byte(header: str, tmp_path: Path) -> None:
    end = {"{": '"}\n', "N": "\ta\thttp\t[]\t[]\n", "1": "::Drama\n"}.get(header[0], "\n")
    content = (header + "Amélie" + end).encode("latin-1")
    if header in ("1::", "N1\tnews\tworld\t"):  # published in Latin-1
        assert read_items(tmp_path / "films.txt", content).columns["title"].to_pylist() == ["Amélie"]
        return
    with pytest.raises(DataError, match=r"films\.txt, line [12]: byte 0xe9 is not UTF-8; .* --set encoding=cp1252"):
        read_items(tmp_path / "films.txt", content)


def test_several_are_named_and_never_more_than_three() -> None:
    assert 2 <= propose_encodings(["1,Müller\n".encode("latin-1")]).count("--set encoding") <= 3


def test_no_text_at_all() -> None:
    assert propose_encodings([bytes([0xFF, 0xFE, 0x00, 0x81, 0x8D]) * 9]).startswith("no encoding of text fits")
