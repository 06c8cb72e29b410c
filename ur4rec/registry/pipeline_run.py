"""The one run in MLflow of a run of the pipeline, and a child of it for each stage; both are found again by tags.

The first task makes the run and deletes it, as MLflow deletes: it is not shown, and can be restored. The first task
that has something to log restores it. So nothing shows of a run whose tasks all came from a cache, every task finds
the experiment by the id of its run, and a server that has no such run is not the one that the first task was told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ur4rec.registry.environment import LOCAL_RUN, PIPELINE_RUN, RUN_OWNER
from ur4rec.registry.mlflow_client import ensure_experiment, open_mlflow
from ur4rec.registry.run_log import (
    OWNER,
    TAG_NOTE,
    find_last_epoch,
    find_public_address,
    get_preset_run,
    log_epochs,
    log_params,
    open_run,
    read_stages,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG_RUN = "ur4rec.pipeline_run"
"""Tag of the pipeline's run: its id there."""
TAG_STAGE = "ur4rec.stage"
TAG_FAILURE = "ur4rec.failure"
"""Tag of a run that failed or was stopped: the reason."""
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
PROBE = "preflight.txt"
LONGEST_REASON = 1000
ACTIVE = "active"
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"


def find_pipeline_id() -> str:
    """Return the id of the pipeline's run that this process belongs to; empty where it belongs to none."""
    return os.environ.get(PIPELINE_RUN) or os.environ.get(LOCAL_RUN, "")


def announce_run(client: MlflowClient, experiment: str) -> None:
    """Make the run with a file, and delete it until a task restores it; a run that is there is left alone."""
    pipeline = find_pipeline_id()
    if not pipeline or find_run(client, pipeline):
        return
    run_id = _make(client, experiment, pipeline).info.run_id
    try:
        client.log_text(run_id, "All that this run needs was there when it began.\n", PROBE)
        client.set_terminated(run_id)
    finally:
        client.delete_run(run_id)


def find_run(client: MlflowClient, pipeline: str) -> Run | None:
    """Find the run, deleted or not, in whatever experiment it is; None where this server has none."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return _find(client, experiments, {TAG_RUN: pipeline})


@contextmanager
def open_pipeline_run(client: MlflowClient, experiment_name: str, preset: str | None) -> Iterator[Run]:
    """Open the run to register from, as `open_run` does; a task of the pipeline goes on with the pipeline's."""
    pipeline = find_pipeline_id()
    if preset or not pipeline:
        with open_run(client, experiment_name, preset) as run:
            yield run
        return
    found = find_run(client, pipeline) or _make(client, ensure_experiment(client, experiment_name), pipeline)
    run_id = reopen(client, found)
    try:
        yield client.get_run(run_id)
    except BaseException as error:
        close(client, run_id, *describe_end(error))
        raise
    close(client, run_id, FINISHED)


def finish_run(client: MlflowClient) -> None:
    """End the run as FINISHED where a task has begun it; what it tells is registered already."""
    pipeline = find_pipeline_id()
    run = find_run(client, pipeline) if pipeline else None
    if run is not None and run.info.lifecycle_stage == ACTIVE and run.info.status != FINISHED:
        close(client, reopen(client, run), FINISHED)


