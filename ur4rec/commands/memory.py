"""`ur4rec memory`: stats, show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands.console import (
    DEFAULT_MODEL,
    REGISTERED,
    ModelOption,
    TrackingOption,
    TrainedSequencesOption,
    show,
    show_table,
)

memory_app = typer.Typer(help="Look into the memories of the users.", no_args_is_help=True)


@memory_app.command()
def stats(model: ModelOption = DEFAULT_MODEL, tracking_uri: TrackingOption = None) -> None:
    """How many users have a memory, and how much it holds.

    A registered model has read every interaction, a folder of trained outputs the training interactions. The numbers
    in results.json lie in between: there each user's memory stands before the test target.

    For example:

        ur4rec memory stats

        ur4rec memory stats --model outputs/ur4rec_moe
    """
    from ur4rec.registry.memories import memory_statistics

    with _open_folder(model, tracking_uri) as folder:
        statistics = memory_statistics(folder)
    show_table(f"memory after {statistics.read_up_to}", ("what", "value"), statistics.numbers.items())


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
    from ur4rec.registry.memories import describe_user

    with _open_folder(model, tracking_uri) as folder:
        report = describe_user(folder, user, sequences)
    progress = f"{report.absorbed} read, {report.pending} of them since the last update"
    show(f"user {report.user_id}, after {report.read_up_to}: {progress}")
    if not report.norms:
        show("no update yet: the memory is empty")
        return
    show(f"last update: {report.last_update}")
    rows = zip(range(len(report.norms)), report.norms, report.similarities, strict=True)
    show_table("slots, newest first", ("slot", "norm", "cosine with the newest"), rows)


@contextmanager
def _open_folder(model: str, tracking_uri: str | None) -> Iterator[Path]:
    if not model.startswith(REGISTERED):
        yield Path(model)
        return
    from ur4rec.registry.loading import fetch_bundle

    with fetch_bundle(model, tracking_uri) as bundle:
        yield bundle
