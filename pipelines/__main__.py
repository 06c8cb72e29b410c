"""`python -m pipelines`: compile the pipeline, run it on this machine or on a cluster, schedule it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cluster import run_commands, schedule_commands
from pipelines.compilation import PIPELINE_FILE, check_compiled, compile_pipeline
from pipelines.containers import Runner
from pipelines.image_names import read_images
from pipelines.options import (
    DEFAULT_CONFIG,
    GateRulesOption,
    ImageDigestOption,
    ImageRepositoryOption,
    ImageTagOption,
    ProfileOption,
)
from ur4rec.commands.console import INTERRUPTED, DeviceOption, ErrorGroup, SetOption, show
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from pipelines.arguments import Tracking
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
def compile_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", dir_okay=False)] = PIPELINE_FILE,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is out of date.")] = False,
    image_repository: ImageRepositoryOption = None,
    image_tag: ImageTagOption = None,
    image_digest: ImageDigestOption = None,
    profile: ProfileOption = None,
) -> None:
    """Compile the pipeline to YAML.

    Examples:
        python -m pipelines compile

        python -m pipelines compile -o mine.yaml --image-repository registry.example/team/ur4rec --profile gpu
    """
    images = read_images(image_repository, image_tag, image_digest)
    if check:
        check_compiled(output, images, profile)
        return
    compile_pipeline(output, images, profile)
    show(f"compiled: {output}")


@app.command()
def run(
    config: Annotated[
        str,
        typer.Option("--config", "-c", help="YAML file of settings, or a shipped one: toy, ur4rec_moe_100k."),
    ] = DEFAULT_CONFIG,
    data: Annotated[
        str | None,
        typer.Option(help="ml-100k, ml-1m, a CSV or Parquet file, a folder, or gs://.", show_default="ml-100k"),
    ] = None,
    items: Annotated[
        str | None, typer.Option(help="Item table: item_id, title, genres, description; a file or gs://.")
    ] = None,
    item_text: Annotated[str | None, typer.Option(help="Item texts that exist already; a file or gs://.")] = None,
    user_text: Annotated[str | None, typer.Option(help="User texts that exist already; a file or gs://.")] = None,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Gets the trained files, results and report.", file_okay=False)
    ] = Path("outputs/ur4rec_moe"),
    pipeline_root: Annotated[
        Path, typer.Option(help="Keeps the artifacts of all runs, and the cache.", file_okay=False)
    ] = Path("outputs/pipeline_root"),
    device: DeviceOption = "auto",
    runner: Annotated[
        Runner, typer.Option(help="Tasks as processes of this environment, or in the containers of `make images`.")
    ] = Runner.PROCESS,
    state: Annotated[
        str | None,
        typer.Option(
            help="Folder or gs://bucket/prefix where unfinished stages keep their state.",
            show_default="in PIPELINE_ROOT",
        ),
    ] = None,
    gate_rules: GateRulesOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever ran before.")] = False,
    settings: SetOption = None,
) -> None:
    """Run the compiled pipeline on this machine: from data to a registered model that was judged.

    What has not changed since the last run is taken from the cache.

    Examples:
        python -m pipelines run

        python -m pipelines run --config toy --data plays.csv --items songs.csv

        python -m pipelines run --set epochs_per_stage=10 --set seed=7 --output-dir outputs/seed7

        python -m pipelines run --runner docker --data gs://bucket/plays
    """
    started = time.monotonic()
    from pipelines.preparation import RunOptions, prepare

    options = RunOptions(
        config=config,
        settings=tuple(settings or ()),
        data=data,
        items=items,
        item_text=item_text,
        user_text=user_text,
        device=device,
        output_dir=output_dir,
        pipeline_root=pipeline_root,
        caching=not no_cache,
        runner=runner,
        state=state,
        gate_rules=gate_rules,
    )
    prepared, tracking = prepare(options)
    raise typer.Exit(_run(prepared, tracking, started))


for command in (run_commands.submit, run_commands.status, run_commands.watch, run_commands.logs):
    app.command()(command)
app.add_typer(schedule_commands.app, name="schedule")


def _run(prepared: LocalRun, tracking: Tracking, started: float) -> int:
    from pipelines.failure import show_failure, show_leftovers
    from pipelines.local_run import execute, lock_run
    from pipelines.summary import export_run, show_success

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
    show_success(console, prepared, outcome, tracking.public, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    app(prog_name="python -m pipelines")
