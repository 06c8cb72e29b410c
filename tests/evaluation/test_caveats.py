from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.caveats import describe_caveats, repeated_targets_share


def rows(*triples: tuple[int, int, int]) -> NDArray[Any]:
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


@pytest.fixture
def data() -> Sequences:
    """Users 1 and 2; the test target of user 1 is an item from the training prefix."""
    return Sequences(
        name="toy",
        train=rows((1, 1, 0), (1, 2, 1), (2, 3, 0), (2, 1, 1)),
        val=rows((1, 3, 2), (2, 2, 2)),
        test=rows((1, 1, 3), (2, 4, 3)),
        user_ids=("", "a", "b"),
        item_ids=("", "w", "x", "y", "z"),
        items=pd.DataFrame(),
        digest="",
    )


def test_repeats_are_counted_per_user(data: Sequences) -> None:
    assert repeated_targets_share(data) == 0.5
    assert repeated_targets_share(replace(data, test=rows((1, 4, 3), (2, 4, 3)))) == 0.0


def test_small_data_and_repeats_are_noted(data: Sequences) -> None:
    few_users, few_items, repeats = describe_caveats(data)
    assert few_users.startswith("Only 2 users")
    assert few_items.startswith("The catalogue has only 4 items")
    assert repeats.startswith("50.0% of the test targets")


def test_a_data_set_without_surprises_needs_no_note(data: Sequences) -> None:
    users = np.arange(1, 101)
    test = np.stack([users, np.full(100, 30), users], axis=1)
    big = replace(data, test=test, user_ids=("", *map(str, users)), item_ids=tuple(map(str, range(40))))
    assert describe_caveats(big) == []
