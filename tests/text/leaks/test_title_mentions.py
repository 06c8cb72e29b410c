import pytest

from ur4rec.text.leaks.title_mentions import TitleIndex
from ur4rec.text.requests import ItemRequest

TITLES = [
    "Toy Story",
    "Batman",
    "Batman Forever",
    "The Wedding Singer",
    "The Game",
    "The Fugitive",
    "Heat",
    "Seven (Se7en)",
    "Die xue shuang xiong (The Killer)",
    "Amélie",
    "Terminator 2: Judgment Day",
    "Star Trek: Generations",
    "Star Trek: First Contact",
    "Fast & Furious",
    "Schindler's List",
    "卧虎藏龙",
    "unknown",
    "Drama",
    "Ran",
    "187",
    "Ghost",
    "Ghost",
]
ITEMS = [ItemRequest(str(number), title, 1995, ("Drama",)) for number, title in enumerate(TITLES)]
INDEX = TitleIndex(ITEMS)


def find(text: str) -> set[str]:
    return {TITLES[index - 1] for index in INDEX.find(text)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Loves *Toy Story* and Batman.", {"Toy Story", "Batman"}),
        ("TOY STORY, again", {"Toy Story"}),
        ("Likes toy story nights", set()),  # written small
        ("Toy Story3 or Toy-Story", {"Toy Story"}),
        ("Prefers Batman Forever.", {"Batman Forever"}),  # the longest, and only it
        ("Likes Wedding Singer", {"The Wedding Singer"}),
        ("The Wedding Singer", {"The Wedding Singer"}),
        ("Likes the Game of it", set()),  # short: needs its article, written large
        ("Likes The Game", {"The Game"}),
        ("Likes Fugitive", {"The Fugitive"}),
        ("Heat of the moment. Heat again", set()),  # one word at the beginning of a sentence
        ('Heat of the moment. "Heat" again', {"Heat"}),
        ("Likes Heat", {"Heat"}),
        ("Likes Seven", {"Seven (Se7en)"}),  # what stands in brackets is not needed
        ("Likes Seven (Se7en)", {"Seven (Se7en)"}),
        ("Likes Amelie, or Amélie", {"Amélie"}),
        ("Likes Terminator 2", {"Terminator 2: Judgment Day"}),
        ("Likes Star Trek", set()),  # which of them?
        ("Likes Star Trek: First Contact", {"Star Trek: First Contact"}),
        ("Fast and Furious, Schindler’s List", {"Fast & Furious", "Schindler's List"}),
        ("喜欢卧虎藏龙这部电影", {"卧虎藏龙"}),
        ("An unknown Drama, Ran, 187", set()),  # left out
        ("", set()),
    ],
)
def test_titles_are_found_by_words(text: str, named: set[str]) -> None:
    assert find(text) == named


def test_what_cannot_be_told_apart_is_left_out() -> None:
    left_out = {title for index, title in enumerate(TITLES, 1) if index not in INDEX.nameable}
    assert left_out == {"unknown", "Drama", "Ran", "187"}


def test_items_of_one_title_are_all_named() -> None:
    assert INDEX.find("Likes Ghost") == {len(TITLES) - 1, len(TITLES)}


def test_items_without_a_title_are_found_by_the_name_that_stands_for_it() -> None:
    index = TitleIndex([ItemRequest("0042", ""), ItemRequest("43", "")])
    assert index.find("The latest choices are Item 0042 and Item 44.") == {1}
