"""The model that is served: where it came from and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

import ur4rec
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.fetch import fetch_bundle
from ur4rec.registry.mlflow_client import REGISTERED, open_mlflow
from ur4rec.registry.versions import find_version_at, pinned_address

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Identity(BaseModel):
    """Which model answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """As it was asked for."""
    name: str | None
    """Of the registered model; null for a bundle folder, as its version and its run are."""
    version: str | None
    """As it was found when the server started."""
    run_id: str | None
    bundle_digest: str
    """sha256 over the digests of the bundle's files."""
    dataset: str
    dataset_digest: str
    training_cutoff_s: int
    num_users: int
    num_items: int
    seen_items: Literal["exclude", "include"]
    """Whether an answer leaves out what the request's history holds, unless the call says so by `exclude_seen`."""
    ur4rec: str = ur4rec.__version__


@contextmanager
def open_served(model: str, tracking_uri: str | None = None) -> Iterator[tuple[Recommender, Identity]]:
    """Loads a registered model or a bundle folder, there until the block ends.

    An alias is looked up once: the server keeps the version it started with.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or a bundle folder.
        tracking_uri: MLflow's address.

    Raises:
        RegistryError: MLflow cannot be reached or there is no such model.
        ArtifactError: The folder is not a bundle, is incomplete or was altered.
    """
    if not model.startswith(REGISTERED):
        recommender = Recommender.load(Path(model))
        yield recommender, _identify(recommender, model)
        return
    with open_mlflow(tracking_uri, read_only=True) as client:
        version = find_version_at(client, model)
    with fetch_bundle(model if version is None else pinned_address(version), tracking_uri) as bundle:
        recommender = Recommender.load(bundle)
        yield recommender, _identify(recommender, model, version)


def _identify(recommender: Recommender, model: str, version: ModelVersion | None = None) -> Identity:
    bundle = recommender.bundle
    return Identity(
        model=model,
        name=version and version.name,
        version=version and str(version.version),
        run_id=version and (version.run_id or None),
        bundle_digest=bundle.manifest.content_digest,
        **{name: bundle.manifest.details[name] for name in ("dataset", "dataset_digest", "training_cutoff_s")},
        num_users=len(bundle.user_index),
        num_items=bundle.num_items,
        seen_items="exclude" if bundle.excludes_seen else "include",
    )
