"""Chain models as versions in a registry."""

from collections.abc import Collection
from pathlib import Path

from chain_models import write_chain_model
from present import present

from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.package import save_model_package
from ur4rec.registry.run_log import open_run
from ur4rec.registry.versions import create_version


def register_chain(uri: str, ring: Path, folder: Path, known: Collection[int]) -> str:
    """Logs and registers a chain model as `register_model` does, without a training to report on."""
    from mlflow.models import Model

    bundle = present(write_chain_model(ring, folder, known).bundle)
    with open_mlflow(uri) as client, open_run(client, "ur4rec", None) as run:
        logged = client.create_logged_model(run.info.experiment_id, name="ur4rec", source_run_id=run.info.run_id)
        model = Model(artifact_path=logged.artifact_location, run_id=run.info.run_id, model_id=logged.model_id)
        save_model_package(bundle, folder / "model", model)
        client.log_model_artifacts(logged.model_id, str(folder / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
        version = create_version(client, "ur4rec", run.info.run_id, logged.model_id, {})
        client.set_registered_model_alias("ur4rec", "challenger", version.version)
        return str(version.version)


def set_alias(uri: str, alias: str, version: str) -> None:
    with open_mlflow(uri) as client:
        client.set_registered_model_alias("ur4rec", alias, version)


def tags_of(uri: str, version: str) -> dict[str, str]:
    with open_mlflow(uri) as client:
        return dict(client.get_model_version("ur4rec", version).tags)
