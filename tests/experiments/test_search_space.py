from pathlib import Path

import pytest
from optuna.trial import FixedTrial
from toy_experiments import STAGE, write_yaml

from ur4rec.config import load_config
from ur4rec.config_section import ConfigError
from ur4rec.experiments.search_space import Choices, Range, SearchSpace, find_outside, list_grid, load_space, suggest
from ur4rec.experiments.yaml_files import ExperimentError


def test_the_shipped_space_is_that_of_the_guide() -> None:
    space = load_space(None, load_config(), "end_to_end")
    ranges = {name: (item.low, item.high) for name, item in space.items() if isinstance(item, Range)}
    assert len(ranges) == len(space)
    assert ranges == {
        "interaction_threshold": (5, 20),
        "decay_factor": (0.9, 0.99),
        "sasrec_weight": (0.1, 0.9),
        "retriever_weight": (0.1, 0.9),
        "moe_num_proxies": (2, 8),
    }


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("decay_facto", {"low": 0.1, "high": 0.2}, "unknown key 'decay_facto', did you mean 'decay_factor'"),
        ("decay_factor", {"low": 0.5, "high": 1.5}, "decay_factor: .*got 1.5"),
        ("moe_num_proxies", {"low": 2.5, "high": 4}, "moe_num_proxies: .*got 2.5"),
        ("moe_num_proxies", {"low": 2, "high": 4, "step": 0.5}, "moe_num_proxies: .*got 2.5"),
        ("fusion_method", {"choices": ["weighted", "best"]}, "fusion_method: .*got 'best'"),
        ("shuffle_ties", {"low": 0, "high": 1}, "shuffle_ties: is no number; expected choices"),
        ("min_rating", {"low": 1, "high": 3}, "min_rating: the stages up to pretrain_retriever do not read it"),
        ("seed", {"low": 1, "high": 3}, "seed: .*it is the seed"),
        ("seen_items", {"choices": ["exclude", "include"]}, "seen_items: .*all trials are measured by it"),
        ("decay_factor", {"low": 0.9, "high": 0.9}, "low 0.9 is not below high 0.9"),
        ("decay_factor", {"low": 0.5, "high": 0.95, "step": 0.1}, "high 0.95 is no number of steps 0.1"),
        ("retriever_lr", {"low": 0.1, "high": 0.5, "step": 0.1, "log": True}, "log: goes with"),
        ("decay_factor", {"low": 0.9}, "decay_factor"),
        ("decay_factor", {"choices": []}, "decay_factor"),
        ("decay_factor", [], "decay_factor"),
        ("decay_factor", 0.9, "decay_factor"),
        ("update_trigger", ["DRIFT_THRESHOLD", "SOMETIMES"], "update_trigger: .*got 'SOMETIMES'"),
    ],
)
def test_a_wrong_space_is_named_with_its_key(tmp_path: Path, name: str, values: object, message: str) -> None:
    path = write_yaml(tmp_path / "s.yaml", {name: values})
    with pytest.raises((ConfigError, ExperimentError), match=message) as error:
        load_space(path, load_config(), STAGE)
    assert str(error.value).startswith(str(path))


def test_what_the_last_stage_does_not_read_is_refused(tmp_path: Path) -> None:
    path = write_yaml(tmp_path / "s.yaml", {"moe_num_proxies": {"low": 2, "high": 8}})
    assert load_space(path, load_config(), "pretrain_retriever")
    with pytest.raises(ExperimentError, match="moe_num_proxies: the stages up to pretrain_sasrec"):
        load_space(path, load_config(), "pretrain_sasrec")


def test_a_stage_that_the_system_lacks_is_refused() -> None:
    base = load_config(None, {"system": "UR4RecMoEMemory"})
    with pytest.raises(ExperimentError, match="--stage: stage joint_finetune: system UR4RecMoEMemory has"):
        load_space(None, base, "joint_finetune")


