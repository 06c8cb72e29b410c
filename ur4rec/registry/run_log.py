"""A run in MLflow: what it shows (parameters, curves of every stage, test metrics, files), and how it ends.

A run names the process that made it, so that the next registration can end the run of one that was killed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ur4rec.evaluation.results import Results
from ur4rec.registry.environment import PUBLIC_TRACKING_URL
from ur4rec.registry.mlflow_client import (
    GONE,
    TRACKING_URI,
    RegistryError,
    answer_or_none,
    ensure_experiment,
    public_uri,
    resolve_tracking_uri,
)
from ur4rec.storage.temporaries import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

RUN_ID = "MLFLOW_RUN_ID"
METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
NOT_A_CURVE = ("epoch", "step")
IN_EVERY_EPOCH = "ndcg@10"
TAG_NOTE = "mlflow.note.content"
"""What MLflow's interface shows, as Markdown, on the page of a run."""
OWNER = "ur4rec.process"
"""Tag of a run: the machine, the process and when that began."""
LONGEST_S = 24 * 3600
"""No registration takes longer: an older run of a machine that cannot be asked has no process any more."""


@contextmanager
def open_run(client: MlflowClient, experiment_name: str, preset: str | None) -> Iterator[Run]:
    """Open the run to log into: the preset one, else a new one in the experiment.

    A preset run belongs to who made it (a KFP plugin, say), so it is left open whatever happens; a new one
    ends as FINISHED, or FAILED after an exception.

    Raises:
        RegistryError: The preset run cannot be used.
    """
    if preset:
        yield get_preset_run(client, preset)
        return
    run = client.create_run(ensure_experiment(client, experiment_name), tags={OWNER: name_process()})
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, status)


def find_preset_run(tracking_uri: str | None) -> str | None:
    """Return what `MLFLOW_RUN_ID` names, unless the caller chose another server than the environment's.

    To be called before `open_mlflow`, which sets `MLFLOW_TRACKING_URI` for its duration.
    """
    elsewhere = (
        tracking_uri and TRACKING_URI in os.environ and resolve_tracking_uri(tracking_uri) != resolve_tracking_uri(None)
    )
    return None if elsewhere else os.environ.get(RUN_ID)


def log_params(client: MlflowClient, run: Run, config: Mapping[str, Any]) -> None:
    """Log a flat configuration; a parameter that the run has already is kept, as MLflow refuses to change one."""
    from mlflow.entities import Param

    params = [Param(key, str(value)) for key, value in config.items() if key not in run.data.params]
    for start in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run.info.run_id, params=params[start : start + PARAMS_PER_BATCH])


def log_curves(client: MlflowClient, run_id: str, history: Path) -> None:
    """Log every number of every epoch as `<stage>/<metric>`; epochs that the run has already are left out."""
    for stage in read_stages(history):
        prefix = f"{stage['stage']}/"
        log_epochs(client, run_id, prefix, stage["series"], find_last_epoch(client, run_id, prefix))


def read_stages(history: Path) -> list[dict[str, Any]]:
    """Read the stages of a `history.json`, each with its `stage` and its `series`."""
    stages: list[dict[str, Any]] = json.loads(history.read_text(encoding="utf-8"))["stages"]
    return stages


def find_last_epoch(client: MlflowClient, run_id: str, prefix: str) -> int:
    """Return the last epoch of a stage that the run has; -1 where it has none."""
    points = client.get_metric_history(run_id, metric_key(prefix + IN_EVERY_EPOCH))
    return max((point.step for point in points), default=-1)


def log_epochs(
    client: MlflowClient, run_id: str, prefix: str, series: Sequence[Mapping[str, Any]], after: int = -1
) -> None:
    """Log every number of the epochs after one as `<prefix><metric>`, with the epoch as step."""
    _log_metrics(
        client,
        run_id,
        [
            _metric(prefix + name, value, step=int(row["epoch"]))
            for row in series
            if row["epoch"] > after
            for name, value in row.items()
            if name not in NOT_A_CURVE and _is_number(value)
        ],
    )


def log_test_metrics(client: MlflowClient, run_id: str, model_id: str, results: Results) -> None:
    """Logs `test/<system>/<metric>` and the ends of its interval, if it has one, for the run and the logged model."""
    metrics = []
    for system, name, figure in results.test_figures():
        bounds = zip(("_ci95_low", "_ci95_high"), figure.ci95 or (), strict=False)
        for suffix, value in (("", figure.value), *bounds):
            metrics.append(_metric(f"test/{system}/{name}{suffix}", value, model_id=model_id))
    _log_metrics(client, run_id, metrics)


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, Path]) -> None:
    """Upload files under the names given: KFP's own names say nothing."""
    with scratch_folder("run") as scratch:
        for name, source in files.items():
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        client.log_artifacts(run_id, str(scratch))


def find_public_address(client: MlflowClient) -> str:
    """Return where a person's browser finds MLflow, as far as the environment knows better than the client."""
    return (os.environ.get(PUBLIC_TRACKING_URL) or public_uri(str(client.tracking_uri))).rstrip("/")


def metric_key(name: str) -> str:
    """Spell a metric as MLflow does, which allows no `@`."""
    return name.replace("@", "_at_")


def get_preset_run(client: MlflowClient, run_id: str) -> Run:
    """Return the run that `MLFLOW_RUN_ID` names.

    Raises:
        RegistryError: It cannot be used.
    """
    run = answer_or_none(GONE, client.get_run, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        raise RegistryError(f"{RUN_ID}={run_id}: no such run, or it is deleted; unset {RUN_ID} to log a new one")
    return run


def _log_metrics(client: MlflowClient, run_id: str, metrics: list[Metric]) -> None:
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])


def _metric(name: str, value: float, step: int = 0, model_id: str | None = None) -> Metric:
    from mlflow.entities import Metric

    return Metric(metric_key(name), float(value), int(time.time() * 1000), step, model_id=model_id)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def name_process() -> str:
    """Name this process as no other was ever named."""
    return f"{_name_machine()} {os.getpid()} {_find_beginning(os.getpid())}"


def end_abandoned_runs(client: MlflowClient, experiment_name: str) -> None:
    """End as KILLED the runs that killed registrations have left, and as FAILED the models they were uploading.

    Runs of processes that still run stay, and so do those that something else has made.
    """
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
        if _is_abandoned(run):
            for model in client.search_logged_models([experiment.experiment_id]):
                if model.source_run_id == run.info.run_id and model.status == "PENDING":
                    client.finalize_logged_model(model.model_id, "FAILED")
            client.set_terminated(run.info.run_id, "KILLED")


def _is_abandoned(run: Run) -> bool:
    owner = run.data.tags.get(OWNER)
    if owner is None:
        return False
    machine, process, beginning = owner.split(" ")
    if machine == _name_machine():
        return _find_beginning(int(process)) != beginning
    return bool(time.time() - run.info.start_time / 1000 > LONGEST_S)


def _name_machine() -> str:
    """Name the machine, or the container: processes are numbered anew in each."""
    numbering = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{numbering.readlink() if numbering.is_symlink() else ''}"


def _find_beginning(process: int) -> str:
    """Tell when a process began, in ticks since the machine did (field 22 of its `stat`); empty where it has ended.

    Where there is no `/proc`, a process of this number just runs.
    """
    try:
        if not Path("/proc/self/stat").exists():
            os.kill(process, 0)
            return "runs"
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
