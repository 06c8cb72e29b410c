"""Sequences of a few users whose ranks and counts can be told by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ur4rec.data.sequences import Sequences

Row = tuple[int, int, int]
"""User, item, time."""


def make_data(train: ArrayLike, val: Sequence[Row], test: Sequence[Row], num_items: int = 5) -> Sequences:
    first, second, third = (np.array(rows, dtype=np.int64).reshape(-1, 3) for rows in (train, val, test))
    users = ("", *map(str, np.unique(first[:, 0])))
    return Sequences("toy", first, second, third, users, ("",) * (num_items + 1), pd.DataFrame(), "digest")
