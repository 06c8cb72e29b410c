"""The command line of the old script that wrote the texts: `ur4rec text generate`, of old data folders too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands.console import OptionError, report_errors
from ur4rec.commands.text import text_app
from ur4rec.scripts.training_script import find_sequences
from ur4rec.storage.temporaries import scratch_folder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def main(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data_dir", help="Sequences folder, one that holds it, or old pickled sequences.", exists=True),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output_dir", help="Gets the texts; outputs/llm_text if not given.")
    ] = None,
) -> None:
    """Write a description of every item and the preference texts of every user.

    Every option of `ur4rec text generate` may follow, such as --provider dashscope --budget 2.
    """
    written = [] if output_dir is None else ["--output", str(output_dir)]
    with report_errors(), scratch_folder("sequences") as scratch:
        if data_dir is None and not context.args:
            raise OptionError("--data_dir: missing; sequences, as `ur4rec data preprocess` makes them")
        found = [] if data_dir is None else [str(find_sequences(data_dir, scratch))]
        text_app(["generate", *found, *written, *context.args], prog_name="ur4rec text")


if __name__ == "__main__":
    app()
