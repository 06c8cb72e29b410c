"""`ur4rec ablate` and `ur4rec tune`: options, progress, tables, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from typer.core import TyperCommand

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OptionError,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)
from ur4rec.commands.progress import bar_columns
from ur4rec.progress import report
from ur4rec.terminal import PlainConsole
from ur4rec.training.stage_names import Stage

if TYPE_CHECKING:
    from ur4rec.config import Config
    from ur4rec.experiments.ablation_table import AblationTable
    from ur4rec.experiments.tune import Tuning
    from ur4rec.experiments.units import Unit

SEEDS = "--seeds"
MOST_SEEDS = 1000
DEFAULT_TRIALS = 20
SHOWN_TRIALS = 10
FAILED = 1

EmbeddingsArgument = Annotated[Path, typer.Argument(help="Text embeddings folder.", parser=locations.folder)]
JobsOption = Annotated[
    int, typer.Option(help="Trainings at once, each in a process with its share of the cores.", min=1)
]
MetricOption = Annotated[str, typer.Option(help="Metric of a rank, such as ndcg@10, hit@5 or mrr.")]


class SeedsCommand(TyperCommand):
    """Takes several numbers after one `--seeds`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Joins the numbers with commas before the options are read."""
        if SEEDS in args:
            start = args.index(SEEDS) + 1
            end = next((place for place in range(start, len(args)) if not args[place].isdigit()), len(args))
            if end > start:
                args = [*args[:start], ",".join(args[start:end]), *args[end:]]
        return super().parse_args(ctx, args)


def ablate(
    sequences: SequencesArgument,
    embeddings: EmbeddingsArgument,
    output: OutputOption = Path("outputs/ablation"),
    variants: Annotated[
        Path | None,
        typer.Option(help="YAML file of variants, instead of the shipped ones.", exists=True, dir_okay=False),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this variant and the reference only; may be repeated.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(SEEDS, help="How many, from 1 on; or several, as in 1 2 5; or one, as in 7,", metavar="N ...")
    ] = "5",
    jobs: JobsOption = 2,
    metric: MetricOption = "ndcg@10",
    reference: Annotated[str, typer.Option(help="Variant that the others are compared with.")] = "full",
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Train variants of the model with several seeds and compare them; a run that was stopped goes on.

    For example:

        ur4rec ablate outputs/sequences outputs/text_embeddings -o outputs/ablation --config ur4rec_moe_100k

        ur4rec ablate outputs/sequences outputs/text_embeddings --only no_moe --only no_memory --seeds 1 2 3 --jobs 1
    """
    from ur4rec.experiments.ablate import ablate as run_ablation
    from ur4rec.experiments.variants import Ablation, load_variants

    ablation = Ablation(load_variants(variants), read_seeds(seeds), only or (), reference, metric)
    base = _read_base(config, settings, sequences, "ablate")
    with show_units("ablate") as advance:

        def on_unit(unit: Unit, done: int, total: int) -> None:
            advance(done, total, str(unit), None)

        table = run_ablation(sequences, embeddings, output, base, ablation, jobs, device, on_unit)
    show_tables(table, output)
    end_with(table.failures, f"logs: {output / 'units'}")


