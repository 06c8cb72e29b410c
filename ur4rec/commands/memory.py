"""`ur4rec memory`: stats, show, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    DEFAULT_MODEL,
    ModelOption,
    TrackingOption,
    TrainedSequencesOption,
    show,
    show_table,
)

memory_app = typer.Typer(help="Look into the memories of the users.", no_args_is_help=True)


@memory_app.command()
def stats(model: ModelOption = DEFAULT_MODEL, tracking_uri: TrackingOption = None) -> None:
    """How many users have a memory, how much it holds, and the bytes it takes.

    A registered model has read every interaction, a folder of trained outputs the training interactions. The numbers
    in results.json lie in between: there each user's memory stands before the test target.

    For example:

        ur4rec memory stats

        ur4rec memory stats --model outputs/ur4rec_moe
    """
    from ur4rec.recommender.memories import memory_statistics

    with locations.open_model(model, tracking_uri) as folder:
        read_up_to, numbers = memory_statistics(folder)
    show_table(f"memory after {read_up_to}", ("what", "value"), numbers.items())


@memory_app.command(name="show")
def show_user(
    user: Annotated[str, typer.Argument(help="User id.")],
    model: ModelOption = DEFAULT_MODEL,
    sequences: TrainedSequencesOption = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """The memory of one user, slot by slot.

    For example:

        ur4rec memory show 1

        ur4rec memory show 1 --model outputs/ur4rec_moe --sequences outputs/sequences
    """
    from ur4rec.recommender.memories import describe_user

    with locations.open_model(model, tracking_uri) as folder:
        report = describe_user(folder, user, sequences)
    progress = f"{report.absorbed} read, {report.pending} of them since the last update"
    show(f"user {report.user_id}, after {report.read_up_to}: {progress}")
    if not report.norms:
        show("no update yet: the memory is empty")
        return
    show(f"last update: {report.last_update}")
    rows = zip(range(len(report.norms)), report.norms, report.similarities, strict=True)
    show_table("slots, newest first", ("slot", "norm", "cosine with the newest"), rows)


@memory_app.command()
def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A", help="models:/NAME@ALIAS, a bundle or a folder of outputs.", parser=locations.model
        ),
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", help="The same; what is compared with A.", parser=locations.model)
    ],
    top: Annotated[int, typer.Option(min=0, help="Users to name that moved most.")] = 10,
    sequences: TrainedSequencesOption = None,
    sequences_b: Annotated[
        Path | None, typer.Option(help="The same for B, where it is another.", parser=locations.folder)
    ] = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """What happened to the memories from A to B, and whose moved most.

    States are compared where both have the same weights, as before and after more interactions. Two trainings have
    unrelated latent spaces; between them there are counts only.

    For example:

        ur4rec memory diff models:/ur4rec@champion models:/ur4rec@challenger

        ur4rec memory diff outputs/ur4rec_moe models:/ur4rec@challenger --sequences outputs/sequences
    """
    from ur4rec.recommender.memory_diff import compare_memories

    with locations.open_model(first, tracking_uri) as folder, locations.open_model(second, tracking_uri) as other:
        report = compare_memories(folder, other, (sequences, sequences_b or sequences), top)
    for name, model, read_up_to in zip("AB", (first, second), report.read_up_to, strict=True):
        show(f"{name}: {model}, after {read_up_to}")
    if not report.by_id:
        show("users are matched by index: their ids are not known; name the data with --sequences")
    if not report.comparable:
        show("the weights differ: two trainings have unrelated latent spaces, so there are counts only")
    show_table("memories, from A to B", ("what", "value"), report.numbers.items())
    if report.most_moved:
        rows = [(one.user_id, one.cosine, one.interactions, one.updates) for one in report.most_moved]
        show_table("moved most", ("user", "cosine of A and B", "interactions more", "updates more"), rows)
    elif report.comparable and not report.numbers["changed"]:
        show("no memory differs")
