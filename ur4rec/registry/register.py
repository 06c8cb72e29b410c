"""Logs a trained model to MLflow and registers it as the challenger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ur4rec.evaluation.history import read_history
from ur4rec.evaluation.results import Results, explain_problems, load_results
from ur4rec.models.tensor_files import read_tensors
from ur4rec.recommender.bundle import write_bundle
from ur4rec.registry.config import RegistrationConfig
from ur4rec.registry.mlflow_client import open_mlflow, public_uri
from ur4rec.registry.model_card import CARD, fit_description, render_card
from ur4rec.registry.package import save_model_package
from ur4rec.registry.pipeline_run import complete_children, finish_run, open_pipeline_run
from ur4rec.registry.run_log import (
    end_abandoned_runs,
    find_preset_run,
    log_curves,
    log_files,
    log_params,
    log_test_metrics,
)
from ur4rec.registry.served_code import describe_code
from ur4rec.registry.versions import (
    TAG_WARM_START,
    create_version,
    describe_links,
    describe_version,
    find_version,
    link_run,
    pinned_address,
    pipeline_tags,
)
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, read_artifact, sha256_file, write_texts_atomic
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.training.checkpoints import HISTORY, MODEL_CONFIG, check_whole, load_model, read_origin, read_raw_history

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


class Registration(BaseModel):
    """Which version a model became."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    alias: str
    run_id: str
    model_uri: str
    tracking_uri: str
    """Without credentials."""


