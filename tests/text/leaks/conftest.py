import random
from pathlib import Path

import pandas as pd
import pytest
from toy_leaks import LENGTH, NUM_ITEMS, NUM_USERS, name
from toy_sequences import BuildSequences


@pytest.fixture
def sequences(build_sequences: BuildSequences) -> Path:
    """Thirty users with eight of sixty films each, the last two held out; times are distinct."""
    draw = random.Random(0)
    rows = [
        (user, item, 10 * place)
        for user in range(1, NUM_USERS + 1)
        for place, item in enumerate(draw.sample(range(1, NUM_ITEMS + 1), LENGTH))
    ]
    items = pd.DataFrame({"item_id": range(1, NUM_ITEMS + 1), "title": map(name, range(1, NUM_ITEMS + 1))})
    return build_sequences(rows, items)