def test_what_lies_outside_of_the_space_is_found() -> None:
    space: SearchSpace = {
        "decay_factor": Range(low=0.9, high=0.99),
        "fusion_method": Choices(choices=("weighted", "learned")),
    }
    assert find_outside(space, {"decay_factor": 0.95, "fusion_method": "learned", "seed": 1}) == {}
    assert find_outside(space, {"decay_factor": 0.5, "fusion_method": "learned"}) == {"decay_factor": 0.5}


GUIDE = {
    "interaction_threshold": [5, 10, 15, 20],
    "decay_factor": [0.9, 0.95, 0.99],
    "update_trigger": ["INTERACTION_COUNT", "DRIFT_THRESHOLD"],
}


def test_lists_are_choices_as_the_configuration_spells_them(tmp_path: Path) -> None:
    space = load_space(write_yaml(tmp_path / "s.yaml", GUIDE), load_config(), STAGE)
    assert space == {
        "interaction_threshold": Choices(choices=(5, 10, 15, 20)),
        "decay_factor": Choices(choices=(0.9, 0.95, 0.99)),
        "update_trigger": Choices(choices=("interaction_count", "drift_threshold")),
    }
    assert find_outside(space, load_config().to_dict()) == {}


def test_a_grid_is_every_combination_once(tmp_path: Path) -> None:
    grid = list_grid(load_space(write_yaml(tmp_path / "s.yaml", GUIDE), load_config(), STAGE))
    assert len(grid) == 4 * 3 * 2 == len({tuple(values.values()) for values in grid})
    assert grid[:2] == [
        {"interaction_threshold": 5, "decay_factor": 0.9, "update_trigger": trigger}
        for trigger in ("interaction_count", "drift_threshold")
    ]


def test_a_grid_goes_through_ranges_by_their_steps() -> None:
    space: SearchSpace = {
        "moe_num_proxies": Range(low=2, high=8),
        "interaction_threshold": Range(low=5, high=20, step=5),
        "decay_factor": Range(low=0.1, high=0.5, step=0.1),
    }
    values = {name: list(dict.fromkeys(each[name] for each in list_grid(space))) for name in space}
    assert values == {
        "moe_num_proxies": [2, 3, 4, 5, 6, 7, 8],
        "interaction_threshold": [5, 10, 15, 20],
        "decay_factor": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
    assert all(suggest(space, FixedTrial(each)) == each for each in list_grid(space))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"retriever_lr": Range(low=0.1, high=0.5)}, "retriever_lr: --grid needs a list of values"),
        ({"moe_num_proxies": Range(low=1, high=8, log=True)}, "moe_num_proxies: --grid needs a list of values"),
        ({"seed": Choices(choices=tuple(range(10_001)))}, "--grid: 10,001 combinations; expected at most 10,000"),
    ],
)
def test_a_grid_that_has_no_end_is_refused(space: SearchSpace, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        list_grid(space)


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="at least 1 item"):
        load_space(write_yaml(tmp_path / "s.yaml", {}), load_config(), STAGE)


def test_whole_numbers_stay_whole_and_floats_have_no_noise() -> None:
    space: SearchSpace = {
        "moe_num_proxies": Range(low=2, high=8),
        "sasrec_weight": Range(low=0.1, high=0.9, step=0.1),
        "retriever_lr": Range(low=1e-4, high=1e-2, log=True),
        "fusion_method": Choices(choices=("weighted", "learned")),
    }
    fixed = {"moe_num_proxies": 3, "sasrec_weight": 0.1 + 2 * 0.1, "retriever_lr": 1e-3, "fusion_method": "learned"}
    values = suggest(space, FixedTrial(fixed))
    assert values == {"moe_num_proxies": 3, "sasrec_weight": 0.3, "retriever_lr": 1e-3, "fusion_method": "learned"}
    assert isinstance(values["moe_num_proxies"], int)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.9, True), (0.95, True), (0.955, False), (1.0, False), ("0.9", False)]
)
def test_contains(value: float | str, expected: bool) -> None:
    assert Range(low=0.9, high=0.99, step=0.01).contains(value) is expected
    assert Choices(choices=(0.9, 0.95)).contains(value) is expected