def load_registration(path: Path) -> Registration:
    """Read what `register_model` wrote.

    Raises:
        ArtifactError: The file is missing, or a key is missing, unknown or wrong; names both.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: not found; register a model first")
    try:
        return Registration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtifactError(f"{path}: {explain_problems(error)}; register the model again") from None


@dataclass(frozen=True)
class _Inputs:
    sequences: Path
    checkpoint: Path
    memories: Path
    results: Path
    report: Path

    @property
    def folders(self) -> dict[str, Path]:
        return {"sequences": self.sequences, "checkpoint": self.checkpoint, "memories": self.memories}

    def digest(self, config: RegistrationConfig) -> str:
        """Digest the very artifacts and names; a model trained again differs."""
        parts = {name: sha256_file(folder / MANIFEST) for name, folder in self.folders.items()}
        names = [config.registered_model_name, config.experiment_name]
        parts |= {"results": sha256_file(self.results), "code": describe_code()}
        return hashlib.sha256(json.dumps([names, parts], sort_keys=True).encode()).hexdigest()

    def verify(self) -> Results:
        """Read the results once every folder is known to be whole; they must be of this very model."""
        manifests = {name: read_artifact(folder) for name, folder in self.folders.items()}
        if not self.report.is_file():
            raise ArtifactError(f"{self.report}: not found; run the evaluation first")
        check_whole(self.checkpoint)
        read_raw_history(self.checkpoint)
        load_model(self.checkpoint)
        for path in self.memories.glob("*.pt"):
            read_tensors(path)
        data, settings = manifests["sequences"].content_digest, manifests["checkpoint"].config
        return _check_own_results(self.results, data, settings, self.checkpoint)

    def files(self) -> dict[str, Path]:
        """Name what the run shows beside the model."""
        manifests = {f"manifests/{name}.json": folder / MANIFEST for name, folder in self.folders.items()}
        named = {"results.json": self.results, "report.html": self.report}
        return manifests | named | {MODEL_CONFIG: self.checkpoint / MODEL_CONFIG}


def register_model(
    sequences: Path,
    checkpoint: Path,
    memories: Path,
    results: Path,
    report: Path,
    config: RegistrationConfig,
    output: Path,
    tracking_uri: str | None = None,
    card: Path | None = None,
) -> Registration:
    """Log a run, make a version of the registered model and point the challenger alias at it.

    A task of a pipeline goes on with the run that its training has begun, and adds what that lacks.
    The version appears last, when everything it needs is uploaded. Called again with the very same
    inputs (a retried task, say), it reuses the version that is there and only sets the alias again. Runs that killed
    registrations have left in the experiment are ended.

    The checkpoint and the memories are those of the last stage; the configuration in the results becomes the run's
    parameters. Two files are written: `output`, where the model went, as JSON without credentials, and `card`, where it
    is in MLflow and its model card, as Markdown.

    Raises:
        ArtifactError: An input is missing or altered, or the results are those of another model.
        CheckpointError: The checkpoint does not hold a model whose whole is trained.
        TensorFileError: Weights or memories are damaged, or hold NaN or an infinity.
        ResultsError: The results cannot be read.
        RegistryError: MLflow cannot be reached or refuses; says what to do.
    """
    inputs = _Inputs(*(Path(path) for path in (sequences, checkpoint, memories, results, report)))
    evaluated = inputs.verify()
    name, alias, digest = config.registered_model_name, config.challenger_alias, inputs.digest(config)
    text = render_card(evaluated, describe_code())
    preset = find_preset_run(tracking_uri)
    with open_mlflow(tracking_uri) as client:
        end_abandoned_runs(client, config.experiment_name)
        version = find_version(client, name, digest)
        if version is None:
            version = _log_and_register(client, inputs, evaluated, text, config, digest, preset)
        elif not preset:
            finish_run(client)
        link_run(client, version, text)
        client.set_registered_model_alias(name, alias, version.version)
        address = public_uri(str(client.tracking_uri))
        links = describe_links(client, version)
    registration = Registration(
        name=name,
        version=str(version.version),
        alias=alias,
        run_id=str(version.run_id),
        model_uri=pinned_address(version),
        tracking_uri=address,
    )
    texts = {Path(output): registration.model_dump_json(indent=2) + "\n"}
    if card is not None:
        texts[Path(card)] = f"In MLflow: {links}\n\n{text}"
    write_texts_atomic(texts)
    return registration


def _check_own_results(path: Path, data: str, settings: Mapping[str, Any], checkpoint: Path) -> Results:
    """Read results and check that they tell of this data, these settings and this training.

    Raises:
        ResultsError: The results cannot be read.
        ArtifactError: They are those of another model; says in what they differ.
    """
    results = load_results(path)
    difference = _find_difference(results, data, settings, checkpoint)
    if difference:
        raise ArtifactError(
            f"{path}: is not the evaluation of {checkpoint}: {difference}; "
            "name the folder of this model's results.json with --outputs, or evaluate it (`ur4rec evaluate`)"
        )
    return results


def _find_difference(results: Results, data: str, settings: Mapping[str, Any], checkpoint: Path) -> str:
    if results.dataset.digest != data:
        return f"it was made on data {results.dataset.digest[:12]}, not on {data[:12]}"
    for key, value in settings.items():
        if key in results.config and results.config[key] != value:
            return f"{key} was {results.config[key]!r}, the checkpoint has {value!r}"
    if results.validation != read_history(checkpoint / HISTORY).validation:
        return "the validation metrics of its stages are not those of the checkpoint"
    return ""


def _log_and_register(
    client: MlflowClient,
    inputs: _Inputs,
    results: Results,
    card: str,
    config: RegistrationConfig,
    digest: str,
    preset: str | None,
) -> ModelVersion:
    with open_pipeline_run(client, config.experiment_name, preset) as run:
        run_id = run.info.run_id
        log_params(client, run, results.config)
        log_curves(client, run_id, inputs.checkpoint / HISTORY)
        complete_children(client, run, inputs.checkpoint / HISTORY)
        log_files(client, run_id, inputs.files())
        client.log_text(run_id, card, CARD)
        model_id = _log_model(client, inputs, config.registered_model_name, run)
        log_test_metrics(client, run_id, model_id, results)
        tags = describe_version(results, digest) | pipeline_tags()
        if origin := read_origin(inputs.checkpoint):
            tags[TAG_WARM_START] = origin.name
        name = config.registered_model_name
        return create_version(client, name, run_id, model_id, tags, fit_description(card))


def _log_model(client: MlflowClient, inputs: _Inputs, name: str, run: Run) -> str:
    """Upload the served model; return its id."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run_id = run.info.run_id
    # A registered model may have dots in its name, as it must in some catalogues; a logged one may not.
    logged = client.create_logged_model(run.info.experiment_id, name=name.replace(".", "_"), source_run_id=run_id)
    model_id = str(logged.model_id)
    status: Literal["READY", "FAILED"] = "FAILED"
    try:
        with scratch_folder("model") as scratch:
            bundle, folder = scratch / "bundle", scratch / "model"
            write_bundle(inputs.sequences, inputs.checkpoint, bundle)
            described = Model(
                artifact_path=logged.artifact_location, run_id=run_id, model_uuid=model_id, model_id=model_id
            )
            save_model_package(bundle, folder, described)
            client.log_model_artifacts(model_id, str(folder))
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        status = "READY"
    finally:
        client.finalize_logged_model(model_id, status)
    return model_id
