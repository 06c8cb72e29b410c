"""Runs the trials of a search, stage by stage, in worker processes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path

from optuna import Study, Trial
from optuna.trial import TrialState

from ur4rec.config import Config
from ur4rec.config_section import ConfigError
from ur4rec.experiments import study as studies
from ur4rec.experiments.search_space import SearchSpace, suggest
from ur4rec.experiments.stage_cache import STAGES_FOLDER, StageInputs, check_stage, obtain_stages
from ur4rec.experiments.workers import Failure, open_workers
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.writing import writing
from ur4rec.training.config import STAGES, StageConfig
from ur4rec.training.stages import stages_of

LOGS_FOLDER = "logs"

OnTrial = Callable[[int, float | None, int], None]
"""Called with the number of a trial that has ended, its value (None: failed or pruned), and how many are finished."""


@dataclass(frozen=True)
class Search:
    """What to search, and for how long.

    Args:
        space: What may vary.
        num_trials: Finished trials to come to, those of earlier runs included.
        metric: Of `METRICS`; higher is better.
        stage: The last stage that is trained; its validation metric counts.
        timeout_s: No trial begins later than this after the start; None for no limit.
        prune: Whether a trial ends after a stage that came out below the median of the same stage.
    """

    space: SearchSpace
    num_trials: int = 20
    metric: str = "ndcg@10"
    stage: str = STAGES[-1]
    timeout_s: float | None = None
    prune: bool = False


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
