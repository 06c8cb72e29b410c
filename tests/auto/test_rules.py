"""Every rule on statistics worked out by hand, and the range in which all of them are valid."""

from itertools import product

import pytest

from ur4rec.auto.rules import ALL_EXPERTS, READERS_OF_TEXT, RULES, Value, choose
from ur4rec.auto.statistics import DataStatistics
from ur4rec.config import Config, load_config
from ur4rec.config_section import AUTO

# MovieLens-like: 1,000 users with 90 interactions each; sparse: 20,000 users with 5; huge; a large catalogue.
DENSE = DataStatistics(1_000, 1_700, 90_000, short=18, median=62, long=190)
SPARSE = DataStatistics(20_000, 12_000, 110_000, short=3, median=4, long=9)
HUGE = DataStatistics(100_000, 20_000, 10_000_000, short=20, median=70, long=250)
CATALOGUE = DataStatistics(200_000, 1_000_000, 5_000_000, short=5, median=15, long=60)
EXPECTED: dict[str, tuple[Value, Value, Value, Value]] = {
    "max_seq_len": (100, 10, 100, 100),
    "windows_per_user": ("all",) * 4,
    "batch_size": (64, 128, 256, 256),
    "epochs_per_stage": (60, 60, 10, 10),
    "patience": (12, 12, 3, 3),
    "finetune_patience": (4, 4, 1, 1),
    "warmup_share": (0.1, 0.05, 0.05, 0.05),
    "sasrec_dropout": (0.3, 0.5, 0.2, 0.5),
    "moe_dropout": (0.2, 0.3, 0.1, 0.3),
    "sasrec_hidden_dim": (64, 64, 128, 64),
    "sasrec_item_factors": (128, 128, 128, 32),
    "sasrec_lr": (0.004, 0.004, 0.002, 0.004),
    "retriever_lr": (0.004, 0.004, 0.002, 0.004),
    "retriever_output_dim": (64, 64, 128, 64),
    "memory_dim": (64, 64, 128, 64),
    "moe_experts": (ALL_EXPERTS, READERS_OF_TEXT, ALL_EXPERTS, READERS_OF_TEXT),
    "id_bound": (0.0, 0.5, 0.0, 0.5),
    "num_negatives": (0, 0, 0, 1024),
    "cooccurrence_window": (10, 10, 5, 5),
    "cooccurrence_neighbors": (256, 256, 256, 32),
    "snapshot_base": (8, 2, 8, 4),
    "interaction_threshold": (10, 2, 10, 3),
}


def test_every_setting_that_may_be_left_has_a_rule() -> None:
    may_be_left = {name for name, field in Config.model_fields.items() if AUTO in field.metadata}
    assert RULES.keys() == EXPECTED.keys() == may_be_left == load_config(AUTO).left_to_data


@pytest.mark.parametrize("name", RULES)
def test_values_by_hand(name: str) -> None:
    chosen = tuple(choose(data)[name].value for data in (DENSE, SPARSE, HUGE, CATALOGUE))
    assert chosen == EXPECTED[name]


def test_a_reason_tells_the_count() -> None:
    chosen = choose(SPARSE)
    assert chosen["snapshot_base"].reason.startswith("90 % of the users have 3 or more interactions to write from")
    assert all(each.reason and "{" not in each.reason for each in chosen.values())


