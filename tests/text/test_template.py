import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data.sequences import Histories
from ur4rec.text.providers import TemplateProvider, Text
from ur4rec.text.requests import ItemRequest, UserRequest
from ur4rec.text.sentences import split_sentences
from ur4rec.text.snapshots import build_user_requests, compute_grid
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


SHOP = (
    ItemRequest("1", "Gel Pens, 8 Colors", None, ("Office Supplies", "Pens & Refills", "Gel Pens")),
    ItemRequest("2", "View Binder.", None, ("Office Supplies, Binders, D-Ring Binders",)),
    ItemRequest("3", "Ink Cartridge", None, ("Office Supplies > Printers > Inkjet Ink",)),
    ItemRequest("4", "Laser Paper", None, ("Office Supplies", "Paper")),
    ItemRequest("5", "Ink Set", None, ("Office Supplies > Printers > Inkjet Ink",)),
)
"""Categories as a list from the widest to the most special one, or as a path in one label; no years."""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            1,
            "Of 1 choice, 1 is Gel Pens, 1 Pens & Refills and 1 Office Supplies. "
            "The latest choice is Gel Pens, 8 Colors. It is the only choice so far.",
        ),
        (
            2,
            "Of 2 choices, 2 are Office Supplies, 1 Gel Pens and 1 D-Ring Binders. "
            "The latest choices are View Binder and Gel Pens, 8 Colors.",
        ),
        (
            3,
            "Of 3 choices, 3 are Office Supplies, 1 Gel Pens and 1 D-Ring Binders. "
            "The latest choices are Ink Cartridge, View Binder and Gel Pens, 8 Colors.",
        ),
        (
            5,
            "Of 5 choices, 5 are Office Supplies, 2 Inkjet Ink and 2 Printers. "
            "The latest choices are Ink Set, Laser Paper and Ink Cartridge. "
            "The choices before were View Binder and Gel Pens, 8 Colors.",
        ),
    ],
)
def test_few_choices_are_counted_and_named_and_no_more_is_said(number: int, text: str) -> None:
    assert write_user_text(UserRequest("u", SHOP[:number], range(number))) == text


def test_few_choices_with_years_count_their_decades() -> None:
    assert write_user_text(make_request("dwb")) == (
        "Of 3 choices, 2 are Drama and 2 Western. Of 3 choices, 2 are from the 1990s and 1 from the 1950s. "
        "The latest choices are B2, W1 and D0."
    )


@given(st.text("dwbn", min_size=1, max_size=9))
def test_fewer_than_ten_choices_show_no_change(pattern: str) -> None:
    text = write_user_text(make_request(pattern))
    assert not any(words in text for words in ("Lately", "long-standing", "always"))


@given(st.text("dwbn", min_size=2, max_size=5))
def test_a_short_text_names_every_choice_once_and_claims_no_share(pattern: str) -> None:
    text = write_user_text(make_request(pattern))
    assert all(text.count(item.title) == 1 for item in make_items(pattern))
    assert not any(words in text for words in ("%", "typical", "All", "Most", "Nearly"))
    assert 1 <= len(split_sentences(text)) <= 4


def test_from_ten_choices_on_the_wording_is_that_of_the_first_version() -> None:
    """The digest was taken from version 1: what is written for long histories with years and genres stays as it is."""
    draw = random.Random(0)
    patterns = ["".join(draw.choices("ddwbn", k=draw.randint(10, 80))) for _ in range(300)]
    texts = "\n".join(write_user_text(make_request(pattern)) for pattern in patterns)
    digest = hashlib.sha256(texts.encode()).hexdigest()
    assert digest == "8df94387bfbf640878e4d6bfdc540ac62fbd1ea6f2bf0844e1f77fba35f63bb5"


@given(st.lists(st.integers(0, 9), min_size=2, max_size=24).map(sorted), st.integers(2, 3), st.randoms())
def test_texts_of_a_growing_history_stay_and_know_nothing_of_what_a_position_may_not_see(
    times: list[int], base: int, draw: random.Random
) -> None:
    """Interactions come in one after another, some at the same time; every earlier text is compared byte for byte."""
    items = make_items("".join(draw.choices("dwbn", k=len(times))))
    written: dict[int, str] = {}
    for length in range(1, len(times) + 1):
        if length < len(times) and times[length] == times[length - 1]:
            continue  # a group that is not complete may still move its point
        found = write_texts(items[:length], times[:length], base)
        assert found.items() >= written.items()
        written = found
    for as_of, text in written.items():
        assert as_of == len(times) or times[as_of] > times[as_of - 1]  # whoever may see it comes after the whole group
        assert not any(f"{item.title}{end}" in text for item in items[as_of:] for end in (",", ".", " "))


def write_texts(items: list[ItemRequest], times: list[int], base: int) -> dict[int, str]:
    """`as_of` → text of one user who chose each item once."""
    indices = np.arange(1, len(items) + 1)
    histories = Histories(np.array([0, 0, len(items)]), indices, np.array(times, dtype=np.int64))
    requests = build_user_requests(compute_grid(histories, base), histories, items, ("", "u"))
    return {request.as_of: write_user_text(request) for request in requests}
