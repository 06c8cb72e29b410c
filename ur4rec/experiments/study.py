"""The Optuna study of a tuning: kept in one file, continued where it was left; what is pruned, what mattered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import Study, Trial
from optuna.exceptions import StorageInternalError
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ur4rec.experiments.search_space import SearchSpace, find_outside
from ur4rec.experiments.yaml_files import ExperimentError

STUDY_FILE = "study.db"
NAME = "tune"
SETTINGS, ERROR = "settings", "error"
SAMPLER_SEED = 0
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
WARMUP_TRIALS = 5
"""Trials that must have finished a stage before its median prunes another."""
BEST_SHARE = 0.1
"""Importances tell the best tenth of the trials from all."""
MIN_TRIALS_FOR_IMPORTANCE = 41
"""The fewest of which five are the best tenth, as Optuna advises; of fewer, noise is often above what matters."""


class StagePruner(BasePruner):
    """Gives a trial up whose last stage came out below the median of the same stage of the trials before it.

    Optuna's `MedianPruner` compares the best value of all steps so far, here of another part of the model.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is given up after its last stage."""
        stage = trial.last_step
        assert stage is not None
        values = [
            other.intermediate_values[stage]
            for other in study.get_trials(deepcopy=False, states=FINISHED)
            if stage in other.intermediate_values
        ]
        return len(values) >= WARMUP_TRIALS and trial.intermediate_values[stage] < float(np.median(values))


def open_study(output: Path, settings: dict[str, Any], prune: bool) -> Study:
    """Opens the study of a folder, or begins one.

    Trials that a killed process left unfinished are queued to be tried again with the same values. `settings` are
    everything that a trial's value depends on besides the tuned keys.

    Raises:
        ExperimentError: The folder holds a study with other settings; names those that differ.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: BasePruner = StagePruner() if prune else NopPruner()
    file = (output / STUDY_FILE).absolute()
    is_new = not file.exists()
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file}", study_name=NAME, direction="maximize", pruner=pruner, load_if_exists=True
        )
    except SQLAlchemyError:
        if is_new:
            file.unlink(missing_ok=True)  # half made
        raise
    _check_settings(study, settings, output)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, skip_if_exists=False)
    return study


@contextmanager
def explaining_database(output: Path) -> Iterator[None]:
    """Names the study of a folder where its database fails.

    Raises:
        ExperimentError: The disk is full, say.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        reason = getattr(cause, "orig", cause)
        raise ExperimentError(f"{output / STUDY_FILE}: {reason}; free some space, or choose another --output") from None


def begin_with(study: Study, space: SearchSpace, base: dict[str, Any]) -> None:
    """Makes the base configuration the first trial, where the space holds it."""
    if not study.trials and not find_outside(space, base):
        study.enqueue_trial({name: base[name] for name in space})


def queue_grid(study: Study, grid: Iterable[dict[str, Any]]) -> None:
    """Makes every combination that is no trial yet one, in order."""
    for values in grid:
        study.enqueue_trial(values, skip_if_exists=True)


def count_waiting(study: Study) -> int:
    """Trials whose values are known and that have not begun."""
    return len(study.get_trials(deepcopy=False, states=[TrialState.WAITING]))


def ask(study: Study) -> Trial:
    """The next trial.

    Its values follow from its place and from what is known by then, so that a study that was interrupted goes on as if
    it had not been.
    """
    study.sampler = TPESampler(seed=SAMPLER_SEED + count_asked(study))
    return study.ask()


def count_asked(study: Study) -> int:
    """Trials asked for so far, without the interrupted ones: those that failed without an error of their own."""
    counted = (TrialState.RUNNING, *FINISHED)
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state in counted or ERROR in trial.user_attrs for trial in trials)


def fail(study: Study, trial: Trial, error: str) -> None:
    """Ends a trial without a value, for good."""
    trial.set_user_attr(ERROR, error)
    study.tell(trial, state=TrialState.FAIL)


def count_finished(study: Study) -> int:
    """Trials that came to an end, complete or pruned."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def rank_trials(study: Study) -> list[FrozenTrial]:
    """Complete trials, best first; of equal ones the earlier."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return sorted(trials, key=lambda trial: (-trial.values[0], trial.number))


def weigh_importance(study: Study) -> dict[str, float]:
    """Key → share of what tells the best tenth of the complete trials from all (Watanabe et al. 2023, "PED-ANOVA").

    Empty for fewer than `MIN_TRIALS_FOR_IMPORTANCE` trials, and where all values are equal.
    """
    ranked = rank_trials(study)
    if len(ranked) < MIN_TRIALS_FOR_IMPORTANCE or ranked[0].value == ranked[-1].value:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _check_settings(study: Study, settings: dict[str, Any], output: Path) -> None:
    kept = study.user_attrs.get(SETTINGS)
    wanted = json.loads(json.dumps(settings))
    if kept is None:
        study.set_user_attr(SETTINGS, wanted)
    elif kept != wanted:
        differing = ", ".join(
            sorted(name for name in kept.keys() | wanted.keys() if kept.get(name) != wanted.get(name))
        )
        raise ExperimentError(f"{output}: holds trials with another {differing}; choose another --output")
