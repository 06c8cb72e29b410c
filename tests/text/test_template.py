from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.text.providers import TemplateProvider, Text
from ur4rec.text.requests import ItemRequest, UserRequest
from ur4rec.text.sentences import split_sentences
from ur4rec.text.template import write_item_text, write_user_text

DAY_S = 86_400


def make_items(pattern: str) -> list[ItemRequest]:
    """One item a letter: d drama of the 1990s, w western of the 1950s, b both of the 1990s, n nothing known."""
    kinds = {"d": (1994, ("Drama",)), "w": (1955, ("Western",)), "b": (1999, ("Drama", "Western")), "n": (None, ())}
    return [ItemRequest(str(index), f"{letter.upper()}{index}", *kinds[letter]) for index, letter in enumerate(pattern)]


def make_request(pattern: str, step_s: int = DAY_S) -> UserRequest:
    items = make_items(pattern)
    return UserRequest("u", items, [index * step_s for index in range(len(items))])


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (
            ItemRequest("1", "Toy Story", 1995, ("Animation", "Children's", "Comedy")),
            "Toy Story (1995) belongs to the genres Animation, Children's and Comedy. It dates from the mid-1990s.",
        ),
        (
            ItemRequest("2", "Alien", 1979, ("Horror",), "In space no one can hear you scream"),
            "Alien (1979) belongs to the genre Horror. It dates from the late 1970s. "
            "In space no one can hear you scream.",
        ),
        (ItemRequest("3", "What?"), "What?"),
        (ItemRequest("0042", ""), "Item 0042."),
    ],
)
def test_item_text_says_what_is_known(item: ItemRequest, text: str) -> None:
    assert write_item_text(item) == text


def test_user_text_by_hand() -> None:
    # 12 interactions: 6 westerns of the 1950s, then 4 dramas and 2 of both (1990s).
    # Western 8/12 and Drama 6/12. Typical: westerns (8 + 6)/√2, dramas (6 + 6)/√2; the two of both are the latest.
    # Change over the last max(5, 12 // 4) = 5: Drama 1/7 → 5/5, Western 6/7 → 2/5.
    assert write_user_text(make_request("wwwwwwddddbb")) == (
        "Of the choices, 70% are Western and 50% Drama. "
        "Most choices date from the 1950s (50%), then the 1990s (50%). "
        "The most typical titles are W0, W1 and W2. "
        "The latest choices are B11, B10 and D9. "
        "Lately there is more Drama and less Western."
    )


def test_typical_titles_leave_out_the_latest_and_prefer_the_closest() -> None:
    # Both: (6 + 8 + 6)/√3 = 11.5 > westerns (8 + 6)/√2 = 9.9 > dramas 8.5; of equals the earliest.
    assert "The most typical titles are B0, B1 and W2." in write_user_text(make_request("bbwwwwwwdddd"))


def test_lasting_interests_are_told_from_passing_ones() -> None:
    assert write_user_text(make_request("d" * 12)).endswith("Drama is a long-standing interest, then as now.")
    assert "Western is a long-standing interest" in write_user_text(make_request("wwwwwwwbwbwb"))


def test_without_metadata_the_text_still_says_what_was_first_and_last() -> None:
    assert write_user_text(make_request("n" * 10)) == (
        "The first choices were N0, N1 and N2. The latest choices are N9, N8 and N7. "
        "All 10 choices were made within a month."
    )
    assert write_user_text(make_request("n", step_s=0)).endswith("It is the only choice so far.")


@pytest.mark.parametrize(
    ("step_s", "words"),
    [
        (0, "in a single day"),
        (DAY_S // 2, "within a week"),
        (30 * DAY_S, "within a year"),
        (90 * DAY_S, "over more than"),
    ],
)
def test_span_is_said_in_words(step_s: int, words: str) -> None:
    assert words in write_user_text(make_request("n" * 10, step_s))


@given(st.text("dwbn", min_size=6, max_size=60))
def test_three_to_five_sentences_that_the_splitter_finds_again(pattern: str) -> None:
    assert 3 <= len(split_sentences(write_user_text(make_request(pattern)))) <= 5


def test_a_repeated_item_is_named_once() -> None:
    request = make_request("dddddddddd")
    repeated = replace(request, items=[request.items[0]] * 10)
    assert write_user_text(repeated).count("D0") == 1


def ignore(_: int) -> None:
    """No progress to show."""


def test_the_provider_answers_lazily_and_in_order() -> None:
    provider = TemplateProvider()
    asked = []

    def ask() -> Iterator[ItemRequest]:
        for item in make_items("dw"):
            asked.append(item.title)
            yield item

    answers = provider.describe_items(ask(), ignore)
    assert next(answers) == Text("D0 (1994) belongs to the genre Drama. It dates from the mid-1990s.", "template")
    assert asked == ["D0"]
    assert next(answers).text.startswith("W1 (1955)")
    users = list(provider.describe_users([make_request("dddddd"), make_request("wwwwww")], ignore))
    assert [user.text.split(",")[1].split(".")[0] for user in users] == [" 100% are Drama", " 100% are Western"]
