from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ur4rec.experiments.search_space import Range, suggest
from ur4rec.experiments.study import (
    MIN_TRIALS_FOR_IMPORTANCE,
    ask,
    begin_with,
    count_asked,
    count_finished,
    count_waiting,
    fail,
    open_study,
    queue_grid,
    rank_trials,
    weigh_importance,
)
from ur4rec.experiments.yaml_files import ExperimentError

SPACE = {"decay_factor": Range(low=0.5, high=0.9), "moe_num_proxies": Range(low=2, high=8)}
BASE = {"decay_factor": 0.8, "moe_num_proxies": 3}


def value_of(settings: dict[str, Any]) -> float:
    return float(1 - (settings["decay_factor"] - 0.6) ** 2 - 0.01 * settings["moe_num_proxies"])


def run(study: optuna.Study, num_trials: int) -> None:
    for _ in range(num_trials):
        trial = ask(study)
        study.tell(trial, value_of(suggest(SPACE, trial)))


def finished(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    return [(trial.params, trial.value) for trial in study.get_trials(states=[TrialState.COMPLETE])]


def open_toy(folder: Path, **settings: Any) -> optuna.Study:
    folder.mkdir(exist_ok=True)
    study = open_study(folder, settings, prune=False)
    begin_with(study, SPACE, BASE)
    return study


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = open_toy(tmp_path / "whole")
    run(whole, 14)
    for number in (4, 5, 0, 3):  # a process is killed in a trial, then the next one begins
        study = open_toy(tmp_path / "parts")
        run(study, number)
        suggest(SPACE, ask(study))
    study = open_toy(tmp_path / "parts")
    run(study, 14 - count_finished(study))
    assert finished(study) == finished(whole)
    assert len({value for _, value in finished(whole)}) > 10


def test_the_base_configuration_is_the_first_trial(tmp_path: Path) -> None:
    study = open_toy(tmp_path)
    run(study, 2)
    assert finished(study)[0][0] == BASE
    outside = open_study(tmp_path, {}, prune=False)
    assert len(outside.trials) == 2


def test_a_base_outside_the_space_is_not_tried(tmp_path: Path) -> None:
    study = open_study(tmp_path, {}, prune=False)
    begin_with(study, SPACE, BASE | {"decay_factor": 0.95})
    assert study.trials == []


def test_a_failed_trial_is_not_tried_again(tmp_path: Path) -> None:
    study = open_toy(tmp_path)
    fail(study, ask(study), "out of luck")
    assert (count_asked(study), count_finished(study)) == (1, 0)
    study = open_toy(tmp_path)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_trials_are_ranked_by_value_then_age(tmp_path: Path) -> None:
    study = open_study(tmp_path, {}, prune=False)
    for value in (0.2, 0.5, 0.5, 0.1):
        study.tell(ask(study), value)
    assert [trial.number for trial in rank_trials(study)] == [1, 2, 0, 3]


def search_noise(seed: int, num_trials: int) -> optuna.Study:
    """A search whose value is x, beside y, which does nothing; in memory."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(num_trials):
        trial = study.ask()
        x, _ = (trial.suggest_float(name, 0, 1) for name in ("x", "y"))
        study.tell(trial, x)
    return study


def test_importances_are_told_where_they_tell_what_matters_from_noise() -> None:
    for seed in range(20):
        study = search_noise(seed, MIN_TRIALS_FOR_IMPORTANCE)
        importance = weigh_importance(study)
        assert list(importance) == ["x", "y"]
        assert importance["x"] > importance["y"]
        assert sum(importance.values()) == pytest.approx(1)


def test_of_fewer_trials_or_equal_ones_there_is_no_importance() -> None:
    assert MIN_TRIALS_FOR_IMPORTANCE == 41  # five of them are the best tenth
    assert weigh_importance(search_noise(0, MIN_TRIALS_FOR_IMPORTANCE - 1)) == {}
    study = optuna.create_study(direction="maximize")
    for _ in range(MIN_TRIALS_FOR_IMPORTANCE):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.5)
    assert weigh_importance(study) == {}


def test_trials_with_other_settings_are_not_mixed(tmp_path: Path) -> None:
    open_toy(tmp_path, metric="mrr", seed=1, space=[1, 2])
    open_toy(tmp_path, metric="mrr", seed=1, space=[1, 2])
    with pytest.raises(ExperimentError, match="holds trials with another metric, seed; choose another --output"):
        open_toy(tmp_path, metric="hit@1", seed=2, space=[1, 2])


def test_a_grid_is_gone_through_once_in_order_whatever_came_between(tmp_path: Path) -> None:
    grid = [{"decay_factor": decay, "moe_num_proxies": proxies} for decay in (0.5, 0.7) for proxies in (2, 4)]

    def open_grid() -> optuna.Study:
        study = open_study(tmp_path, {}, prune=False)
        queue_grid(study, grid)
        return study

    run(open_grid(), 1)
    suggest(SPACE, ask(open_grid()))  # a process is killed here
    failing = open_grid()
    fail(failing, ask(failing), "out of luck")
    study = open_grid()
    assert count_waiting(study) == 2
    run(study, 2)
    assert count_waiting(open_grid()) == 0
    tried = [settings for settings, _ in finished(study)]
    assert len(tried) == 3
    assert sorted(map(str, tried)) == sorted(str(values) for values in grid if values != grid[2])
