import pandas as pd
import pytest

from benchmarks.peer_formats import COLUMNS, judge

EXPECTED = pd.DataFrame([("u", "a", "5"), ("u", "b", "7"), ("v", "a", "6")], columns=COLUMNS)


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([("v", "a", 6), ("u", "b", 7), ("u", "a", 5)], "yes"),
        ([("u", "a", "Sat"), ("u", "b", "Fri"), ("v", "a", "Mon")], "no order"),
        ([("u", "a", 5), ("v", "a", 6)], "wrong"),
        ([("u", "a", 5), ("u", "b", 7), ("v", "a", 6), ("v", None, 8)], "yes"),
    ],
)
def test_what_a_reader_gives_is_judged_by_its_rows(rows: list[tuple[object, ...]], outcome: str) -> None:
    assert judge(pd.DataFrame(rows, columns=COLUMNS), EXPECTED) == outcome


def test_numbers_that_a_missing_value_has_made_fractions_are_the_same_ids() -> None:
    expected = pd.DataFrame([("3", "1", "5")], columns=COLUMNS)
    assert judge(pd.DataFrame([(3.0, 1, 5.0), (None, 2, 6.0)], columns=COLUMNS), expected) == "yes"
