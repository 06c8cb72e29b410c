import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("No stop at all", ["No stop at all"]),
        ("Mr. Smith met Dr. Jones. They left.", ["Mr. Smith met Dr. Jones.", "They left."]),
        ("E.T. the Extra-Terrestrial and L.A. Confidential.", ["E.T. the Extra-Terrestrial and L.A. Confidential."]),
        ("By J. R. R. Tolkien. A classic.", ["By J. R. R. Tolkien.", "A classic."]),
        ("Old ones, e.g. Casablanca. New ones.", ["Old ones, e.g. Casablanca.", "New ones."]),
        ("It dates from 1995. 12 Monkeys too.", ["It dates from 1995.", "12 Monkeys too."]),
        ("Rated 3.5 of 5. No. 7 is best.", ["Rated 3.5 of 5.", "No. 7 is best."]),
        ("Dr. No. It was the first.", ["Dr. No.", "It was the first."]),
        ("Wait... what? Perhaps… Then again.", ["Wait... what?", "Perhaps…", "Then again."]),
        ("Airplane! and Mars Attacks! (1996) are funny.", ["Airplane! and Mars Attacks! (1996) are funny."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("*Jaws* (1975). *Alien* (1979).", ["*Jaws* (1975).", "*Alien* (1979)."]),
        ("Élan vital. Ça va. Дальше.", ["Élan vital.", "Ça va.", "Дальше."]),
        ("他喜欢科幻片。他也看喜剧！", ["他喜欢科幻片。", "他也看喜剧！"]),
        ("- Drama first\n- Comedy. Then war\n\n2. Crime", ["Drama first", "Comedy.", "Then war", "Crime"]),
        ("  Spaces around. \r\n Here. ", ["Spaces around.", "Here."]),
        ("...", ["..."]),
    ],
)
def test_splits_where_a_reader_would(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(st.text(alphabet="aB1. !?…\n\"'()*-。", min_size=1))
def test_loses_no_word_and_finds_at_least_one_sentence(text: str) -> None:
    sentences = split_sentences(text)
    assert sentences
    letters = [character for character in text if character in "aB"]
    assert [character for character in "".join(sentences) if character in "aB"] == letters
