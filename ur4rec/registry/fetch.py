"""Fetches models from where users have them: a bundle, a folder of trained outputs, the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.recommender.bundle import PRODUCER, write_bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.local_database import find_files
from ur4rec.registry.mlflow_client import database_of, open_mlflow, resolve_tracking_uri
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.versions import expect_files, split_address
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, read_artifact
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.storage.writing import named
from ur4rec.training.checkpoints import check_whole


def open_recommender(folder: Path, sequences: Path | None = None) -> Recommender:
    """Load a bundle, or make one in memory from trained outputs and their sequences.

    Raises:
        ArtifactError: The folder does not exist, is altered, or needs `sequences`.
        CheckpointError: The model was trained on other sequences, or only a part of it is trained.
    """
    folder = Path(folder)
    if (folder / MANIFEST).is_file() and read_artifact(folder).producer == PRODUCER:
        return Recommender.load(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: not found; expected models:/NAME@ALIAS, a bundle or a folder of outputs")
    if sequences is None:
        raise ArtifactError(
            f"{folder}: is not a bundle; name the sequences it was trained on with --sequences, "
            "or leave --model out to ask the registered model"
        )
    check_whole(folder)
    with scratch_folder("bundle") as scratch:
        bundle = scratch / "bundle"
        with named(bundle, str(folder)):
            write_bundle(sequences, folder, bundle)
            return Recommender.load(bundle)


@contextmanager
def fetch_bundle(model_uri: str, tracking_uri: str | None = None) -> Iterator[Path]:
    """Yield the bundle of a registered model: its own where a local registry keeps it, else a copy for the block.

    Raises:
        RegistryError: MLflow cannot be reached or there is no such model.
    """
    if (kept := _find_local_bundle(model_uri, tracking_uri)) is not None:
        with named(kept, model_uri):
            yield kept
        return
    with scratch_folder("bundle") as scratch:
        with open_mlflow(tracking_uri, read_only=True) as client:
            import mlflow.artifacts

            expect_files(client, model_uri)
            bundle = mlflow.artifacts.download_artifacts(
                f"{model_uri.rstrip('/')}/{BUNDLE_PATH}", dst_path=str(scratch)
            )
        with named(Path(bundle), model_uri):
            yield Path(bundle)


def _find_local_bundle(model_uri: str, tracking_uri: str | None) -> Path | None:
    database, version = database_of(resolve_tracking_uri(tracking_uri)), split_address(model_uri)
    files = None if database is None or version is None else find_files(database, *version)
    return None if files is None or not (files / BUNDLE_PATH).is_dir() else files / BUNDLE_PATH