def end_run(status: str, reason: str) -> None:
    """End what still runs of the pipeline's run, for the pipeline has ended without registering a model.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    pipeline = find_pipeline_id()
    if not pipeline:
        return
    with open_mlflow() as client:
        parent = find_run(client, pipeline)
        if parent is None or parent.info.lifecycle_stage != ACTIVE:
            return
        for run in (*list_children(client, parent), parent):
            if run.info.status == RUNNING:
                close(client, run.info.run_id, status, reason)


def complete_children(client: MlflowClient, parent: Run, history: Path) -> None:
    """Log the epochs that the runs of stages lack, and end those that were not: the server was away, say."""
    series = {stage["stage"]: stage["series"] for stage in read_stages(history)}
    for child in list_children(client, parent):
        rows, run_id = series.get(child.data.tags.get(TAG_STAGE, ""), []), child.info.run_id
        log_epochs(client, run_id, "", rows, find_last_epoch(client, run_id, ""))
        if rows and child.info.status != FINISHED:
            close(client, reopen(client, child), FINISHED)


def list_children(client: MlflowClient, parent: Run) -> list[Run]:
    """List the runs of its stages."""
    return list(client.search_runs([parent.info.experiment_id], f"tags.`{PARENT}` = '{parent.info.run_id}'"))


def reopen(client: MlflowClient, run: Run) -> str:
    """Let a run go on, and forget that it failed; return its id."""
    run_id = str(run.info.run_id)
    if run.info.lifecycle_stage != ACTIVE:
        client.restore_run(run_id)
    if run.info.status != RUNNING:
        client.update_run(run_id, status=RUNNING)
    tags = run.data.tags
    for tag in {TAG_FAILURE, TAG_NOTE} & set(tags) if TAG_FAILURE in tags else ():
        client.delete_tag(run_id, tag)
    if owner := os.environ.get(RUN_OWNER):
        client.set_tag(run_id, OWNER, owner)
    return run_id


def close(client: MlflowClient, run_id: str, status: str, reason: str = "") -> None:
    """End a run; a reason is its description, which MLflow shows."""
    if reason:
        client.set_tag(run_id, TAG_FAILURE, reason)
        client.set_tag(run_id, TAG_NOTE, f"**{status}**: {reason}")
    client.set_terminated(run_id, status)


def describe_end(error: BaseException) -> tuple[str, str]:
    """Return the status of a run that an error ended, and one line of the reason.

    >>> describe_end(ValueError("no item")), describe_end(KeyError("loss")), describe_end(KeyboardInterrupt())
    (('FAILED', 'no item'), ('FAILED', "KeyError: 'loss'"), ('KILLED', 'stopped'))
    """
    if isinstance(error, KeyboardInterrupt):
        return KILLED, "stopped"
    words = " ".join(str(error).split())[:LONGEST_REASON]
    is_for_users = isinstance(error, ValueError) and words
    return FAILED, words if is_for_users else ": ".join(filter(None, (type(error).__name__, words)))


class StageRuns:
    """Where the curves of a stage go: `<stage>/<metric>` of the pipeline's run, and `<metric>` of the stage's own.

    A run that `MLFLOW_RUN_ID` names takes the place of both, and is left open.

    Args:
        client: Open.
        parent: The pipeline's run, or the one that is named.
        stage: Name of the stage.
        is_preset: Whether it is the one that is named.
    """

    def __init__(self, client: MlflowClient, parent: Run, stage: str, is_preset: bool) -> None:
        self._client, self._is_preset = client, is_preset
        parent_id = str(parent.info.run_id) if is_preset else reopen(client, parent)
        self._prefixes = {parent_id: f"{stage}/"}
        self._shown = parent_id
        """The run that shows the settings."""
        if not is_preset:
            self._shown = reopen(client, _open_child(client, parent, stage))
            self._prefixes[self._shown] = ""
        place = f"{find_public_address(client)}/#/experiments/{parent.info.experiment_id}/runs/{self._shown}"
        self.link = place if place.startswith("http") else ""
        """Where a browser finds the run of the stage; empty where MLflow is a file."""
        self._last = {run: find_last_epoch(client, run, prefix) for run, prefix in self._prefixes.items()}
        self._stage = stage

    def log(self, settings: Mapping[str, Any], series: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that are not there yet, and the settings before the first."""
        for run_id, prefix in self._prefixes.items():
            if series and series[-1]["epoch"] > self._last[run_id]:
                if run_id == self._shown and self._last[run_id] < 0:
                    log_params(self._client, self._client.get_run(run_id), settings)
                log_epochs(self._client, run_id, prefix, series, self._last[run_id])
                self._last[run_id] = int(series[-1]["epoch"])

    def close(self, status: str, reason: str) -> None:
        """End the stage's run; the pipeline's goes on with the next stage, unless this one failed."""
        if self._is_preset:
            if reason:
                self._client.set_tag(self._shown, TAG_FAILURE, reason)
            return
        close(self._client, self._shown, status, reason)
        for run_id in self._prefixes:
            if reason and run_id != self._shown:
                close(self._client, run_id, status, f"{self._stage}: {reason}")


def open_stage(client: MlflowClient, stage: str, preset: str | None) -> StageRuns | None:
    """Open the runs of a stage, those of an earlier attempt again; None where the pipeline's run is not announced.

    Raises:
        RegistryError: The preset run cannot be used.
    """
    parent = get_preset_run(client, preset) if preset else find_run(client, find_pipeline_id())
    return None if parent is None else StageRuns(client, parent, stage, bool(preset))


def _make(client: MlflowClient, experiment: str, pipeline: str) -> Run:
    tags = {TAG_RUN: pipeline, NAME: f"pipeline {pipeline[:8]}"}
    return _make_once(client, experiment, {TAG_RUN: pipeline}, tags)


def _open_child(client: MlflowClient, parent: Run, stage: str) -> Run:
    wanted = {PARENT: parent.info.run_id, TAG_STAGE: stage}
    experiment = parent.info.experiment_id
    return _find(client, [experiment], wanted) or _make_once(client, experiment, wanted, {**wanted, NAME: stage})


def _make_once(client: MlflowClient, experiment: str, wanted: Mapping[str, str], tags: Mapping[str, str]) -> Run:
    """Make a run; MLflow's client sends a request again when its answer was lost, so a second one is deleted."""
    made = client.create_run(experiment, tags=dict(tags))
    first = _find(client, [experiment], wanted) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def _find(client: MlflowClient, experiments: list[str], tags: Mapping[str, str]) -> Run | None:
    from mlflow.entities import ViewType

    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    order = ["attributes.start_time ASC"]
    found = client.search_runs(experiments, query, ViewType.ALL, max_results=1, order_by=order) if experiments else []
    return next(iter(found), None)
