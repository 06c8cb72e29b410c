"""`python -m ur4rec.text`: the commands of `ur4rec text`."""

import typer

from ur4rec.commands.console import ErrorGroup, let_waiting_threads_sleep
from ur4rec.commands.text import text_app

app = typer.Typer(
    cls=ErrorGroup,
    help=text_app.info.help,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(text_app)

if __name__ == "__main__":
    let_waiting_threads_sleep()
    app(prog_name="python -m ur4rec.text")
