"""`ur4rec memory`: stats, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands.console import show, show_table

memory_app = typer.Typer(help="Look into the memories of the users.", no_args_is_help=True)

ModelOption = Annotated[
    Path, typer.Option("--model", "-m", help="A bundle, or a folder of trained outputs.", exists=True, file_okay=False)
]


@memory_app.command()
def stats(model: ModelOption = Path("outputs/ur4rec_moe")) -> None:
    """How many users have a memory, and how much it holds.

    For example:

        ur4rec memory stats --model outputs/ur4rec_moe
    """
    from ur4rec.registry.memories import memory_statistics

    show_table("memory", ("what", "value"), memory_statistics(model).items())


@memory_app.command(name="show")
def show_user(
    user: Annotated[str, typer.Argument(help="User id.")],
    model: ModelOption = Path("outputs/ur4rec_moe"),
    sequences: Annotated[
        Path | None,
        typer.Option(help="Sequences folder, for a folder of trained outputs.", exists=True, file_okay=False),
    ] = None,
) -> None:
    """The memory of one user, slot by slot.

    For example:

        ur4rec memory show 1 --model outputs/ur4rec_moe --sequences outputs/sequences
    """
    from ur4rec.registry.memories import describe_user

    report = describe_user(model, user, sequences)
    show(f"user {report.user_id}: {report.absorbed} interactions read, {report.pending} since the last update")
    if not report.norms:
        show("no update yet: the memory is empty")
        return
    show(f"last update: {report.last_update}")
    rows = zip(range(len(report.norms)), report.norms, report.similarities, strict=True)
    show_table("slots, newest first", ("slot", "norm", "cosine with the newest"), rows)
