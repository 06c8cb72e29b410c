"""All of it in one call, without a pipeline: a recommender from data frames, all stages from artifact folders."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ur4rec.auto.settle import settle
from ur4rec.columns import DESCRIPTION, EVENT, GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from ur4rec.config import AUTO_CONFIG, Config, load_config, override_values
from ur4rec.data.column_names import match_columns
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.input_files import INTERACTIONS, ITEM_TABLE
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.candidates import CANDIDATES
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import evaluate
from ur4rec.evaluation.results import Results
from ur4rec.recommender.bundle import write_bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.config import RegistryConfig
from ur4rec.storage.folders import publish_folder
from ur4rec.storage.locks import lock_folder
from ur4rec.storage.temporaries import scratch_folder, temporary_sibling
from ur4rec.storage.writing import named
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.embeddings import check_embeddings
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text
from ur4rec.training.config import StageConfig
from ur4rec.training.export import REPORT, RESULTS, export_outputs
from ur4rec.training.stage_names import Stage
from ur4rec.training.stages import run_stage, stages_of
from ur4rec.training.trainer import StageRecord
from ur4rec.training.warm_start import WarmStart, shape_of

STAGES_FOLDER = "stages"
STATE_FOLDER = "resume"
BUNDLE_FOLDER = "bundle"
READ = {
    INTERACTIONS: (USER_ID, ITEM_ID, TIMESTAMP, RATING, EVENT),
    ITEM_TABLE: (ITEM_ID, TITLE, YEAR, GENRES, DESCRIPTION),
}
"""Role of a data frame → what is read of it."""


class FittedModel(Recommender):
    """A recommender made by `fit`, and how it did on the last interaction of every user."""

    results: Results

    def save(self, folder: Path | str) -> None:
        """Writes what `load` reads to a folder, `gs://…` or `s3://…`; an older model there is replaced.

        Raises:
            ArtifactError: Something else is there.
            StoreError: Cloud storage cannot be written to.
        """
        publish_folder(self.bundle.path, folder)


def load(folder: Path | str, device: str = "cpu") -> Recommender:
    """Loads what `FittedModel.save` wrote to a folder.

    Raises:
        ArtifactError: The folder holds no model, or a file of it is missing or altered.
    """
    return Recommender.load(Path(folder), device)


def fit(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None = None,
    config: Config | Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: Path | str | None = None,
    device: str = "auto",
) -> FittedModel:
    """Trains and evaluates a recommender on a data frame.

    The last two interactions of every user measure the model and do not train it; what it recommends is from all.

    Args:
        interactions: Columns `user_id, item_id, timestamp` (seconds, or times) and perhaps `rating`; names of the field
            such as `userId` do as well, and the setting `columns` names others.
        items: Columns `item_id, title` and perhaps `year, genres, description`, which the texts are made of.
        config: A YAML file, the name of a shipped one such as `toy`, or a configuration; None for `auto`.
        settings: Keys that replace those of the configuration.
        folder: Keeps everything: sequences, texts, weights of each stage, `report.html`. None: a temporary one, which
            goes with the model.
        device: What trains: `auto`, `cpu` or `cuda`.

    Raises:
        DataError: A column is missing or a value cannot be used; names the row and the column.
        ConfigError: A key or value of the configuration is wrong.
        FolderInUseError: Another run writes to the folder.
    """
    chosen = _configure(config, settings or {})
    with ExitStack() as stack:
        home = stack.enter_context(scratch_folder("fit")) if folder is None else Path(folder)
        with lock_folder(home):
            sequences = home / "sequences"
            _preprocess_frames({INTERACTIONS: interactions, ITEM_TABLE: items}, sequences, chosen.narrow(DataConfig))
            start = read_warm_start(None, chosen)
            chosen = settle(chosen, load_sequences(sequences), "fit", shape_of(start))
            embeddings = make_embeddings(sequences, home, chosen, device)
            run = train_all(sequences, embeddings, home, chosen, device, warm_start=start)
            write_bundle(sequences, run.checkpoint, home / BUNDLE_FOLDER)
            model = FittedModel.load(home / BUNDLE_FOLDER)
        assert isinstance(model, FittedModel)
        model.results = run.results
        weakref.finalize(model, stack.pop_all().close)
        return model


def _configure(config: Config | Path | str | None, settings: Mapping[str, Any]) -> Config:
    if isinstance(config, Config):
        chosen = override_values(config.to_dict(only_set=True), settings, "settings")
    else:
        chosen = load_config(AUTO_CONFIG if config is None else config, settings)
    return chosen if chosen.dataset_name else chosen.model_copy(update={"dataset_name": INTERACTIONS})


def _preprocess_frames(frames: Mapping[str, pd.DataFrame | None], sequences: Path, config: DataConfig) -> None:
    with scratch_folder("frames") as scratch, ExitStack() as names:
        files = {role: scratch / f"{role}.parquet" for role, frame in frames.items() if frame is not None}
        for role, file in files.items():
            names.enter_context(named(file, role))
            _write_frame(frames[role], role, file, config)
        preprocess_sequences(files[INTERACTIONS], sequences, config, files.get(ITEM_TABLE))


def _write_frame(frame: pd.DataFrame | None, role: str, file: Path, config: DataConfig) -> None:
    """Writes what is read of a data frame; of its other columns there are the names alone, for messages."""
    assert frame is not None
    names, arrays = [str(name) for name in frame.columns], []
    read = match_columns(names, (), READ[role], config.columns).values()
    for place, name in enumerate(names):
        try:
            arrays.append(_to_arrow(frame.iloc[:, place]) if name in read else pa.nulls(len(frame)))
        except pa.ArrowException as error:
            raise DataError(f"{role}, column {name!r}: expected values of one type ({error})") from None
    pq.write_table(pa.Table.from_arrays(arrays, names), file)


def _to_arrow(column: pd.Series[Any]) -> pa.Array:
    if isinstance(column.dtype, pd.DatetimeTZDtype):  # Arrow reads it by way of what pandas deprecates
        column = column.dt.tz_convert(None)
    return pa.array(column, from_pandas=True)


def make_embeddings(sequences: Path, folder: Path, config: Config, device: str) -> Path:
    """Writes the texts of every item and user below a folder, and encodes them there.

    Returns:
        The folder of the embeddings.
    """
    generate_text(sequences, folder / "texts", config.narrow(TextConfig))
    encode_text(sequences, folder / "texts", folder / "text_embeddings", config.narrow(EncodeConfig), device=device)
    return folder / "text_embeddings"


def read_warm_start(address: str | None, config: Config, tracking_uri: str | None = None) -> WarmStart | None:
    """The model that training starts from: that of an address, else the one that the configuration names."""
    if address is None and not config.warm_start:
        return None
    from ur4rec.registry.warm_start import open_warm_start, resolve_warm_start  # brings MLflow along

    if address is None:
        address = resolve_warm_start(config.narrow(RegistryConfig), tracking_uri).warm_start
    return open_warm_start(address, tracking_uri)


@dataclass(frozen=True)
class TrainingRun:
    """The outcome of a training, and where it lies."""

    summaries: dict[str, StageRecord]
    results: Results
    checkpoint: Path
    memories: Path
    files: list[Path]


def train_all(
    sequences: Path,
    embeddings: Path,
    output_dir: Path,
    config: Config,
    device: str = "auto",
    resume: bool = False,
    warm_start: WarmStart | None = None,
    processes: int = 1,
) -> TrainingRun:
    """Trains the stages of the system, evaluates, and exports the files that a user of the old script knows.

    Args:
        sequences: Sequences artifact folder.
        embeddings: Text embeddings artifact folder; `pretrain_sasrec` does not read it.
        output_dir: Gets the exported files, `report.html`, and the artifact folder of each stage under `stages/`.
        config: Everything the stages and the evaluation read.
        device: `auto`, `cpu` or `cuda`.
        resume: Whether to go on where an earlier run with the same inputs and settings was stopped.
        warm_start: Trained model that the first stage begins with; None: from scratch.
        processes: That train a stage together.

    Returns:
        A summary of each stage, the results and the last stage's folders.

    Raises:
        ArtifactError: An input is missing or altered, or the embeddings are of other sequences.
    """
    output_dir = Path(output_dir)
    data = load_sequences(sequences)
    check_embeddings(embeddings, data)
    shaped = settle(config.narrow(StageConfig), data, "train", shape_of(warm_start))
    summaries: dict[str, StageRecord] = {}
    checkpoints: list[Path] = []
    memories: list[Path] = []
    for stage in stages_of(shaped):
        folder = output_dir / STAGES_FOLDER / stage
        summaries[stage] = run_stage(
            stage,
            sequences,
            folder / "checkpoint",
            folder / "memories",
            shaped,
            embeddings=None if stage == Stage.PRETRAIN_SASREC else embeddings,
            previous_checkpoint=checkpoints[-1] if checkpoints else None,
            previous_memories=memories[-1] if memories else None,
            device=device,
            state=output_dir / STATE_FOLDER,
            resume=resume,
            warm_start=None if checkpoints else warm_start,
            processes=processes,
        )
        checkpoints.append(folder / "checkpoint")
        memories.append(folder / "memories")
    with temporary_sibling(output_dir / RESULTS) as evaluation:
        measured = evaluation / RESULTS, evaluation / REPORT
        section = config.narrow(EvaluationConfig)
        upstream = [embeddings, *checkpoints[:-1]]
        results = evaluate(sequences, checkpoints[-1], *measured, section, upstream, output_dir / CANDIDATES)
        files = export_outputs(checkpoints[-1], memories, *measured, output_dir)
    shutil.rmtree(output_dir / STATE_FOLDER, ignore_errors=True)
    return TrainingRun(summaries, results, checkpoints[-1], memories[-1], files)
