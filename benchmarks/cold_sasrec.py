"""Items without interactions in SASRec, found by their text: `python -m benchmarks.cold_sasrec SEQUENCES EMBEDDINGS`.

The folds of `benchmarks.cold_items`: a share of the catalogue is taken out of every history, stage 1 is trained without
it, and its vectors are predicted as stage 2 of a warm start does, from true and from shuffled texts.

T targets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.cold_items import cold_candidates, draw_folds, write_fold
from ur4rec.commands.console import report_errors
from ur4rec.config import SHIPPED, load_config
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import HEADLINE_METRICS
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import rank_users
from ur4rec.terminal import PlainConsole
from ur4rec.text.embeddings import TextEmbeddings, load_embeddings
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig, TextControl
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import Stage
from ur4rec.training.stages import run_stage
from ur4rec.training.start import add_text, control_text
from ur4rec.training.warm_start import describe_cold_items

FOLDER = Path("outputs/bench/cold_sasrec")
SETTINGS = {"seed": 1, "epochs_per_stage": 25}
Ranks = dict[tuple[str, str], list[np.ndarray]]


def rank_fold(
    fold: Path, checkpoint: Path, candidates: np.ndarray, texts: dict[str, TextEmbeddings | None], ranks: Ranks
) -> None:
    """Adds the ranks of a fold's targets, among its cold items and in the catalogue, by kind of text."""
    data = load_sequences(fold)
    seen = data.histories("test")
    for kind, text in texts.items():
        model = load_model(checkpoint)
        if text is not None:
            add_text(model, text)
            describe_cold_items(model)
        scorer = ModelScorer(model, seen, "sasrec")
        for among, given in (("cold", candidates), ("catalogue", None)):
            ranks.setdefault((kind, among), []).append(rank_users(scorer, data.test, seen, 512, given))


def show(ranks: Ranks) -> Table:
    """The table."""
    table = Table(title="cold items by SASRec")
    for head in ("text", "ranked among", "targets", *HEADLINE_METRICS, "median rank"):
        table.add_column(head)
    for (kind, among), parts in ranks.items():
        rank = np.concatenate(parts)
        metrics = [f"{per_user_metrics(rank)[name].mean():.4f}" for name in HEADLINE_METRICS]
        table.add_row(kind, among, str(len(rank)), *metrics, f"{np.median(rank.mean(axis=1)):.0f}")
    return table


def main(
    sequences: Annotated[Path, typer.Argument(help="Sequences folder.", exists=True)],
    embeddings: Annotated[Path, typer.Argument(help="Text embeddings folder.", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
    folds: Annotated[int, typer.Option(min=2)] = 10,
    only_folds: Annotated[int, typer.Option(help="Train the first folds only.")] = 2,
) -> None:
    """Train what is missing and print the table; a run that was stopped goes on."""
    with report_errors():
        base = load_config(SHIPPED, SETTINGS)
        data = load_sequences(sequences)
        true = load_embeddings(embeddings, data)
        shuffled = control_text(true, TextControl.SHUFFLED, base.seed)
        ranks: Ranks = {}
        for number, cold in enumerate(draw_folds(data.num_items, folds)[:only_folds]):
            fold, made = output / f"fold_{number}", output / f"stage_{number}"
            if not fold.exists():
                write_fold(sequences, fold, cold, base)
            checkpoint, config = made / "checkpoint", base.narrow(StageConfig)
            run_stage(
                Stage.PRETRAIN_SASREC.value, fold, checkpoint, made / "memories", config, device="cpu", resume=True
            )
            candidates = cold_candidates(load_sequences(fold).test, cold, data.histories("full"))
            rank_fold(fold, checkpoint, candidates, {"none": None, "true": true, "shuffled": shuffled}, ranks)
        PlainConsole(width=140).print(show(ranks))


if __name__ == "__main__":
    typer.run(main)
