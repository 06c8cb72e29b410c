from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.caveats import (
    describe_caveats,
    describe_stages,
    describe_texts,
    describe_times,
    repeated_targets_share,
)
from ur4rec.evaluation.history import TrainingHistory
from ur4rec.storage.artifacts import Manifest


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


def test_many_repeats_bring_the_advice_and_included_ones_the_rule(data: Sequences) -> None:
    assert describe_caveats(data)[-1].endswith("Train with seen_items: include if they are to be.")
    included = describe_caveats(data, excludes_seen=False)[-1]
    assert included == (
        "50.0% of the test targets had been seen by their user before. Other items seen before compete with them, and "
        "are recommended (seen_items: include)."
    )
    users = np.arange(1, 101)
    targets = np.stack([users, np.full(100, 4), users], axis=1)
    targets[0, 1] = 1
    few = replace(data, test=targets, user_ids=("", *map(str, users)))
    assert describe_caveats(few)[-1].endswith("but a model is not asked for other items seen before.")


def test_a_data_set_without_surprises_needs_no_note(data: Sequences) -> None:
    users = np.arange(1, 101)
    test = np.stack([users, np.full(100, 30), users], axis=1)
    big = replace(data, test=test, user_ids=("", *map(str, users)), item_ids=tuple(map(str, range(40))))
    assert describe_caveats(big) == []


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, ""),
        ({"timestamps": {"first_s": 1}, "rows": {"test": 10}}, ""),
        ({"timestamps": {"tied_targets": 2}, "rows": {"test": 10}}, ""),
        ({"timestamps": {"tied_targets": 3}, "rows": {"test": 10}}, "3 of 10 test targets share their time with"),
        ({"timestamps": {"are_positions": True, "tied_targets": 0}}, "The data came without times"),
    ],
    ids=["nothing known", "an earlier release", "few", "many", "no times"],
)
def test_times_that_do_not_tell_the_target_are_noted(details: dict[str, Any], expected: str) -> None:
    notes = describe_times(write_manifest("preprocess_sequences", **details))
    assert [note.startswith(expected) for note in notes] == [True] * bool(expected)


def write_manifest(producer: str, **details: object) -> Manifest:
    return Manifest(
        producer=producer,
        config={},
        config_digest="",
        files={},
        inputs={},
        details=details,
        seconds=0.0,
        peak_memory_mb=0.0,
    )


def test_texts_that_the_encoder_could_not_read_are_noted() -> None:
    encoded = write_manifest("encode_text", model="toy", distinct_item_texts=9, unknown_words={"items": 0.3})
    assert describe_texts([write_manifest("generate_text"), encoded]) == [
        "30% of the words of the items are unknown to toy: the text says less than it could."
    ]
    assert describe_texts([write_manifest("encode_text", model="toy")]) == []


def test_a_stage_that_bettered_nothing_is_noted() -> None:
    parts = {"seconds": 1.0, "validation": {"ndcg@10": 0.1}, "series": []}
    stages = [
        {"stage": "joint_finetune", "epochs": 9, "best_epoch": 4} | parts,
        {"stage": "end_to_end", "epochs": 5, "best_epoch": 0} | parts,
    ]
    assert describe_stages(TrainingHistory.model_validate({"stages": stages})) == [
        "end_to_end keeps the weights it began with: none of its 5 epochs had a higher validation ndcg@10."
    ]
