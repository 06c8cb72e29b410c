"""The parameters of a run and the groups of its tasks stand for one configuration."""

from __future__ import annotations

from typing import Any

import pytest

from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigError
from ur4rec.registry.run_settings import NAMED, SETTINGS, join_settings, name_settings, split_settings


def split_parameters(parameters: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    return {name: parameters[name] for name in NAMED}, parameters[SETTINGS]


@pytest.mark.parametrize("name", [None, "toy", "auto", "ur4rec_moe_100k"])
def test_what_is_named_and_what_is_not_join_to_the_configuration(name: str | None) -> None:
    config = load_config(name, {"sasrec_lr": "1e-05", "columns": {"user_id": "user"}})
    named, rest = split_parameters(name_settings(config))
    joined = join_settings(named, rest)
    assert (joined, joined.left_to_data) == (config, config.left_to_data)
    assert all(isinstance(value, str) for value in named.values())
    assert not set(rest) & set(NAMED)


def test_all_ten_are_named_and_the_rest_is_what_differs() -> None:
    named, rest = split_parameters(name_settings(load_config(None, {"min_rating": 3, "seed": 7})))
    assert named == {
        "system": "UR4RecV2MoE",
        "seed": "7",
        "text_provider": "template",
        "max_seq_len": "50",
        "max_memory_size": "10",
        "update_trigger": "interaction_count",
        "batch_size": "128",
        "epochs_per_stage": "60",
        "sasrec_lr": "0.004",
        "retriever_lr": "0.004",
    }
    assert rest == {"min_rating": 3.0}


def test_nothing_given_is_the_default() -> None:
    assert join_settings(dict.fromkeys(NAMED, ""), {}) == Config()
    assert set(map(str, split_settings(Config()).values())) == {"{}"}


@pytest.mark.parametrize(
    ("named", "rest", "message"),
    [
        ({"seed": "7"}, {"seed": 9}, "settings: seed: is 7 and 9; keep one of them"),
        ({"system": "UR4RecV2"}, {"system": "UR4RecMoEMemory"}, "system: is UR4RecV2 and UR4RecMoEMemory; keep"),
        ({"max_seq_len": "auto"}, {"max_seq_len": 50}, "settings: max_seq_len: is auto and 50; keep one of them"),
        ({"seed": "seven"}, {}, "settings: seed: "),
        ({"batch_size": "[1, 2]"}, {}, "settings: batch_size: expected one value"),
        ({}, {"sed": 9}, "settings: unknown key 'sed', did you mean 'seed'?"),
        ({"system": "UR4Rec"}, {}, "settings: system: "),
    ],
)
def test_what_is_wrong_or_said_twice_is_one_line(named: dict[str, str], rest: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        join_settings(named, rest)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_same_value_may_be_said_twice_however_it_is_spelled() -> None:
    named = {"update_trigger": "EXPLICIT", "sasrec_lr": "1.0e-3", "seed": " 7 "}
    rest = {"update_trigger": "explicit", "sasrec_lr": 0.001, "seed": 7.0}
    assert join_settings(named, rest) == join_settings(named, {}) == join_settings({}, rest)
