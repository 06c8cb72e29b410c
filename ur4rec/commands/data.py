"""`ur4rec data`: fetch, preprocess, import-legacy, show; and `ur4rec publish`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    ItemsOption,
    OptionError,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from ur4rec.storage.artifacts import Manifest


SHOWN_ITEMS = 5
MB = 1e6

data_app = typer.Typer(help="Fetch and prepare interactions.", no_args_is_help=True)


@data_app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="Data set, such as ml-25m or amazon-2023/All_Beauty; or gs://… or s3://….")
    ],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder or zip you already have; a path, gs://… or s3://….", parser=locations.path),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Cache folder instead of the user's own.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where gs:// or s3:// goes instead of the cache.", file_okay=False),
    ] = None,
) -> None:
    """Get a public data set or a folder in cloud storage, verified by digest, and print where it is.

    For example:

        ur4rec data fetch ml-100k

        ur4rec data fetch ml-100k --from ~/Downloads/ml-100k.zip

        ur4rec data fetch amazon-2023/All_Beauty

        ur4rec data fetch gs://bucket/sequences -o outputs/sequences
    """
    from ur4rec.data.sources import default_cache
    from ur4rec.data.sources import fetch as fetch_data
    from ur4rec.storage.folders import fetch_folder, fetch_into_cache
    from ur4rec.storage.stores import is_cloud

    if not is_cloud(name):
        if output:
            raise OptionError(
                "--output: is for gs://… and s3://… alone; a data set goes to the cache, or where --cache says"
            )
        PlainConsole().tell(str(fetch_data(name, source=source, cache=cache)))
        return
    if source:
        raise OptionError("--from: is for data sets alone; gs://… and s3://… name their source")
    with redirect_stdout(sys.stderr):  # progress; the place is what a script reads
        place = fetch_folder(name, output) if output else fetch_into_cache(name, cache or default_cache())
    PlainConsole().tell(str(place))


@data_app.command()
def preprocess(
    interactions: Annotated[
        str,
        typer.Argument(
            help="A data set's folder, or a file; a path, gs://… or s3://….", parser=locations.path_or_cloud
        ),
    ],
    output: OutputOption = Path("outputs/sequences"),
    items: ItemsOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of texts that are not UTF-8, such as gb18030; or --set encoding=….")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Names or positions of columns: user_id=userId,item_id=movieId.", metavar="ROLE=NAME"),
    ] = None,
    events: Annotated[
        str | None, typer.Option(help="Events to keep: purchase,cart; or purchase=3,view=1 as ratings for min_rating.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="What timestamps are that have two readings, such as days or day_first.")
    ] = None,
) -> None:
    """Filter, split and index interactions; tell what was left out.

    For example:

        ur4rec data preprocess "$(ur4rec data fetch ml-100k)" -o outputs/sequences

        ur4rec data preprocess plays.csv --items songs.csv --set split=time --set bad_rows=exclude

        ur4rec data preprocess events.csv --columns user_id=member,item_id=sku --events purchase,addtocart

        ur4rec data preprocess gs://bucket/plays
    """
    from ur4rec.config_section import quote_value
    from ur4rec.data.config import DataConfig
    from ur4rec.data.preprocess import preprocess_sequences

    options = {"encoding": encoding, "columns": columns, "events": events, "time_unit": time_unit}
    given = [f"{name}={quote_value(value)}" for name, value in options.items() if value is not None]
    section = read_config(config, [*(settings or ()), *given]).narrow(DataConfig)
    manifest = preprocess_sequences(interactions, output, section, items=items)
    show(_count(manifest))
    show_summary(manifest)
    show(f"sequences: {output}")


@data_app.command()
def import_legacy(
    folder: Annotated[
        Path,
        typer.Argument(help="Old train_, val_ and test_sequences.npy, perhaps item_map.json.", parser=locations.path),
    ],
    output: OutputOption = Path("outputs/sequences"),
    items: ItemsOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set, shown in results.", show_default="the folder's")
    ] = None,
) -> None:
    r"""Turn old pickled sequences ({user: \[items]}) into a sequences folder, without running what they bring along.

    For example:

        ur4rec data import-legacy old/ml-100k -o outputs/sequences --items films.csv --name ml-100k
    """
    from ur4rec.data.input_files import name_data
    from ur4rec.data.legacy import LegacyConfig
    from ur4rec.data.legacy import import_legacy as import_files
    from ur4rec.storage.inputs import local_copy

    called = LegacyConfig.parse({"dataset_name": name or name_data(folder)}, str(folder))
    with local_copy(items or "") as table:
        manifest = import_files(folder, output, called, table if items else None)
    show(_count(manifest))
    show_summary(manifest)
    show_warnings(manifest)
    show(f"sequences: {output}")


@data_app.command(name="show")
def show_sequences(sequences: SequencesArgument) -> None:
    """Counts, exclusions, first items, and the settings that `auto` chooses, of a sequences folder.

    For example:

        ur4rec data show outputs/sequences

        ur4rec data show gs://bucket/sequences
    """
    from ur4rec.auto.rules import choose
    from ur4rec.auto.settle import spell
    from ur4rec.auto.statistics import measure
    from ur4rec.data.sequences import load_sequences
    from ur4rec.storage.artifacts import read_artifact

    loaded = load_sequences(sequences)
    rows = [
        ("users", loaded.num_users),
        ("items", loaded.num_items),
        ("interactions", loaded.num_interactions),
        ("training rows", len(loaded.train)),
        ("validation targets", len(loaded.val)),
        ("test targets", len(loaded.test)),
    ]
    show_table(loaded.name, ("what", "count"), rows)
    manifest = read_artifact(sequences)
    show_summary(manifest)
    show_warnings(manifest)
    head = loaded.items.head(SHOWN_ITEMS)
    show_table("first items", ("item_id", "title", "genres"), head[["item_id", "title", "genres"]].to_numpy())
    choices = [(name, spell(each.value), each.reason) for name, each in choose(measure(loaded)).items()]
    show_table("settings that auto chooses", ("setting", "value", "reason"), choices)


def show_summary(manifest: Manifest) -> None:
    """Show how the files were read, what a glance should tell of the data, and what was left out or replaced."""
    from ur4rec.data.summary import describe_reading, describe_times, exclusion_table, summary_table

    for line in describe_reading(manifest):
        show(line)
    if values := summary_table(manifest):
        show_table("at a glance", ("what", "value"), values)
    if counts := exclusion_table(manifest):
        show_table("exclusions", ("what", "count"), counts)
    else:
        show("exclusions: none")
    show(describe_times(manifest))


def show_warnings(manifest: Manifest) -> None:
    """Show what is out of the ordinary, and what to do."""
    from ur4rec.data.summary import list_warnings

    for line in list_warnings(manifest):
        show(line)


def _count(manifest: Manifest) -> str:
    details = manifest.details
    kept = ", ".join(f"{details[f'num_{what}']:,} {what}" for what in ("users", "items", "interactions"))
    rows = details["rows"]
    return (
        f"{details['dataset_name']}: {kept}: {rows['train']:,} train, {rows['val']:,} validation, {rows['test']:,} test"
    )


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder with files.", exists=True, file_okay=False)],
    target: Annotated[str, typer.Argument(help="gs://bucket/prefix, s3://bucket/prefix, or a path.")],
) -> None:
    """Put a folder where others read it: they see the version before or the whole new one, verified.

    For example:

        ur4rec publish outputs/sequences gs://bucket/sequences

        ur4rec data fetch gs://bucket/sequences -o outputs/sequences
    """
    from ur4rec.storage.folders import publish_folder

    done = publish_folder(folder, target)
    for leftover in done.removed:
        show(f"removed, unfinished or outdated: {leftover}")
    what = "published" if done.changed else "unchanged"
    show(f"{what}: {target} ({done.num_files:,} files, {done.size_bytes / MB:,.1f} MB)")
