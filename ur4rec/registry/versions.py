"""Versions of the registered model: made, described by tags, linked to their runs, and found again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from ur4rec.evaluation.results import Results
from ur4rec.markdown import escape_markdown
from ur4rec.registry.environment import PIPELINE_RUN
from ur4rec.registry.local_database import find_local
from ur4rec.registry.mlflow_client import (
    EXISTS,
    GONE,
    REFUSED_VALUE,
    REGISTERED,
    RegistryError,
    answer_or_none,
)
from ur4rec.registry.run_log import TAG_NOTE, find_public_address, metric_key
from ur4rec.registry.served_code import BUNDLE_PATH, describe_code

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

HEADLINE = "ndcg@10"
TAG_INPUTS = "ur4rec.inputs_digest"
TAG_MODEL = "ur4rec.model_id"
TAG_HEADLINE = f"ur4rec.test_{metric_key(HEADLINE)}"
TAG_DATASET = "ur4rec.dataset"
TAG_DATASET_DIGEST = "ur4rec.dataset_digest"
TAG_WARM_START = "ur4rec.warm_start"
"""Tag of a version: the one that its training started from; there is none where it began from scratch."""
TAG_PIPELINE_RUN = "ur4rec.kfp_run_id"
TAG_VERSION = "ur4rec.model_version"
"""Tag of a run: `name/number`. A version names its run itself."""
NEEDED = {"MLmodel": None, f"{BUNDLE_PATH}/manifest.json": BUNDLE_PATH}
"""Files without which a version cannot be served → the folder to look in."""


def find_version(client: MlflowClient, name: str, inputs_digest: str) -> ModelVersion | None:
    """Find the newest ready version made from the same inputs, provided its files are still there."""
    query = f"name = '{name}' and tags.`{TAG_INPUTS}` = '{inputs_digest}'"
    for version in client.search_model_versions(query, order_by=["version_number DESC"]):
        if version.status == "READY" and has_files(client, version):
            return _drop_duplicates(client, name, version.tags[TAG_MODEL])
    return None


def get_version(client: MlflowClient, name: str, wanted: str) -> ModelVersion:
    """Get a version by its number or alias.

    Raises:
        MlflowException: There is none.
    """
    if wanted.isdecimal():
        return client.get_model_version(name, wanted)
    return client.get_model_version_by_alias(name, wanted)


def find_version_at(client: MlflowClient, address: str) -> ModelVersion | None:
    """Find what `models:/NAME@ALIAS` or `models:/NAME/NUMBER` names; None for what only MLflow itself can read.

    Raises:
        MlflowException: There is none.
    """
    named = split_address(address)
    return None if named is None else get_version(client, *named)


def split_address(address: str) -> tuple[str, str] | None:
    """Return the name, and the number or alias, of `models:/NAME@ALIAS` or `models:/NAME/NUMBER`; None for others."""
    named = re.fullmatch(rf"{REGISTERED}([^/@]+)(?:@([^/@]+)|/(\d+))/?", address)
    return None if named is None else (named[1], named[2] or named[3])


def pinned_address(version: ModelVersion) -> str:
    """Return `models:/NAME/NUMBER`, which always means the same, as an alias does not."""
    return f"{REGISTERED}{version.name}/{version.version}"


def find_version_by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Find the version that an alias points at; None where the model has no such alias."""
    return answer_or_none(REFUSED_VALUE, client.get_model_version_by_alias, name, alias)


def list_files(client: MlflowClient, version: ModelVersion, folder: str | None = None) -> set[str]:
    """List what is in a folder of a version's model; nothing where the model or the folder is gone.

    Raises:
        MlflowException: The store or the server does not answer.
    """
    model_id = version.tags.get(TAG_MODEL) or version.model_id
    files = answer_or_none(GONE, client.list_logged_model_artifacts, model_id, folder) if model_id else None
    return {file.path for file in files or ()}


def has_files(client: MlflowClient, version: ModelVersion) -> bool:
    """Say whether everything that serving needs is there and can be listed."""
    from mlflow.exceptions import MlflowException

    try:
        return all(name in list_files(client, version, folder) for name, folder in NEEDED.items())
    except (MlflowException, OSError):
        return False


