"""The `ur4rec` command line."""

from __future__ import annotations

from typing import Annotated

import typer

from ur4rec.commands.console import ErrorGroup, let_waiting_threads_sleep
from ur4rec.commands.data import data_app, publish
from ur4rec.commands.evaluation import evaluate
from ur4rec.commands.experiments import SeedsCommand, ablate, tune
from ur4rec.commands.memory import memory_app
from ur4rec.commands.recommendation import recommend
from ur4rec.commands.registry import register, registry_app
from ur4rec.commands.serving import serve
from ur4rec.commands.text import text_app
from ur4rec.commands.training import train

app = typer.Typer(
    cls=ErrorGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(text_app, name="text")
app.command()(train)
app.command()(evaluate)
app.command(cls=SeedsCommand)(ablate)
app.command()(tune)
app.command()(register)
app.command()(recommend)
app.command()(serve)
app.add_typer(memory_app, name="memory")
app.command()(publish)
app.add_typer(registry_app, name="registry")


def _print_version(value: bool) -> None:
    if value:
        from ur4rec import __version__

        typer.echo(f"ur4rec {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Sequential recommendation from behaviour and language-model text.

    Every command prints its own examples: [bold]ur4rec COMMAND --help[/bold].
    """
    let_waiting_threads_sleep()
