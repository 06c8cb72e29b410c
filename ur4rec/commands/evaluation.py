"""`ur4rec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    OptionError,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)

if TYPE_CHECKING:
    from ur4rec.config import Config
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

    values = read_config(config, settings)
    _refuse_other_rule(values, checkpoint)
    section = values.narrow(EvaluationConfig)
    upstream = find_upstream(sequences, checkpoint, embeddings)
    results = evaluate_model(sequences, checkpoint, output / "results.json", output / "report.html", section, upstream)
    show_results(results)
    show(f"report: {output / 'report.html'}")


def _refuse_other_rule(config: Config, checkpoint: Path) -> None:
    from ur4rec.training.checkpoints import read_shape

    rule = read_shape(checkpoint).seen_items
    if "seen_items" in config.model_fields_set and config.seen_items != rule:
        raise OptionError(
            f"seen_items: {checkpoint} was trained with {rule}, and is measured by that rule; leave it out, or "
            f"train with seen_items={config.seen_items}"
        )


def show_results(results: Results) -> None:
    """Show every system's headline metrics, what its lists come to, and the first metric by target count."""
    from ur4rec.evaluation.results import HEADLINE_METRICS
    from ur4rec.evaluation.slices import TARGET_COUNT, slice_title

    main, *others = HEADLINE_METRICS
    rows = [
        (
            system,
            metrics[main].value,
            "{:.4f} to {:.4f}".format(*metrics[main].ci95),
            *(metrics[name].value for name in others),
        )
        for system, metrics in results.test.items()
    ]
    title = f"test on {results.dataset.name} ({results.protocol})"
    show_table(title, ("system", main, "95 % interval", *others), rows)
    if names := results.list_metrics:
        lists = [
            (system, *(figures[name].value if name in figures else "–" for name in names))
            for system, figures in results.lists.items()
        ]
        show_table("what the systems would recommend", ("system", *names), lists)
    columns, by_count = results.tabulate_slices(TARGET_COUNT)
    if by_count:
        show_table(f"{main} of {slice_title(TARGET_COUNT)}", columns, by_count)
    for note in results.notes:
        show(note)
