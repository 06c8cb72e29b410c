"""`ur4rec registry …`: the life of a version."""

from __future__ import annotations

import typer

from ur4rec.commands.registry_gate import gate

registry_app = typer.Typer(
    help="Judge, promote and look at versions of the registered model.", no_args_is_help=True, rich_markup_mode="rich"
)
registry_app.command()(gate)
