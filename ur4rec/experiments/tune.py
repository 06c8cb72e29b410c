"""Searches for settings with a better validation metric: trials in worker processes, stage by stage."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from optuna import Study, Trial
from optuna.trial import TrialState

from ur4rec.auto.settle import settle
from ur4rec.config import Config
from ur4rec.config_section import ConfigError
from ur4rec.data.sequences import load_sequences
from ur4rec.experiments import study as studies
from ur4rec.experiments.search_space import SearchSpace, list_grid, suggest, tidy
from ur4rec.experiments.stage_cache import STAGES_FOLDER, StageInputs, check_stage, obtain_stages, read_inputs
from ur4rec.experiments.variants import check_metric
from ur4rec.experiments.workers import Failure, open_workers
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.locks import hold_lock
from ur4rec.storage.writing import writing
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_names import STAGES
from ur4rec.training.stages import stages_of

BEST = "best.yaml"
LOCK = "tune.lock"
LOGS_FOLDER = "logs"

OnTrial = Callable[[int, float | None, int], None]
"""Called with the number of a trial that has ended, its value (None: failed or pruned), and how many are finished."""


@dataclass(frozen=True)
class Search:
    """What to search, and for how long."""

    space: SearchSpace
    num_trials: int = 20
    """Finished trials to come to, those of earlier runs included."""
    metric: str = "ndcg@10"
    """A name in `METRICS`; higher is better."""
    stage: str = STAGES[-1]
    """The last stage that is trained; its validation metric counts."""
    timeout_s: float | None = None
    """No trial begins later than this after the start."""
    prune: bool = False
    """Whether a trial ends after a stage that came out below the median of the same stage."""
    grid: bool = False
    """Whether the trials are every combination of the space's values, and nothing else."""


@dataclass(frozen=True)
class Step:
    """One stage of one trial."""

    number: int
    config: StageConfig
    stage: str
    inputs: StageInputs
    output: Path


def train_step(step: Step) -> dict[str, float]:
    """Trains a stage unless it is there; returns its metrics on the validation targets. No test target is read."""
    log = step.output / LOGS_FOLDER / f"trial_{step.number}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with writing(log), log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file):
        return obtain_stages(step.output / STAGES_FOLDER, step.inputs, step.config, step.stage)[-1].validation()


