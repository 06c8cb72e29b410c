"""`ur4rec registry …`: the life of a version."""

from __future__ import annotations

import typer

from ur4rec.commands.registry_gate import gate
from ur4rec.commands.registry_promotion import anchor, compare, history, list_versions, promote, rollback, show_version

registry_app = typer.Typer(
    help="Judge, promote and look at versions of the registered model.", no_args_is_help=True, rich_markup_mode="rich"
)
registry_app.command()(gate)
registry_app.command()(promote)
registry_app.command()(rollback)
registry_app.command()(anchor)
registry_app.command()(history)
registry_app.command(name="list")(list_versions)
registry_app.command(name="show")(show_version)
registry_app.command()(compare)
