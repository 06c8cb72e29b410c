"""`ur4rec train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OptionError,
    OutputOption,
    SequencesArgument,
    SetOption,
    TrackingOption,
    read_config,
    show,
    show_table,
)
from ur4rec.commands.progress import progress_bars
from ur4rec.storage.locks import lock_folder
from ur4rec.training.stage_names import Stage

if TYPE_CHECKING:
    from ur4rec.config import Config
    from ur4rec.local import TrainingRun
    from ur4rec.training.trainer import StageRecord
    from ur4rec.training.warm_start import WarmStart

MAX_PROCESSES = 256


def train(
    sequences: SequencesArgument,
    embeddings: Annotated[
        Path | None,
        typer.Argument(help="Text embeddings folder; only pretrain_sasrec does without.", parser=locations.folder),
    ] = None,
    output: OutputOption = Path("outputs/ur4rec_moe"),
    stage: Annotated[Stage | None, typer.Option(help="Run this stage only.")] = None,
    previous: Annotated[
        Path | None,
        typer.Option(help="Output folder of the stage before, for --stage.", parser=locations.folder),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run with the same inputs and settings was stopped.")
    ] = False,
    warm_start: Annotated[
        str | None,
        typer.Option(
            help="Start from this model instead of from scratch: a bundle, models:/NAME@ALIAS; a path, gs://… or s3://….",
            parser=locations.model,
        ),
    ] = None,
    tracking_uri: TrackingOption = None,
    processes: Annotated[
        int,
        typer.Option(min=1, max=MAX_PROCESSES, help="Processes that train together: a share of every batch for each."),
    ] = 1,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Train the stages of the system and evaluate, or run a single stage.

    For example:

        ur4rec train outputs/sequences outputs/text_embeddings -o outputs/ur4rec_moe

        ur4rec train outputs/sequences outputs/text_embeddings --set epochs_per_stage=10 --set patience=5

        ur4rec train outputs/sequences outputs/text_embeddings -o outputs/ur4rec_moe --resume

        ur4rec train outputs/sequences outputs/text_embeddings --processes 4

        ur4rec train outputs/sequences outputs/text_embeddings --warm-start models:/ur4rec@champion

        ur4rec train outputs/sequences --stage pretrain_sasrec -o outputs/one

        ur4rec train outputs/sequences outputs/text_embeddings --stage pretrain_retriever --previous outputs/one
    """
    values = read_config(config, settings)
    if embeddings is None and stage is not Stage.PRETRAIN_SASREC:
        raise OptionError("EMBEDDINGS: missing; only `--stage pretrain_sasrec` runs without text embeddings")
    from ur4rec.local import read_warm_start

    is_first = stage in (None, Stage.PRETRAIN_SASREC)
    with lock_folder(output, "another -o"), _say_how_to_go_on():
        start = read_warm_start(warm_start, values, tracking_uri) if is_first or warm_start else None
        if stage is not None:
            _train_one(stage, sequences, embeddings, output, previous, values, device, resume, start, processes)
        else:
            assert embeddings is not None
            _train_all(sequences, embeddings, output, values, device, resume, start, processes)


@contextmanager
def _say_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.add_note("the same command with --resume goes on from there")
        raise


def _train_all(
    sequences: Path,
    embeddings: Path,
    output: Path,
    config: Config,
    device: str,
    resume: bool,
    warm_start: WarmStart | None,
    processes: int,
) -> None:
    from ur4rec.commands.evaluation import show_results
    from ur4rec.local import train_all

    with progress_bars():
        run = train_all(sequences, embeddings, output, config, device, resume, warm_start, processes)
    show_stages(run.summaries)
    show_results(run.results)
    show(f"outputs: {output}")
    show_next(sequences, run, output)


def _train_one(
    stage: Stage,
    sequences: Path,
    embeddings: Path | None,
    output: Path,
    previous: Path | None,
    config: Config,
    device: str,
    resume: bool,
    warm_start: WarmStart | None,
    processes: int,
) -> None:
    from ur4rec.local import STATE_FOLDER
    from ur4rec.training.stages import run_stage, stages_of

    if previous is None and stage.value in stages_of(config)[1:]:
        raise OptionError(f"--previous: missing; {stage.value} starts from the stage before it")
    with progress_bars():
        summary = run_stage(
            stage.value,
            sequences,
            output / "checkpoint",
            output / "memories",
            config,
            embeddings=embeddings,
            previous_checkpoint=previous / "checkpoint" if previous else None,
            previous_memories=previous / "memories" if previous else None,
            device=device,
            state=output / STATE_FOLDER,
            resume=resume,
            warm_start=warm_start,
            processes=processes,
        )
    show_stages({stage.value: summary})
    show(f"outputs: {output}")


def show_next(sequences: Path, run: TrainingRun, output: Path) -> None:
    """Show how to register what was trained."""
    show(f"register: ur4rec register {sequences} {run.checkpoint} {run.memories} --outputs {output}")


def show_stages(summaries: dict[str, StageRecord]) -> None:
    """A row a stage."""
    rows = [
        (
            name,
            summary.epochs,
            str(summary.best_epoch or "unchanged"),
            f"{summary.seconds:.1f}",
            summary.validation["ndcg@10"],
        )
        for name, summary in summaries.items()
    ]
    show_table("stages", ("stage", "epochs", "best epoch", "seconds", "validation ndcg@10"), rows)
