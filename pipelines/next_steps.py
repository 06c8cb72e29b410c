"""Where a run has put its results, and what to do with them, in lines for the shell."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from itertools import islice
from pathlib import Path

from pipelines.local_run import LocalRun, Outcome
from pipelines.task_log import Status
from ur4rec.data.sequences import USER_MAP
from ur4rec.registry.champion.retrain import RetrainOutcome
from ur4rec.registry.register import Registration
from ur4rec.terminal import PlainConsole
from ur4rec.training.export import LOGS, REPORT


def show_next_steps(console: PlainConsole, run: LocalRun, outcome: Outcome, tracking_uri: str) -> None:
    """Prints the places and the commands.

    Args:
        console: Where to print.
        run: What was run.
        outcome: What became of it.
        tracking_uri: MLflow's address without credentials.
    """
    registration = Registration.model_validate_json(outcome.outputs["registration"].read_bytes())
    promotion = RetrainOutcome.model_validate_json(outcome.outputs["promotion"].read_bytes())
    is_new = _is_registered_now(outcome)
    for name, text in (
        ("report", str(run.output_dir / REPORT)),
        ("outputs", str(run.output_dir)),
        ("model", describe_version(registration, is_new)),
        ("gate", promotion.notice),
        ("experiments", _browse(tracking_uri)),
        ("curves", f"{name_program('tensorboard')} --logdir {shlex.quote(str(run.output_dir / LOGS))}"),
        ("try it", recommend_command(registration, is_new, _find_user(outcome.outputs["sequences"]))),
    ):
        console.tell(f"{name + ':':<13}{text}")


def describe_version(registration: Registration, is_new: bool) -> str:
    """The version in words; the alias of one that is not new may have moved on."""
    version = f"{registration.name} version {registration.version}"
    return f"{version}, alias {registration.alias}" if is_new else f"{version}, registered in an earlier run"


def recommend_command(registration: Registration, is_new: bool, user: str) -> str:
    """Asks this run's model; the alias of one that is not new may have moved on."""
    model = f"models:/{registration.name}@{registration.alias}" if is_new else registration.model_uri
    return f"{name_program('ur4rec')} recommend --user {shlex.quote(user)} --model {shlex.quote(model)}"


def name_program(program: str) -> str:
    """What to type for a program of this Python environment: its name where the shell finds it, else its path."""
    own = Path(sys.executable).parent / program
    found = shutil.which(program)
    if not own.exists() or (found and own.samefile(found)):
        return program
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def _is_registered_now(outcome: Outcome) -> bool:
    maker = next(task for task in outcome.tasks if "registration" in task.outputs)
    return maker.status is not Status.CACHED


def _browse(tracking_uri: str) -> str:
    if tracking_uri.startswith("http"):
        return tracking_uri
    return f"{name_program('mlflow')} ui --backend-store-uri {shlex.quote(tracking_uri)}"


def _find_user(sequences: Path) -> str:
    users = json.loads((sequences / USER_MAP).read_bytes())
    return str(next(islice(users, 1)))
