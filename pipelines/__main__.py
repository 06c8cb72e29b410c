"""`python -m pipelines`: compile the pipeline, run it on this machine or on a cluster, schedule it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cluster import run_commands, schedule_commands
from pipelines.compilation import PIPELINE_FILE, check_compiled, compile_pipeline
from pipelines.options import ImageOptions, RunOptions, grouped
from ur4rec.commands.console import INTERRUPTED, ErrorGroup, show
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from pipelines.local_run import LocalRun

app = typer.Typer(
    cls=ErrorGroup,
    help="The training pipeline: compile it, run it here or on a cluster, schedule it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """The training pipeline: compile it, run it here or on a cluster, schedule it."""


@app.command(name="compile")
@grouped
def compile_command(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", dir_okay=False)] = PIPELINE_FILE,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is out of date.")] = False,
    options: ImageOptions,
) -> None:
    """Compile the pipeline to YAML.

    Examples:
        python -m pipelines compile

        python -m pipelines compile -o mine.yaml --image-repository registry.example/team/ur4rec --profile gpu
    """
    if check:
        check_compiled(output, options)
        return
    compile_pipeline(output, options)
    show(f"compiled: {output}")


@app.command()
@grouped
def run(options: RunOptions) -> None:
    """Run the compiled pipeline on this machine: from data to a registered model that was judged.

    What has not changed since the last run is taken from the cache.

    Examples:
        python -m pipelines run

        python -m pipelines run --config toy --data plays.csv --items songs.csv

        python -m pipelines run --set epochs_per_stage=10 --set seed=7 --output-dir outputs/seed7

        python -m pipelines run --runner docker --data gs://bucket/plays
    """
    started = time.monotonic()
    from pipelines.local_run import prepare

    raise typer.Exit(_run(prepare(options), started))


for command in (
    run_commands.submit,
    run_commands.runs,
    run_commands.status,
    run_commands.watch,
    run_commands.logs,
    run_commands.cancel,
    run_commands.retry,
    run_commands.clone,
):
    app.command()(command)
app.add_typer(schedule_commands.app, name="schedule")


def _run(prepared: LocalRun, started: float) -> int:
    from pipelines.local_run import execute, lock_run
    from pipelines.summary import export_run, show_failure, show_leftovers, show_success

    console = PlainConsole()
    with lock_run(prepared):
        try:
            outcome = execute(prepared, console)
        except KeyboardInterrupt as interruption:
            for kept in getattr(interruption, "__notes__", ()):
                show(kept)
            show("interrupted; what had finished is cached, so the same command goes on from there")
            show_leftovers(console, prepared.output_dir)
            return int(getattr(interruption, "code", INTERRUPTED))
        if not outcome.succeeded:
            return show_failure(console, prepared, outcome)
        export_run(outcome, prepared.output_dir)
    show_success(console, prepared, outcome, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    app(prog_name="python -m pipelines")
