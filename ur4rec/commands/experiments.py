"""`ur4rec ablate` and `ur4rec tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
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
)
from ur4rec.commands.experiment_output import show_ablation, show_base_outside, show_tuning, show_units
from ur4rec.training.config import Stage

if TYPE_CHECKING:
    from ur4rec.experiments.units import Unit

SEEDS = "--seeds"
MOST_SEEDS = 1000

EmbeddingsArgument = Annotated[Path, typer.Argument(help="Text embeddings folder.", parser=locations.folder)]
JobsOption = Annotated[
    int, typer.Option(help="Trainings at once, each in a process with its share of the cores.", min=1)
]
MetricOption = Annotated[str, typer.Option(help="hit@1, 5, 10, 20; ndcg@5, 10, 20; mrr.")]


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
    from ur4rec.experiments.choices import Ablation
    from ur4rec.experiments.variants import load_variants

    ablation = Ablation(load_variants(variants), read_seeds(seeds), only or (), reference, metric)
    base = read_config(config, settings)
    with show_units("ablate") as advance:

        def on_unit(unit: Unit, done: int, total: int) -> None:
            advance(done, total, str(unit), None)

        table = run_ablation(sequences, embeddings, output, base, ablation, jobs, device, on_unit)
    show_ablation(table, output)


def tune(
    sequences: SequencesArgument,
    embeddings: EmbeddingsArgument,
    output: OutputOption = Path("outputs/tuning"),
    trials: Annotated[int, typer.Option(help="Finished trials to come to, earlier runs included.", min=1)] = 20,
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
    """Search settings with a better validation metric (TPE); a run that was stopped goes on.

    For example:

        ur4rec tune outputs/sequences outputs/text_embeddings -o outputs/tuning --config ur4rec_moe_100k --trials 40

        ur4rec train outputs/sequences outputs/text_embeddings --config outputs/tuning/best.yaml
    """
    from ur4rec.experiments.search_space import find_outside, load_space
    from ur4rec.experiments.trials import Search
    from ur4rec.experiments.tune import tune as run_tuning

    base = read_config(config, settings)
    search = Search(load_space(space, base, stage.value), trials, metric, stage.value, timeout, prune)
    show_base_outside(find_outside(search.space, base.to_dict()))
    with show_units("tune") as advance:

        def on_trial(number: int, value: float | None, done: int) -> None:
            advance(done, trials, f"trial {number}", value)

        tuning = run_tuning(sequences, embeddings, output, base, search, jobs, device, on_trial)
    show_tuning(tuning, search.metric, output)


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
