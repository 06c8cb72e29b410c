"""Ways between a run of the pipeline, a run of MLflow and a version of the registered model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from ur4rec.markdown import escape_markdown
from ur4rec.registry.tracking import public_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PIPELINE_RUN = "KFP_RUN_ID"
"""Variable of a task on a cluster; tasks of a run on this machine have none."""
TAG_PIPELINE_RUN = "ur4rec.kfp_run_id"
TAG_VERSION = "ur4rec.model_version"
"""Of a run: `name/number`. A version names its run itself."""
TAG_NOTE = "mlflow.note.content"
"""What MLflow's interface shows, as Markdown, on the page of a run."""


def pipeline_tags() -> dict[str, str]:
    """Tags that name the run of the pipeline this process belongs to, if it does."""
    run_id = os.environ.get(PIPELINE_RUN, "")
    return {TAG_PIPELINE_RUN: run_id} if run_id else {}


def link_run(client: MlflowClient, version: ModelVersion, card: str) -> None:
    """Makes the run of a version name the version and the run of the pipeline, and show the card.

    A run that has a description, such as one that somebody else made, keeps it.
    """
    run_id = str(version.run_id)
    tags = {TAG_VERSION: f"{version.name}/{version.version}", **pipeline_tags()}
    if not client.get_run(run_id).data.tags.get(TAG_NOTE):
        tags[TAG_NOTE] = card
    for key, value in tags.items():
        client.set_tag(run_id, key, value)


def describe_links(client: MlflowClient, version: ModelVersion) -> str:
    """Markdown that leads from the pipeline's interface to MLflow's; names alone where MLflow has no address."""
    experiment = client.get_run(str(version.run_id)).info.experiment_id
    base = public_uri(str(client.tracking_uri)).rstrip("/")
    places = {
        f"{version.name} version {version.version}": f"models/{quote(version.name)}/versions/{version.version}",
        f"run {version.run_id}": f"experiments/{experiment}/runs/{version.run_id}",
    }
    if not base.startswith(("http://", "https://")):
        return escape_markdown(", ".join(places) + f" in {base}")
    return ", ".join(f"[{escape_markdown(name)}]({base}/#/{place})" for name, place in places.items())
