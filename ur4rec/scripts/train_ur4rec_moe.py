"""The command line of the old training script: the same options, the same eleven files."""

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
from ur4rec.storage.artifacts import MANIFEST, read_artifact

if TYPE_CHECKING:
    from ur4rec.config import Config

SEQUENCES = "preprocess_sequences"
TEXTS = "generate_text"
EMBEDDINGS = "encode_text"


def main(
    data_dir: Annotated[
        Path, typer.Option("--data_dir", help="Sequences folder, or a folder that holds it.", exists=True)
    ],
    llm_data_dir: Annotated[
        Path, typer.Option("--llm_data_dir", help="Text embeddings or texts, or a folder that holds them.", exists=True)
    ],
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Gets the eleven files and logs/.")],
    config: ConfigOption = None,
    epochs_per_stage: Annotated[int | None, typer.Option("--epochs_per_stage", help="Overrides the file.")] = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Overrides the file.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train all four stages and evaluate."""
    let_waiting_threads_sleep()
    overrides = {"epochs_per_stage": epochs_per_stage, "patience": patience}
    with report_errors():
        settings = [f"{name}={value}" for name, value in overrides.items() if value is not None]
        run(data_dir, llm_data_dir, output_dir, read_config(config, settings), device)


def run(data_dir: Path, llm_data_dir: Path, output_dir: Path, config: Config, device: str) -> None:
    """Finds the artifact folders, encodes texts where need be, trains.

    Raises:
        OptionError: A folder holds nothing that can be used.
    """
    from ur4rec.commands.evaluation import show_results
    from ur4rec.commands.training import show_stages
    from ur4rec.training.run import train_all

    sequences = find_artifact(data_dir, SEQUENCES)
    if sequences is None:
        raise OptionError(f"--data_dir {data_dir}: holds no sequences; make them with `ur4rec data preprocess`")
    embeddings = _find_or_encode(sequences, llm_data_dir, output_dir, config, device)
    with progress_bars():
        outcome = train_all(sequences, embeddings, output_dir, config, device)
    show_stages(outcome.summaries)
    show_results(outcome.results)
    show(f"outputs: {output_dir}")


def find_artifact(folder: Path, producer: str) -> Path | None:
    """The folder itself, the first below it, or the one around it that `producer` wrote."""
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for candidate in (folder, *below, folder.absolute().parent):
        if (candidate / MANIFEST).is_file() and read_artifact(candidate).producer == producer:
            return candidate
    return None


def _find_or_encode(sequences: Path, llm_data_dir: Path, output_dir: Path, config: Config, device: str) -> Path:
    embeddings = find_artifact(llm_data_dir, EMBEDDINGS)
    if embeddings is not None:
        return embeddings
    texts = find_artifact(llm_data_dir, TEXTS)
    if texts is None:
        raise OptionError(
            f"--llm_data_dir {llm_data_dir}: holds neither embeddings nor texts; "
            "make them with `ur4rec text generate` and `ur4rec text encode`"
        )
    from ur4rec.text.config import EncodeConfig
    from ur4rec.text.encode import encode_text

    embeddings = output_dir / "text_embeddings"
    encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), device=device)
    return embeddings


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
