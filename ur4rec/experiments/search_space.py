"""What tuning may vary: data in a YAML file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from optuna.trial import BaseTrial
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, RootModel, model_validator

from ur4rec.config import CONFIGS, Config
from ur4rec.experiments.stage_cache import check_stage, list_read
from ur4rec.experiments.yaml_files import ExperimentError, read_yaml
from ur4rec.training.config import StageConfig

SHIPPED_SPACE = CONFIGS / "experiments" / "tuning.yaml"
FIXED = ("seed", "seen_items")
"""Of these, no value is better: one is chance, the other what all are measured by."""
TOLERANCE = 1e-8
DIGITS = 12
"""Kept of a float, so that a step of 0.1 gives 0.3 and not 0.30000000000000004."""

Scalar = bool | int | float | str | None


LARGEST_GRID = 10_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Part):
    """Numbers from `low` to `high`, both included; whole numbers where the field is one."""

    low: FiniteFloat
    high: FiniteFloat
    step: float | None = Field(None, gt=0)
    log: bool = False
    """Drawn evenly over the logarithm."""

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log: goes with a positive low and without step")
        if not self.contains(self.high):
            raise ValueError(f"high {self.high:g} is no number of steps {self.step:g} above low {self.low:g}")
        return self

    def ends(self) -> list[Any]:
        """What must be valid for every value to be."""
        return [self.low, self.high, self.low + (self.step or 0)]

    def contains(self, value: Any) -> bool:
        """Whether a trial may come to `value`."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < TOLERANCE

    def values(self, name: str) -> list[Any]:
        """Every value that a trial may come to.

        Raises:
            ExperimentError: They are not counted.
        """
        is_whole = Config.model_fields[name].annotation is int
        if self.log or not (is_whole or self.step):
            raise ExperimentError(f"{name}: --grid needs a list of values, or low, high and step without log")
        step = self.step or 1
        values = [self.low + step * number for number in range(round((self.high - self.low) / step) + 1)]
        return [int(value) if is_whole else tidy(value) for value in values]

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        """A value of the trial."""
        if Config.model_fields[name].annotation is int:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return tidy(trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log))


class Choices(_Part):
    """One of a few values; a list of them does as well."""

    choices: Annotated[tuple[Scalar, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _read_list(cls, given: Any) -> Any:
        return {"choices": given} if isinstance(given, list) else given

    def ends(self) -> list[Any]:
        """What must be valid for every value to be."""
        return list(self.choices)

    def contains(self, value: Any) -> bool:
        """Whether a trial may come to `value`."""
        return value in self.choices

    def values(self, name: str) -> list[Any]:
        """Every value that a trial may come to."""
        return list(self.choices)

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        """A value of the trial."""
        value: Scalar = trial.suggest_categorical(name, self.choices)
        return value


class _Space(RootModel[Annotated[dict[str, Range | Choices], Field(min_length=1)]]):
    pass


SearchSpace = Mapping[str, Range | Choices]
"""Key of the configuration → what it may be."""


def load_space(path: Path | None, base: Config, stage: str) -> SearchSpace:
    """Read a search space, the shipped one without a path, and check it with a base configuration and a last stage.

    Raises:
        ExperimentError: The file cannot be read, or the stages read no such key; names both. Or the system has no such
            stage.
        ConfigError: A key is unknown or a value out of range; names both.
    """
    check_stage(stage, base, "--stage")
    path = path or SHIPPED_SPACE
    space = read_yaml(path, _Space).root
    read = list_read(stage, base.narrow(StageConfig))
    for name, parameter in space.items():
        ends = [Config.parse(base.to_dict() | {name: value}, str(path)).to_dict()[name] for value in parameter.ends()]
        if isinstance(parameter, Choices):
            space[name] = Choices(choices=tuple(dict.fromkeys(ends)))  # as the configuration spells them
        if name not in read or name in FIXED:
            raise ExperimentError(
                f"{path}: {name}: the stages up to {stage} do not read it, it is the seed, or all trials are measured "
                "by it; leave it out, in a file for --space"
            )
        if isinstance(parameter, Range) and Config.model_fields[name].annotation not in (int, float):
            raise ExperimentError(f"{path}: {name}: is no number; expected choices instead of low and high")
    return space


def list_grid(space: SearchSpace) -> list[dict[str, Scalar]]:
    """Return every combination of the values of a space, the last key changing first.

    Raises:
        ExperimentError: A range has values without number, or there are too many combinations.
    """
    values = [parameter.values(name) for name, parameter in space.items()]
    if (size := math.prod(map(len, values))) > LARGEST_GRID:
        raise ExperimentError(f"--grid: {size:,} combinations; expected at most {LARGEST_GRID:,}; name fewer values")
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*values)]


def find_outside(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, of keys that are searched, which no trial may come to."""
    return {name: values[name] for name, parameter in space.items() if not parameter.contains(values[name])}


def suggest(space: SearchSpace, trial: BaseTrial) -> dict[str, Scalar]:
    """A value for each key."""
    return {name: parameter.suggest(trial, name) for name, parameter in space.items()}


def tidy(value: Scalar) -> Scalar:
    """A float without the noise of its last digits.

    >>> tidy(0.1 + 2 * 0.1), tidy(7)
    (0.3, 7)
    """
    return round(value, DIGITS) if isinstance(value, float) else value
