import numpy as np
import pandas as pd

from ur4rec.data.sequences import Histories, Sequences
from ur4rec.data.training_extent import TrainingExtent, find_unseen

NOTHING = np.zeros((0, 3), dtype=np.int64)


def make_data(targets: list[tuple[int, int, int]]) -> Sequences:
    """Users a, b, c and items x, y, z; indices as they come."""
    rows = np.array(targets, dtype=np.int64)
    return Sequences("toy", NOTHING, NOTHING, rows, ("", "a", "b", "c"), ("", "x", "y", "z"), pd.DataFrame(), "d")


# The other data know b as user 1 and a as user 2, z as item 1 and x as item 2. Of b's interactions (z at 10, x at 20,
# x at 30) training saw two, of a's (z at 5) none.
EXTENT = TrainingExtent(
    user_index={"b": 1, "a": 2},
    item_index={"z": 1, "x": 2},
    histories=Histories(np.array([0, 0, 3, 4]), np.array([1, 2, 2, 1]), np.array([10, 20, 30, 5])),
    lengths=np.array([0, 2, 0]),
    cutoff_s=20,
)


def test_a_target_is_unseen_when_it_is_none_of_what_training_saw_and_not_before_the_last_of_it() -> None:
    cases = {
        (2, 1, 30): True,  # x, which training saw at 20 but not at 30
        (2, 1, 20): False,  # the last that training saw
        (2, 2, 20): True,  # at the same time, another item
        (2, 3, 10): False,
        (2, 2, 15): False,  # training saw what came after it
        (1, 3, 5): True,  # of a, training saw nothing
        (3, 1, 1): True,  # c is unknown there
    }
    data = make_data(list(cases))
    assert find_unseen(data, data.test, EXTENT).tolist() == list(cases.values())
    assert find_unseen(data, data.test[:0], EXTENT).tolist() == []
