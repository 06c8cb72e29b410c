"""What the commands share: output, errors as one line, configuration from a file and overrides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from typer.core import TyperGroup

from ur4rec.commands import locations
from ur4rec.memory_limits import explain_lack, lacks_memory
from ur4rec.registry.mlflow_client import REGISTERED
from ur4rec.stop_signals import interrupted_by_signals
from ur4rec.storage.writing import name_origins, writing
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from ur4rec.config import Config

USER_ERROR = 2
INTERRUPTED = 130
LONGEST_NAME = 32
"""Characters of the first column of a table that are never broken."""
OUTPUT = Path("standard output")
DEFAULT_MODEL = f"{REGISTERED}ur4rec@challenger"


Device = Literal["auto", "cpu", "cuda"]
SequencesArgument = Annotated[Path, typer.Argument(help="Sequences folder.", parser=locations.folder)]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file of settings, or a shipped one: auto, toy, ur4rec_moe_100k.",
        show_default="auto",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override one setting; may be repeated.", metavar="KEY=VALUE"),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto is the GPU where there is one.")]
ItemsOption = Annotated[
    str | None,
    typer.Option(
        help="Item table: item_id, title, genres, description; a path, gs://… or s3://….",
        parser=locations.path_or_cloud,
    ),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", file_okay=False)]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="models:/NAME@ALIAS, a bundle, or a folder of trained outputs; a path, gs://… or s3://….",
        parser=locations.model,
    ),
]
TrainedSequencesOption = Annotated[
    Path | None,
    typer.Option(help="Sequences folder, for a folder of trained outputs.", parser=locations.folder),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(help="MLflow's address; else MLFLOW_TRACKING_URI, else ./mlflow.db.", show_default=False),
]


class OptionError(ValueError):
    """A command-line option that cannot be read; says what was expected."""


class ErrorGroup(TyperGroup):
    """Reports what a user can put right in one line; `--debug` shows the traceback."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the group's own options, of which `--help` and `--version` print."""
        with report_errors(), writing(OUTPUT):
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `ctx` is Typer's own context, whose class moved between releases."""
        with report_errors(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


@contextmanager
def report_errors(debug: bool = False) -> Iterator[None]:
    """Turn a typed `ValueError`, an `OSError` or a lack of memory into one red line on stderr and exit code 2.

    Other signals that ask the process to end are as Ctrl-C, with codes of their own. A bare `ValueError` is a defect of
    ours or of a library, so it keeps its traceback. What a command notes on an interruption is shown.
    """
    try:
        with interrupted_by_signals():
            yield
    except BrokenPipeError:
        raise  # the reader has left, as `head` does; Typer then ends without a word
    except (ValueError, OSError) as error:
        if debug or type(error) is ValueError:
            raise
        _print_error(_explain(error))
        raise typer.Exit(USER_ERROR) from None
    except (MemoryError, RuntimeError) as error:
        if debug or not lacks_memory(error):
            raise
        _print_error(explain_lack(error, "the amount of data"))
        raise typer.Exit(USER_ERROR) from None
    except KeyboardInterrupt as interruption:
        message = "; ".join(["interrupted", *map(str, getattr(interruption, "__notes__", ()))])
        PlainConsole(stderr=True).tell(message)
        raise typer.Exit(getattr(interruption, "code", INTERRUPTED)) from None


def let_waiting_threads_sleep() -> None:
    """Let threads sleep while they wait; to be called before torch is imported.

    The threads of GNU OpenMP spin while they wait for each other. Any other busy process on the machine then makes
    training 20 times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def read_config(path: Path | None, overrides: Sequence[str] | None) -> Config:
    """Return the validated configuration, without a file `auto`; later overrides win.

    Raises:
        OptionError: An override is not `key=value`.
        ConfigError: An unknown key or a value out of range.
    """
    from ur4rec.config import AUTO_CONFIG, load_config

    return load_config(path or AUTO_CONFIG, split_settings(overrides or ()))


def split_settings(overrides: Sequence[str]) -> dict[str, str]:
    """Return key → value as text; later ones win. An `OptionError` tells that one is not `key=value`."""
    values = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise OptionError(f"--set {override}: expected KEY=VALUE, for example --set batch_size=256")
        values[key.strip()] = value
    return values


def show(message: str) -> None:
    """Print one line, which names what was copied and not the copies."""
    with writing(OUTPUT):
        PlainConsole().tell(name_origins(message))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned, fractions have four digits, a name in front stays on one line."""
    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        numeric = all(isinstance(row[number], int | float) for row in rows)
        short = number == 0 and all(len(str(row[number])) <= LONGEST_NAME for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=short)
    for row in rows:
        table.add_row(*map(_format, row))
    with writing(OUTPUT):
        PlainConsole().print(table)


def _print_error(message: str) -> None:
    PlainConsole(stderr=True).tell(("Error:", "red"), f" {name_origins(' '.join(message.split()))}")


def _explain(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    return str(error)


def _format(value: object) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4f}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}"
    return "" if value is None else str(value)
