"""The model that a training starts from: found in the registry or in a folder, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ur4rec.models.tensor_files import TensorFileError
from ur4rec.recommender.bundle import load_bundle
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.fetch import fetch_bundle
from ur4rec.registry.mlflow_client import GONE, REGISTERED, answer_or_none, open_mlflow
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.versions import expect_files, find_version_at, find_version_by_alias, pinned_address
from ur4rec.storage.artifacts import MANIFEST, read_manifest
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.training.checkpoints import load_model
from ur4rec.training.warm_start import WarmStart, WarmStartError


class ResolvedStart(NamedTuple):
    """What a training starts from: equal ones mean equal weights. Both are empty where it begins from scratch."""

    warm_start: str
    """`models:/NAME/VERSION#DIGEST`."""
    tracking_uri: str
    """MLflow's address."""


def resolve_warm_start(config: RegistryConfig, tracking_uri: str | None = None) -> ResolvedStart:
    """Find the version that the configuration names, as it is now; an alias that nothing has yet means: from scratch.

    Raises:
        RegistryError: MLflow cannot be reached, there is no version of that number, or its files are gone.
    """
    name, wanted = config.registered_model_name, config.warm_start
    if not wanted:
        return ResolvedStart("", "")
    with open_mlflow(tracking_uri) as client:
        number = wanted
        if not wanted.isdecimal():
            # Before the first registration there is no registered model either.
            version = answer_or_none(GONE, find_version_by_alias, client, name, wanted)
            if version is None:
                print(f"warm start: no version of {name} is {wanted} yet, training begins from scratch", flush=True)
                return ResolvedStart("", "")
            number = str(version.version)
        address = f"{REGISTERED}{name}/{number}"
        expect_files(client, address)
        resolved = f"{address}#{_digest(address)}"
    print(f"warm start: {wanted} is {address}", flush=True)
    return ResolvedStart(resolved, tracking_uri or "")


def open_warm_start(address: str, tracking_uri: str | None = None) -> WarmStart | None:
    """Load and verify a model to start from; None where the address is empty.

    Args:
        address: A bundle, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or what `resolve_warm_start` returned.
        tracking_uri: MLflow's address, as `open_mlflow` takes it.

    Raises:
        ArtifactError: It is not a bundle, is incomplete or was altered.
        RegistryError: MLflow cannot be reached or there is no such model.
        WarmStartError: It is of another release, or not what was resolved.
    """
    if not address:
        return None
    if not address.startswith(REGISTERED):
        return _read(Path(address), address)
    name, _, digest = address.partition("#")
    with open_mlflow(tracking_uri, read_only=True) as client:
        version = find_version_at(client, name)
    name = name if version is None else pinned_address(version)
    with fetch_bundle(name, tracking_uri) as bundle:
        start = _read(bundle, name)
    if digest and start.digest != digest:
        raise WarmStartError(f"warm start from {name}: its files are not those that were resolved; run it again")
    return start


def _read(bundle: Path, name: str) -> WarmStart:
    loaded = load_bundle(bundle)
    try:
        model = load_model(bundle)
    except TensorFileError as error:
        raise WarmStartError(f"warm start from {name}: {error.path.name}: {error.fault}; train from scratch") from None
    return WarmStart(name, loaded.manifest.content_digest, model, loaded.extent)


def _digest(address: str) -> str:
    """Return the digest of the bundle's contents; its manifest alone is read."""
    import mlflow.artifacts

    with scratch_folder("manifest") as scratch:
        path = mlflow.artifacts.download_artifacts(f"{address}/{BUNDLE_PATH}/{MANIFEST}", dst_path=str(scratch))
        return read_manifest(Path(path).parent).content_digest
