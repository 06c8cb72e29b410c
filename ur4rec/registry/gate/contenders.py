"""Versions in the registry that a gate compares, their files, and the place of its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ur4rec.registry.gate.sides import Contender
from ur4rec.registry.gate.summary import render_markdown
from ur4rec.registry.gate.verdict import TAG_VERDICT, Verdict, write_verdict
from ur4rec.registry.model_package import BUNDLE_PATH
from ur4rec.registry.tracking import GONE
from ur4rec.registry.versions import TAG_MODEL, pinned_address
from ur4rec.storage.artifacts import MANIFEST, write_text_atomic
from ur4rec.storage.temporaries import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "gate"
"""Of the run's artifacts."""
VERDICT, SUMMARY = "verdict.json", "summary.md"


def fetch_contender(client: MlflowClient, version: ModelVersion, scratch: Path) -> Contender:
    """Downloads a version's bundle; where it is gone, the contender says so.

    Only what the store answers counts as gone: a store that does not answer is an error, so that an outage never
    lets a challenger pass.

    Raises:
        MlflowException: The store or the server does not answer.
    """
    import mlflow.artifacts

    number = str(version.version)
    if not _has_bundle(client, version):
        return Contender(number, problem="its artifacts are gone")
    target = scratch / number
    target.mkdir(exist_ok=True)
    address = f"{pinned_address(version)}/{BUNDLE_PATH}"
    return Contender(number, Path(mlflow.artifacts.download_artifacts(address, dst_path=str(target))))


def record_verdict(client: MlflowClient, version: ModelVersion, verdict: Verdict) -> None:
    """Stores a verdict as files of the version's run and as tags of the version.

    The tag with the decision goes first and comes back last: after a crash there is none rather than an old one.
    """
    if TAG_VERDICT in version.tags:
        client.delete_model_version_tag(version.name, str(version.version), TAG_VERDICT)
    with scratch_folder("verdict") as scratch:
        write_verdict(verdict, scratch / VERDICT)
        write_text_atomic(scratch / SUMMARY, render_markdown(verdict))
        client.log_artifacts(str(version.run_id), str(scratch), FOLDER)
    for key, value in sorted(verdict.tags().items(), key=lambda tag: tag[0] == TAG_VERDICT):
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _has_bundle(client: MlflowClient, version: ModelVersion) -> bool:
    from mlflow.exceptions import MlflowException

    model_id = version.tags.get(TAG_MODEL) or version.model_id
    if not model_id:
        return False
    try:
        files = client.list_logged_model_artifacts(model_id, BUNDLE_PATH)
    except MlflowException as error:
        if error.error_code != GONE:
            raise
        return False
    return f"{BUNDLE_PATH}/{MANIFEST}" in {file.path for file in files}
