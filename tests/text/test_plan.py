"""What a retrain costs: the grid points that were crossed, and the new items."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server import Behaviour, serve
from toy_sequences import BuildSequences
from toy_texts import KEY, Row, describe_items, generate, list_prompts, make_config, read_sources

NUM_USERS, NUM_ITEMS, NUM_NEW = 60, 150, 5
GROWTH = 0.05


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def draw_histories(seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Interactions of users with 12 to 120 each, and those by which every user then grows, some with new items."""
    random = np.random.default_rng(seed)
    rows, added = [], []
    for user in range(NUM_USERS):
        length = int(12 * 10 ** random.random())
        chosen = random.permutation(NUM_ITEMS)
        if user == 0:  # every item is known before
            chosen, length = np.arange(NUM_ITEMS), NUM_ITEMS
        rows += [(f"u{user:02}", f"i{item}", 10 * time) for time, item in enumerate(chosen[:length])]
        for step in range(math.ceil(GROWTH * length)):
            item = NUM_ITEMS + random.integers(NUM_NEW) if random.random() < 0.3 else random.integers(NUM_ITEMS)
            added.append((f"u{user:02}", f"i{item}", 10 * (length + step)))
    return rows, added


def count_points(rows: list[Row]) -> int:
    """Grid points after 10, 20, 40, … interactions, the two held-out ones not counted."""
    lengths = Counter(user for user, _, _ in rows)
    return sum(1 + int(math.log2((length - 2) / 10)) for length in lengths.values() if length >= 12)


@pytest.mark.server
def test_a_retrain_asks_for_crossed_grid_points_and_new_items_only(
    build_sequences: BuildSequences, tmp_path: Path
) -> None:
    rows, added = draw_histories()
    items = describe_items(NUM_ITEMS + NUM_NEW)
    before = build_sequences(rows, items, min_seq_len=3)
    after = build_sequences(rows + added, items, min_seq_len=3)
    base: dict[str, Any] = {"snapshot_base": 10}
    with serve(Behaviour()) as server:
        first = generate(server, before, tmp_path / "first", tmp_path / "cache", **base).details["language_model"]
        asked = set(server.counts(per_prompt=True)["per_prompt"])
        second = generate(server, after, tmp_path / "second", tmp_path / "cache", **base).details["language_model"]
        all_asked = server.counts(per_prompt=True)["per_prompt"]
        config = make_config(server, tmp_path / "cache", **base)
        known, needed = (set(list_prompts(sequences, config)) for sequences in (before, after))
    old, new = read_sources(tmp_path / "first"), read_sources(tmp_path / "second")
    crossed = new.keys() - old.keys()
    num_new_items = len({item for _, item, _ in added} - {item for _, item, _ in rows})
    share = second["calls"] / second["texts"]
    message = f"{second['calls']} calls for {second['texts']} texts, a share of {share:.1%}"
    assert old.items() <= new.items(), "a snapshot changed once written"
    assert second["calls"] == len(crossed) + num_new_items == len(all_asked) - len(asked), message
    assert len(needed - known) == second["calls"], message
    assert {entry["successes"] for entry in all_asked.values()} == {1}, "something was paid for twice"
    assert num_new_items == NUM_NEW
    assert len(crossed) == count_points(rows + added) - count_points(rows)
    assert 0 < len(crossed) < NUM_USERS / 4
    assert share < 0.08, message
    assert first["calls"] == first["texts"]
