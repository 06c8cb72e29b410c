import pandas as pd
import pytest

from ur4rec.text.requests import ItemRequest, build_item_requests, spoken_title


@pytest.mark.parametrize(
    ("title", "year", "spoken"),
    [
        ("Toy Story (1995)", 1995, "Toy Story"),
        ("Godfather, The (1972)", 1972, "The Godfather"),
        ("Beautiful Mind, A", None, "A Beautiful Mind"),
        ("Avventura, L' (1960)", 1960, "L'Avventura"),
        ("Contempt (Mépris, Le) (1963)", 1963, "Contempt (Mépris, Le)"),
        ("City of Lost Children, The (Cité, La) (1995)", 1995, "The City of Lost Children (Cité, La)"),
        ("To Wong Foo, Thanks for Everything!", 1995, "To Wong Foo, Thanks for Everything!"),
        ("Another Year (1995)", 1996, "Another Year"),
        ("Toy Story (1995)", None, "Toy Story (1995)"),
        ("(1995)", 1995, "(1995)"),
    ],
)
def test_titles_read_as_they_are_spoken(title: str, year: int | None, spoken: str) -> None:
    assert spoken_title(title, year) == spoken


def test_requests_hold_the_metadata_and_bear_its_absence() -> None:
    items = pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["Fan, The (1996)", "b"],
            "year": pd.array([1996, None], dtype="Int64"),
            "genres": ["Drama| Crime|Drama", "unknown"],
            "description": ["A fan\n goes  too far.", ""],
        },
        index=[1, 2],
    )
    first, second = build_item_requests(items)
    assert first == ItemRequest("a", "The Fan", 1996, ("Drama", "Crime"), "A fan goes too far.")
    assert second == ItemRequest("b", "")
    assert second.name == "Item b"