def expect_files(client: MlflowClient, address: str) -> None:
    """Check that the files of a version are there, if they lie in a folder of this machine.

    Raises:
        RegistryError: They are not; names the folder.
        MlflowException: There is no such version.
    """
    version = find_version_at(client, address)
    if version is None:
        return
    folder = find_local(client.get_model_version_download_uri(version.name, version.version))
    if folder is not None and not folder.is_dir():
        raise RegistryError(
            f"{folder}: not found, where {client.tracking_uri} says that the files of {pinned_address(version)} are; "
            "if the project was moved or copied, put its mlartifacts there; else register the model again"
        )


def create_version(
    client: MlflowClient, name: str, run_id: str, model_id: str, tags: Mapping[str, str], description: str = ""
) -> ModelVersion:
    """Register a logged model, with its tags and its description (Markdown) from the start.

    Raises:
        RegistryError: The registry does not finish the version.
    """
    answer_or_none(EXISTS, client.create_registered_model, name)
    source, tags = f"{REGISTERED}{model_id}", {**tags, TAG_MODEL: model_id}
    client.create_model_version(name, source, run_id, tags, description=description or None, model_id=model_id)
    version = _drop_duplicates(client, name, model_id)
    if version.status != "READY":
        raise RegistryError(
            f"{name} version {version.version}: {version.status} {version.status_message or ''}; "
            "run the registration again"
        )
    return version


def describe_version(results: Results, inputs_digest: str) -> dict[str, str]:
    """Make the tags that say what a version is."""
    config = json.dumps(results.config, sort_keys=True)
    return {
        "ur4rec.system": results.model_name,
        TAG_HEADLINE: f"{results.test[results.model_name][HEADLINE].value:.6f}",
        "ur4rec.protocol": str(results.protocol),
        TAG_DATASET: results.dataset.name,
        TAG_DATASET_DIGEST: results.dataset.digest,
        "ur4rec.config_digest": hashlib.sha256(config.encode()).hexdigest(),
        "ur4rec.code_version": describe_code(),
        TAG_INPUTS: inputs_digest,
    }


def _drop_duplicates(client: MlflowClient, name: str, model_id: str) -> ModelVersion:
    """Keep one version of a model: MLflow's client sends a request again when its answer was lost."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{TAG_MODEL}` = '{model_id}'")
    first, *others = sorted(found, key=lambda version: int(version.version))
    for version in others:
        if not client.get_model_version(name, version.version).aliases:
            client.delete_model_version(name, version.version)
    return first


def pipeline_tags() -> dict[str, str]:
    """Make the tags that name the run of the pipeline this process belongs to, if it does."""
    run_id = os.environ.get(PIPELINE_RUN, "")
    return {TAG_PIPELINE_RUN: run_id} if run_id else {}


def link_run(client: MlflowClient, version: ModelVersion, card: str) -> None:
    """Make the run of a version name the version and the run of the pipeline, and show the card.

    A run that has a description, such as one that somebody else made, keeps it.
    """
    run_id = str(version.run_id)
    tags = {TAG_VERSION: f"{version.name}/{version.version}", **pipeline_tags()}
    if not client.get_run(run_id).data.tags.get(TAG_NOTE):
        tags[TAG_NOTE] = card
    for key, value in tags.items():
        client.set_tag(run_id, key, value)


def describe_links(client: MlflowClient, version: ModelVersion) -> str:
    """Write Markdown that leads from the pipeline's interface to MLflow's; names alone where MLflow has no address."""
    experiment = client.get_run(str(version.run_id)).info.experiment_id
    base = find_public_address(client)
    places = {
        f"{version.name} version {version.version}": f"models/{quote(version.name)}/versions/{version.version}",
        f"run {version.run_id}": f"experiments/{experiment}/runs/{version.run_id}",
    }
    if not base.startswith(("http://", "https://")):
        return escape_markdown(", ".join(places) + f" in {base}")
    return ", ".join(f"[{escape_markdown(name)}]({base}/#/{place})" for name, place in places.items())
