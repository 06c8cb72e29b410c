"""Versions of the registered model: told apart by tags, found again by the digest of their inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ur4rec.evaluation.results import Results
from ur4rec.registry.model_package import BUNDLE_PATH, describe_code
from ur4rec.registry.run_log import metric_key
from ur4rec.registry.tracking import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

HEADLINE = "ndcg@10"
TAG_INPUTS = "ur4rec.inputs_digest"
TAG_MODEL = "ur4rec.model_id"
NEEDED = {"MLmodel": None, f"{BUNDLE_PATH}/manifest.json": BUNDLE_PATH}
"""Files without which a version cannot be served → the folder to look in."""


def find_version(client: MlflowClient, name: str, inputs_digest: str) -> ModelVersion | None:
    """The newest ready version made from the same inputs, provided its files are still there."""
    query = f"name = '{name}' and tags.`{TAG_INPUTS}` = '{inputs_digest}'"
    for version in client.search_model_versions(query, order_by=["version_number DESC"]):
        if version.status == "READY" and _is_complete(client, version.tags.get(TAG_MODEL)):
            return version
    return None


def create_version(
    client: MlflowClient, name: str, run_id: str, model_id: str, tags: Mapping[str, str], description: str = ""
) -> ModelVersion:
    """Registers a logged model, with its tags and its description (Markdown) from the start.

    Raises:
        RegistryError: The registry does not finish the version.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={**tags, TAG_MODEL: model_id},
        description=description or None,
    )
    if version.status != "READY":
        raise RegistryError(
            f"{name} version {version.version}: {version.status} {version.status_message or ''}; "
            "run the registration again"
        )
    return version


def describe_version(results: Results, inputs_digest: str) -> dict[str, str]:
    """Tags that say what a version is."""
    config = json.dumps(results.config, sort_keys=True)
    return {
        "ur4rec.system": results.model_name,
        f"ur4rec.test_{metric_key(HEADLINE)}": f"{results.test[results.model_name][HEADLINE].value:.6f}",
        "ur4rec.protocol": str(results.protocol),
        "ur4rec.dataset": results.dataset.name,
        "ur4rec.dataset_digest": results.dataset.digest,
        "ur4rec.config_digest": hashlib.sha256(config.encode()).hexdigest(),
        "ur4rec.code_version": describe_code(),
        TAG_INPUTS: inputs_digest,
    }


def _is_complete(client: MlflowClient, model_id: str | None) -> bool:
    from mlflow.exceptions import MlflowException

    if model_id is None:
        return False
    try:
        return all(
            any(file.path == name for file in client.list_logged_model_artifacts(model_id, folder))
            for name, folder in NEEDED.items()
        )
    except (MlflowException, OSError):
        return False  # deleted meanwhile, so a new version is made
