"""Stage results that many trainings share: each is trained once and kept under a digest of all that it reads."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ur4rec.data.sequences import load_sequences
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, Manifest, read_artifact, write_text_atomic
from ur4rec.storage.code_digest import code_digest
from ur4rec.text.embeddings import check_embeddings
from ur4rec.training.checkpoints import resolve_device
from ur4rec.training.config import READ_BY, StageConfig
from ur4rec.training.stage_names import Stage
from ur4rec.training.stages import run_stage, stages_of

CODE = "ur4rec.training.stages"
STAGES_FOLDER = "stages"
"""Folder in an experiment's output; it holds the results and their locks."""
KEY = "key.json"
STATE = ".state"
"""Suffix of the folder that an unfinished stage goes on from."""
DIGEST_LENGTH = 32


@dataclass(frozen=True)
class StageInputs:
    """What every stage is trained from, besides settings and the stage before."""

    sequences: Path
    embeddings: Path
    device: str
    sequences_digest: str
    embeddings_digest: str
    code: str


@dataclass(frozen=True)
class CachedStage:
    """A stage result: where it is, or will be once it is trained."""

    stage: str
    folder: Path
    key: dict[str, Any]
    """Everything that the folder's name is a digest of."""

    @property
    def checkpoint(self) -> Path:
        """Checkpoint artifact folder."""
        return self.folder / "checkpoint"

    @property
    def memories(self) -> Path:
        """Memories artifact folder."""
        return self.folder / "memories"

    @property
    def digest(self) -> str:
        """Equal for equal keys."""
        return self.folder.name

    @property
    def is_complete(self) -> bool:
        """Whether it is trained, and nothing of it has been altered since."""
        try:
            return bool(read_artifact(self.checkpoint) and read_artifact(self.memories))
        except ArtifactError:
            return False

    def manifest(self) -> Manifest:
        """The verified manifest of the checkpoint.

        Raises:
            ArtifactError: The folder is altered.
        """
        return read_artifact(self.checkpoint)

    def validation(self) -> dict[str, float]:
        """Metrics of the best epoch on the validation targets, of what the stage trains."""
        metrics: dict[str, float] = self.manifest().details["validation"]
        return metrics


def read_inputs(sequences: Path, embeddings: Path, device: str = "auto") -> StageInputs:
    """Verify the input folders, and digest them and the training code.

    Raises:
        ArtifactError: A folder is missing or altered, or the embeddings are of other sequences.
        CheckpointError: `cuda` is asked for and there is none.
    """
    data = load_sequences(sequences)
    check_embeddings(embeddings, data)
    return StageInputs(
        sequences=sequences,
        embeddings=embeddings,
        device=resolve_device(device).type,
        sequences_digest=data.digest,
        embeddings_digest=read_artifact(embeddings).content_digest,
        code=code_digest(CODE),
    )


def list_read(stage: str, config: StageConfig) -> set[str]:
    """The fields that a stage and the system's stages before it read."""
    stages = stages_of(config)
    return {name for before in stages[: stages.index(stage) + 1] for name in READ_BY[before].model_fields}


def check_stage(stage: str, config: StageConfig, source: str) -> None:
    """Checks that the configured system has a stage.

    Raises:
        ExperimentError: It has not; names the source, the system and the stages it has.
    """
    stages = stages_of(config)
    if stage not in stages:
        raise ExperimentError(f"{source}: stage {stage}: system {config.system} has {', '.join(stages)} only")


def plan_stages(cache: Path, inputs: StageInputs, config: StageConfig, last: str) -> list[CachedStage]:
    """The system's stages up to `last`, trained or not."""
    planned: list[CachedStage] = []
    stages = stages_of(config)
    for stage in stages[: stages.index(last) + 1]:
        key = {
            "stage": stage,
            "settings": config.narrow(READ_BY[stage]).to_dict(),
            "code": inputs.code,
            "device": inputs.device,
            "sequences": inputs.sequences_digest,
            "embeddings": None if stage == Stage.PRETRAIN_SASREC else inputs.embeddings_digest,
            "previous": planned[-1].digest if planned else None,
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]
        planned.append(CachedStage(stage, cache / digest, key))
    return planned


def obtain_stages(cache: Path, inputs: StageInputs, config: StageConfig, last: str) -> list[CachedStage]:
    """The stages up to `last`, each trained here unless it is there; one that another process trains is waited for.

    Raises:
        ArtifactError: An input or an earlier stage's folder is altered.
    """
    stages = plan_stages(cache, inputs, config, last)
    cache.mkdir(parents=True, exist_ok=True)
    remove_unfinished(cache)
    previous = None
    for planned in stages:
        with FileLock(f"{planned.folder}.lock"):
            if not planned.is_complete:
                _train(planned, inputs, previous)
        previous = planned
    return stages


def remove_unfinished(cache: Path) -> None:
    """Removes stages whose process was killed, of other settings too; not those that are trained now, nor any state."""
    for folder in [path for path in cache.iterdir() if path.is_dir() and path.suffix != STATE]:
        with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
            if not (folder / "memories" / MANIFEST).is_file():
                shutil.rmtree(folder, ignore_errors=True)


def _train(planned: CachedStage, inputs: StageInputs, previous: CachedStage | None) -> None:
    if planned.folder.exists():  # a killed process has left it, or somebody has altered it
        print(f"{planned.stage}: {planned.folder} is incomplete or altered, it is trained again", flush=True)
    shutil.rmtree(planned.folder, ignore_errors=True)
    planned.folder.mkdir()
    try:
        _fill(planned, inputs, previous)
    except BaseException:
        shutil.rmtree(planned.folder, ignore_errors=True)
        raise


def _fill(planned: CachedStage, inputs: StageInputs, previous: CachedStage | None) -> None:
    state = Path(f"{planned.folder}{STATE}")  # a killed process has left its last finished epoch there
    write_text_atomic(planned.folder / KEY, json.dumps(planned.key, indent=2) + "\n")
    run_stage(
        planned.stage,
        inputs.sequences,
        planned.checkpoint,
        planned.memories,
        StageConfig.parse(planned.key["settings"], planned.stage),
        embeddings=inputs.embeddings if planned.key["embeddings"] else None,
        previous_checkpoint=previous.checkpoint if previous else None,
        previous_memories=previous.memories if previous else None,
        device=inputs.device,
        state=state,
        resume=True,
    )
    shutil.rmtree(state, ignore_errors=True)
