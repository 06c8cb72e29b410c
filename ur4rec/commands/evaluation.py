"""`ur4rec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)

if TYPE_CHECKING:
    from ur4rec.evaluation.results import Results


def evaluate(
    sequences: SequencesArgument,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.", parser=locations.folder)],
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Text embeddings folder, where it does not lie beside the others; its settings and time are reported.",
            parser=locations.folder,
        ),
    ] = None,
    output: OutputOption = Path("outputs/ur4rec_moe"),
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Rank the whole catalogue for every test target; write results.json and report.html.

    For example:

        ur4rec evaluate outputs/sequences outputs/ur4rec_moe/stages/end_to_end/checkpoint -o outputs/ur4rec_moe
    """
    from ur4rec.commands.upstream import find_upstream
    from ur4rec.evaluation.config import EvaluationConfig
    from ur4rec.evaluation.evaluate import evaluate as evaluate_model

    section = read_config(config, settings).narrow(EvaluationConfig)
    upstream = find_upstream(sequences, checkpoint, embeddings)
    results = evaluate_model(sequences, checkpoint, output / "results.json", output / "report.html", section, upstream)
    show_results(results)
    show(f"report: {output / 'report.html'}")


def show_results(results: Results) -> None:
    """Every system's headline metrics."""
    columns = ("system", "ndcg@10", "95 % interval", "hit@10", "mrr")
    rows = [
        (
            system,
            metrics["ndcg@10"].value,
            "{:.4f} to {:.4f}".format(*metrics["ndcg@10"].ci95),
            metrics["hit@10"].value,
            metrics["mrr"].value,
        )
        for system, metrics in results.test.items()
    ]
    protocol = f"{results.protocol.split}, {results.protocol.eval_protocol} ranking"
    show_table(f"test on {results.dataset.name} ({protocol})", columns, rows)