@dataclass
class TrialRunner:
    """Asks for trials and tells what they came to; only this process touches the study.

    Attributes:
        failures: Trial → its error.
    """

    study: Study
    search: Search
    base: Config
    inputs: StageInputs
    output: Path
    on_trial: OnTrial
    failures: dict[str, str] = field(default_factory=dict)
    _running: dict[int, Trial] = field(default_factory=dict)
    _ready: deque[Step] = field(default_factory=deque)
    _remaining: int = 0
    _end: float = math.inf

    def run(self, jobs: int) -> None:
        """Runs trials until there are enough or the time is over; one that has begun is brought to its end."""
        self._remaining = self.search.num_trials - studies.count_finished(self.study)
        if self.search.grid:
            self._remaining = min(self._remaining, studies.count_waiting(self.study))
        self._end = time.monotonic() + (math.inf if self.search.timeout_s is None else self.search.timeout_s)
        with open_workers(train_step, jobs) as workers:
            while True:
                while workers.has_room and (step := self._next_step()):
                    workers.submit(step)
                if not workers.is_busy:
                    return
                self._follow(*workers.wait())

    def _next_step(self) -> Step | None:
        """The next stage of a trial that has begun, else the first of a new one."""
        while not self._ready and self._remaining > 0 and time.monotonic() < self._end:
            self._remaining -= 1
            self._begin()
        return self._ready.popleft() if self._ready else None

    def _begin(self) -> None:
        trial = studies.ask(self.study)
        try:
            config = Config.parse(self.base.to_dict() | suggest(self.search.space, trial), f"trial {trial.number}")
            check_stage(self.search.stage, config, f"trial {trial.number}")
        except (ConfigError, ExperimentError) as error:
            self._fail(trial, str(error))
            return
        self._running[trial.number] = trial
        first = stages_of(config)[0]
        self._ready.append(Step(trial.number, config.narrow(StageConfig), first, self.inputs, self.output))

    def _follow(self, step: Step, outcome: dict[str, float] | Failure) -> None:
        trial = self._running[step.number]
        if isinstance(outcome, Failure):
            self._fail(trial, outcome.error)
            return
        value = outcome[self.search.metric]
        trial.report(value, STAGES.index(step.stage))
        if step.stage == self.search.stage:
            self.study.tell(trial, value)
            self._report(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            self._report(trial, None)
        else:
            stages = stages_of(step.config)
            self._ready.append(replace(step, stage=stages[stages.index(step.stage) + 1]))

    def _fail(self, trial: Trial, error: str) -> None:
        self.failures[f"trial {trial.number}"] = error
        studies.fail(self.study, trial, error)
        self._report(trial, None)

    def _report(self, trial: Trial, value: float | None) -> None:
        self.on_trial(trial.number, value, studies.count_finished(self.study))


@dataclass(frozen=True)
class RankedTrial:
    """A complete trial."""

    number: int
    value: float
    settings: dict[str, Any]


@dataclass(frozen=True)
class Tuning:
    """What a search came to."""

    trials: list[RankedTrial]
    """Complete ones, best first."""
    num_pruned: int
    best: Config | None
    """The whole configuration of the best trial."""
    importance: dict[str, float]
    """See `study.weigh_importance`."""
    failures: dict[str, str]
    """Trial of this run → its error."""

    @property
    def missing_for_importance(self) -> int:
        """Complete trials to go until importances can be trusted."""
        return max(studies.MIN_TRIALS_FOR_IMPORTANCE - len(self.trials), 0)


def tune(
    sequences: Path,
    embeddings: Path,
    output: Path,
    config: Config,
    search: Search,
    jobs: int = 1,
    device: str = "auto",
    on_trial: OnTrial = lambda number, value, done: None,
) -> Tuning:
    """Run the trials that an earlier run has not left in `output`, and write `best.yaml` there.

    The value of a trial is the metric that its last stage measured on the validation targets. No test target is read.
    The configuration is the first trial, where the space holds it; the trials of a grid come in order. More than one of
    the `jobs`, a process each, makes the order of results, and so the later trials, depend on time.

    Raises:
        ExperimentError: The metric is unknown, the folder holds trials with other settings, another process is
            writing there, or the study cannot be kept.
        ArtifactError: A folder is altered.
    """
    check_metric(search.metric)
    inputs = read_inputs(sequences, embeddings, device)
    config = settle(config, load_sequences(sequences), "tune")
    output.mkdir(parents=True, exist_ok=True)
    message = f"{output}: another process is tuning there; wait for it or choose another --output"
    with hold_lock(output / LOCK, ExperimentError(message)), studies.explaining_database(output):
        study = studies.open_study(output, _list_settings(config, search, inputs), search.prune)
        if search.grid:
            studies.queue_grid(study, list_grid(search.space))
        else:
            studies.begin_with(study, search.space, config.to_dict())
        runner = TrialRunner(study, search, config, inputs, output, on_trial)
        runner.run(jobs)
        tuning = _summarize(study, config, runner.failures)
        if tuning.best:
            _write_best(output / BEST, tuning, search)
    return tuning


def _list_settings(config: Config, search: Search, inputs: StageInputs) -> dict[str, Any]:
    """What makes the values of two trials comparable, by the name an error gives it."""
    fixed = config.narrow(StageConfig).to_dict()
    return {
        "search space": {name: parameter.model_dump() for name, parameter in search.space.items()},
        "metric": search.metric,
        "last stage": search.stage,
        **({"way to search, --grid or not": "grid"} if search.grid else {}),
        "device": inputs.device,
        "sequences folder": inputs.sequences_digest,
        "embeddings folder": inputs.embeddings_digest,
        "training code": inputs.code,
        **{name: value for name, value in fixed.items() if name not in search.space},
    }


def _summarize(study: Study, base: Config, failures: dict[str, str]) -> Tuning:
    ranked = [
        RankedTrial(trial.number, trial.values[0], {name: tidy(value) for name, value in trial.params.items()})
        for trial in studies.rank_trials(study)
    ]
    best = Config.parse(base.to_dict() | ranked[0].settings, f"trial {ranked[0].number}") if ranked else None
    pruned = len(study.get_trials(deepcopy=False, states=[TrialState.PRUNED]))
    return Tuning(ranked, pruned, best, studies.weigh_importance(study), failures)


def _write_best(path: Path, tuning: Tuning, search: Search) -> None:
    assert tuning.best is not None
    best = tuning.trials[0]
    head = (
        f"# Trial {best.number}, the best of {len(tuning.trials)}: validation {search.metric} {best.value:.4f} "
        f"after {search.stage}\n"
    )
    write_text_atomic(path, head + yaml.safe_dump(tuning.best.to_dict(), sort_keys=False))