@pytest.mark.parametrize(
    ("data", "given", "expected"),
    [
        # 20,000 windows, 157 steps an epoch of 128: 100 of 471 steps are more than a fifth
        (SPARSE, {"epochs_per_stage": 3}, {"batch_size": 128, "patience": 3, "warmup_share": 0.2}),
        # 20 steps an epoch of 1,024: 100 of 1,200 are 8 %
        (SPARSE, {"batch_size": 1024}, {"epochs_per_stage": 60, "patience": 12, "warmup_share": 0.08}),
        # 45,000 windows, 704 steps an epoch of 64
        (DENSE, {"max_seq_len": 2, "batch_size": 64}, {"epochs_per_stage": 60, "patience": 12, "warmup_share": 0.05}),
        # 10 million targets an epoch; with one window a user 1.2 million
        (HUGE, {"max_seq_len": 20}, {"epochs_per_stage": 10, "patience": 3}),
        (HUGE, {"max_seq_len": 12, "windows_per_user": "one"}, {"epochs_per_stage": 12, "patience": 3}),
        (DENSE, {"patience": 7}, {"epochs_per_stage": 60, "warmup_share": 0.1}),
    ],
)
def test_what_is_given_is_an_input_of_the_rules(
    data: DataStatistics, given: dict[str, Value], expected: dict[str, Value]
) -> None:
    chosen = choose(data, given)
    assert not chosen.keys() & given.keys()
    assert {name: chosen[name].value for name in expected} == expected
    others = (
        choose(data).keys()
        - given.keys()
        - {"batch_size", "epochs_per_stage", "patience", "finetune_patience", "warmup_share"}
    )
    assert {name: chosen[name] for name in others} == {name: choose(data)[name] for name in others}


def test_a_reason_tells_what_is_given() -> None:
    chosen = choose(SPARSE, {"epochs_per_stage": 3})
    assert chosen["patience"].reason == "epochs: 3; a fifth of them, 3 to 12"
    assert chosen["warmup_share"].reason == "steps in a stage: about 471; 100 of them, 5 to 20 %"


def test_reasons_are_true_of_next_to_no_data() -> None:
    """One user with one interaction: every count is told as it is, and every value lies at the end that is told."""
    reasons = {name: choice.reason for name, choice in choose(DataStatistics(1, 3, 1, 1, 1, 1)).items()}
    assert reasons["max_seq_len"] == "90 % of the histories are at most 1 long; 10 to 100"
    assert reasons["batch_size"] == "windows in an epoch: about 1; a 128th of them, 64 to 256"
    assert reasons["epochs_per_stage"] == "targets in an epoch: about 1; as many as make 15,000,000, 10 to 60"
    assert reasons["warmup_share"] == "steps in a stage: about 60; 100 of them, 5 to 20 %"
    assert reasons["moe_dropout"] == "the median history is 1 long, under 20; interactions: 1"
    assert reasons["id_bound"] == "the median history is 1 long, under 20"
    none = choose(DataStatistics(1, 3, 0, 0, 0, 0))["snapshot_base"]
    assert (none.value, none.reason[:48]) == (1, "90 % of the users have 0 or more interactions to")


GRID = [
    DataStatistics(max(1, interactions // 2 // median), items, interactions, max(1, median // 4), median, 4 * median)
    for interactions, items, median in product(
        (1, 300, 5_000, 100_000, 1_000_000, 10_000_000), (3, 50, 3_000, 60_000, 1_000_000), (1, 4, 60, 1_000, 30_000)
    )
]


def test_all_rules_are_valid_from_one_interaction_to_ten_million() -> None:
    """And from three items to a million: settings are in their range, and all they ask of memory stays small."""
    for data in GRID:
        chosen = {name: each.value for name, each in choose(data).items()}
        config = load_config(AUTO).settle(chosen, dict.fromkeys(chosen, "by a rule"))
        assert not config.left_to_data
        assert 10 <= config.max_seq_len <= 200
        assert config.snapshot_base <= max(1, data.short)
        assert config.patience <= config.epochs_per_stage
        assert config.num_negatives or data.num_items <= 60_000
        assert data.num_items * 4 * max(config.sasrec_hidden_dim, config.sasrec_item_factors) <= 256 * 1_000_000
        assert 5 * 8 * data.num_items * config.cooccurrence_neighbors <= 2**31


def test_more_data_never_write_fewer_texts_anew() -> None:
    """A grid from another power of two holds the points of the coarser one: what is written stays of use."""
    bases = [choose(DataStatistics(9, 9, 9, short, short, short))["snapshot_base"].value for short in range(40)]
    assert list(dict.fromkeys(bases)) == [1, 2, 4, 8]
