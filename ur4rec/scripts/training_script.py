"""Common ground of the training scripts: the options of the old ones, and folders found or made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OptionError,
    let_waiting_threads_sleep,
    read_config,
    report_errors,
    show,
)
from ur4rec.commands.progress import progress_bars
from ur4rec.scripts.old_files import import_old_sequences, import_old_texts
from ur4rec.storage.artifacts import MANIFEST, read_artifact
from ur4rec.storage.locks import lock_folder

if TYPE_CHECKING:
    from ur4rec.config import Config

SEQUENCES = "preprocess_sequences"
TEXTS = "generate_text"
EMBEDDINGS = "encode_text"

DataOption = Annotated[
    Path, typer.Option("--data_dir", help="Sequences folder, one that holds it, or old pickled sequences.", exists=True)
]
TextOption = Annotated[
    Path | None,
    typer.Option(
        "--llm_data_dir", help="Text embeddings, texts, a folder that holds them, or the old JSON files.", exists=True
    ),
]
OutputsOption = Annotated[
    Path, typer.Option("--output_dir", help="Gets the weights and memories of every stage, results.json and logs/.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs_per_stage", help="Overrides the file.")]
PatienceOption = Annotated[int | None, typer.Option("--patience", help="Overrides the file.")]


def make_app(system: str, needs_texts: bool = True) -> typer.Typer:
    """The command line of a script.

    Args:
        system: Name of the system that it trains.
        needs_texts: Whether `--llm_data_dir` must be given; otherwise texts are made from the items' metadata.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    without = "" if needs_texts else " Without --llm_data_dir, texts are made from the items' metadata."

    @app.command(help=f"Train all stages of {system} and evaluate.{without}")
    def main(
        data_dir: DataOption,
        output_dir: OutputsOption,
        llm_data_dir: TextOption = None,
        config: ConfigOption = None,
        epochs_per_stage: EpochsOption = None,
        patience: PatienceOption = None,
        device: DeviceOption = "auto",
    ) -> None:
        let_waiting_threads_sleep()
        overrides = {"epochs_per_stage": epochs_per_stage, "patience": patience}
        with report_errors():
            if needs_texts and llm_data_dir is None:
                raise OptionError("--llm_data_dir: missing; texts or embeddings, as `ur4rec text` makes them")
            settings = [f"{name}={value}" for name, value in overrides.items() if value is not None]
            values = fix_system(read_config(config, settings), system)
            run(data_dir, llm_data_dir, output_dir, values, device)

    return app


def fix_system(config: Config, system: str) -> Config:
    """The configuration, of the system that the script trains.

    Raises:
        OptionError: It names another.
    """
    from ur4rec.models.config import System

    if "system" in config.model_fields_set and config.system != system:
        raise OptionError(
            f"--config: system: {config.system}: this script trains {system}; leave the key out, or use `ur4rec train`"
        )
    return config.model_copy(update={"system": System(system)})


def run(data_dir: Path, llm_data_dir: Path | None, output_dir: Path, config: Config, device: str) -> None:
    """Finds the artifact folders, imports old files, makes texts and encodes them where need be, trains.

    Raises:
        OptionError: A folder holds nothing that can be used, or several things.
        FolderInUseError: Another run writes to the output folder.
    """
    from ur4rec.auto.settle import settle
    from ur4rec.commands.evaluation import show_results
    from ur4rec.commands.training import show_next, show_stages
    from ur4rec.data.sequences import load_sequences
    from ur4rec.local import read_warm_start, train_all
    from ur4rec.training.warm_start import shape_of

    with lock_folder(output_dir, "another --output_dir"):
        sequences = find_sequences(data_dir, output_dir)
        warm_start = read_warm_start(None, config)
        config = settle(config, load_sequences(sequences), "train", shape_of(warm_start))
        embeddings = _find_or_encode(sequences, llm_data_dir, output_dir, config, device)
        with progress_bars():
            outcome = train_all(sequences, embeddings, output_dir, config, device, warm_start=warm_start)
    show_stages(outcome.summaries)
    show_results(outcome.results)
    show(f"outputs: {output_dir}")
    show_next(sequences, outcome, output_dir)


def find_sequences(data_dir: Path, output_dir: Path) -> Path:
    """The sequences folder of `find_artifact`, or one below `output_dir` that is made from old pickled files.

    Raises:
        OptionError: There is nothing of the kind.
    """
    found = find_artifact(data_dir, SEQUENCES) or import_old_sequences(data_dir, output_dir / "sequences")
    if found is None:
        raise OptionError(
            f"--data_dir {data_dir}: holds no sequences; make them with `ur4rec data preprocess`, or name the folder "
            "of the old train_sequences.npy, val_sequences.npy and test_sequences.npy"
        )
    return found


def find_artifact(folder: Path, producer: str) -> Path | None:
    """The folder itself, the only one below it, or the one around it that `producer` wrote; tells which of the others.

    Raises:
        OptionError: There are several below it.
    """
    if _is_of(folder, producer):
        return folder
    below = sorted(path for path in folder.iterdir() if _is_of(path, producer)) if folder.is_dir() else []
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise OptionError(f"{folder}: holds several folders of {producer}: {names}; name the one that is meant")
    around = [path for path in [folder.absolute().parent] if _is_of(path, producer)]
    for found in below or around:
        show(f"{producer}: {found}")
        return found
    return None


def _is_of(folder: Path, producer: str) -> bool:
    return (folder / MANIFEST).is_file() and read_artifact(folder).producer == producer


def _find_or_encode(sequences: Path, llm_data_dir: Path | None, output_dir: Path, config: Config, device: str) -> Path:
    found = llm_data_dir and find_artifact(llm_data_dir, EMBEDDINGS)
    if found:
        return found
    from ur4rec.local import make_embeddings
    from ur4rec.text.config import EncodeConfig
    from ur4rec.text.encode import encode_text

    if llm_data_dir is None:
        return make_embeddings(sequences, output_dir, config.model_copy(update={"text_provider": "template"}), device)
    embeddings = output_dir / "text_embeddings"
    texts = find_artifact(llm_data_dir, TEXTS)
    texts = texts or import_old_texts(llm_data_dir, sequences, output_dir / "texts", config)
    if texts is None:
        raise OptionError(
            f"--llm_data_dir {llm_data_dir}: holds neither embeddings nor texts; make them with `ur4rec text generate` "
            "and `ur4rec text encode`, or name the folder of item_descriptions.json and user_preferences.json"
        )
    encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), device=device)
    return embeddings