def tune(
    sequences: SequencesArgument,
    embeddings: EmbeddingsArgument,
    output: OutputOption = Path("outputs/tuning"),
    trials: Annotated[
        int | None,
        typer.Option(
            help="Finished trials to come to, earlier runs included.", min=1, show_default="20; with --grid all"
        ),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try every combination of the values in the space, instead of TPE.")
    ] = False,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML file of what to vary, instead of the shipped one.", exists=True, dir_okay=False),
    ] = None,
    metric: MetricOption = "ndcg@10",
    stage: Annotated[Stage, typer.Option(help="Last stage to train; its validation counts.")] = Stage.END_TO_END,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which no trial begins.", min=0, metavar="SECONDS")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Give a trial up below the median of its stage.")] = False,
    jobs: JobsOption = 1,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Search settings with a better validation metric (TPE, or a whole grid); a run that was stopped goes on.

    For example:

        ur4rec tune outputs/sequences outputs/text_embeddings -o outputs/tuning --config ur4rec_moe_100k --trials 40

        ur4rec tune outputs/sequences outputs/text_embeddings --grid --space grid.yaml

        ur4rec train outputs/sequences outputs/text_embeddings --config outputs/tuning/best.yaml
    """
    from ur4rec.experiments.search_space import find_outside, list_grid, load_space
    from ur4rec.experiments.tune import Search
    from ur4rec.experiments.tune import tune as run_tuning

    base = _read_base(config, settings, sequences, "tune")
    searched = load_space(space, base, stage.value)
    trials = trials or (len(list_grid(searched)) if grid else DEFAULT_TRIALS)
    search = Search(searched, trials, metric, stage.value, timeout, prune, grid)
    if outside := find_outside(search.space, base.to_dict()):
        listed = ", ".join(f"{name} {value}" for name, value in outside.items())
        show(f"the base configuration is no trial, and may be better than all of them; outside of the space: {listed}")
    with show_units("tune") as advance:

        def on_trial(number: int, value: float | None, done: int) -> None:
            advance(done, trials, f"trial {number}", value)

        tuning = run_tuning(sequences, embeddings, output, base, search, jobs, device, on_trial)
    show_tuning(tuning, search.metric, output)


def _read_base(config: Path | None, settings: Sequence[str] | None, sequences: Path, told: str) -> Config:
    """The configuration that variants and trials differ from; the data decide once, for all of them."""
    from ur4rec.auto.settle import settle
    from ur4rec.data.sequences import load_sequences

    base = read_config(config, settings)
    return settle(base, load_sequences(sequences), told) if base.left_to_data else base


def read_seeds(text: str) -> list[int]:
    """Seeds from what `--seeds` was given.

    Raises:
        OptionError: A part is no whole number, or there is to be no seed.

    >>> read_seeds("3"), read_seeds("4,7"), read_seeds("7,")
    ([1, 2, 3], [4, 7], [7])
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdigit() for part in parts):
        raise OptionError(f"{SEEDS} {text}: expected whole numbers, for example {SEEDS} 5 or {SEEDS} 1 2 3")
    numbers = [int(part) for part in parts]
    if len(numbers) > 1 or "," in text:
        return numbers
    if numbers == [0]:
        raise OptionError(f"{SEEDS} {text}: expected how many, at least 1; the seed 0 alone is {SEEDS} 0,")
    if numbers[0] > MOST_SEEDS:
        raise OptionError(
            f"{SEEDS} {text}: expected how many, at most {MOST_SEEDS:,}; the seed {numbers[0]} alone is {SEEDS} {text},"
        )
    return list(range(1, numbers[0] + 1))


@contextmanager
def show_units(task: str) -> Iterator[Callable[[int, int, str, float | None], None]]:
    """Show a bar on a terminal, a line for each call elsewhere: done, total, what has ended, its value."""
    console = PlainConsole()
    if not console.is_terminal:

        def tell(done: int, total: int, name: str, value: float | None) -> None:
            values: dict[str, float | int | str] = {"done": done, "of": total, "ended": name}
            report(task, values if value is None else values | {"value": value})

        yield tell
        return
    with Progress(*bar_columns("ended"), console=console) as bars:
        bar = bars.add_task(task, total=None, ended="")

        def advance(done: int, total: int, name: str, value: float | None) -> None:
            ended = name if value is None else f"{name}: {value:.4f}"
            bars.update(bar, completed=done, total=total, ended=ended)

        yield advance


def show_tables(table: AblationTable, output: Path) -> None:
    """Show every table, what to know of it, and where it is written."""
    from ur4rec.experiments.ablation_table import LEGEND, tables

    for title, heads, rows in tables(table):
        show_table(title, heads, rows)
    show(LEGEND)
    for note in table.notes:
        show(f"note: {note}")
    show(f"tables: {output / 'ablation.md'}, {output / 'ablation.json'}")


def show_tuning(tuning: Tuning, metric: str, output: Path) -> None:
    """Show the best trials, then exit with code 1 where a trial failed."""
    if tuning.best:
        names = list(tuning.trials[0].settings)
        rows: list[Sequence[object]] = [
            (str(trial.number), f"{trial.value:.4f}", *(str(trial.settings[name]) for name in names))
            for trial in tuning.trials[:SHOWN_TRIALS]
        ]
        show_table(
            f"best of {len(tuning.trials)} trials, {tuning.num_pruned} more given up early",
            ("trial", f"validation {metric}", *names),
            rows,
        )
        if tuning.importance:
            show_table(
                "importance", ("key", "share"), [(name, f"{share:.2f}") for name, share in tuning.importance.items()]
            )
        elif tuning.missing_for_importance:
            show(f"importance: after {tuning.missing_for_importance} more complete trials; of fewer it would be noise")
        show(f"best: {output / 'best.yaml'}")
    else:
        show("no trial is complete: there is no best.yaml")
    end_with(tuning.failures, f"logs: {output / 'logs'}")


def end_with(failures: dict[str, str], hint: str) -> None:
    """Tell every failure in a line, and exit with code 1 where there is one."""
    if not failures:
        return
    for name, error in failures.items():
        PlainConsole(stderr=True).tell((f"failed: {name}: {error}", "red"))
    PlainConsole(stderr=True).tell(hint)
    raise typer.Exit(FAILED)
