from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from pipelines.options import grouped


@dataclass(frozen=True)
class Pair:
    """Two options."""

    first: Annotated[str, typer.Option("--first", "-f", help="The first.")] = "a"
    second: Annotated[int | None, typer.Option(help="The second.")] = None


def test_a_group_is_one_parameter_of_the_command_and_an_option_a_field_of_the_user() -> None:
    app = typer.Typer()

    @app.command()
    @grouped
    def show(*, name: Annotated[str, typer.Argument()], pair: Pair, last: bool = False) -> None:
        """Show all."""
        typer.echo(f"{name} {pair} {last}")

    def invoke(*arguments: str) -> str:
        return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "TERM": "dumb"}).output

    assert invoke("x") == f"x {Pair()} False\n"
    assert invoke("x", "-f", "b", "--second", "3", "--last") == f"x {Pair('b', 3)} True\n"
    shown = invoke("--help")
    assert "Show all." in shown
    assert shown.index("--first") < shown.index("The second.") < shown.index("--last")
