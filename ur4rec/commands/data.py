"""`ur4rec data`: fetch, preprocess, import-legacy, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import (
    ConfigOption,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)

if TYPE_CHECKING:
    from ur4rec.storage.artifacts import Manifest

SHOWN_ITEMS = 5

data_app = typer.Typer(help="Fetch and prepare interactions.", no_args_is_help=True)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Data set, for example ml-100k.")],
    source: Annotated[Path | None, typer.Option("--from", help="Folder or zip you already have.", exists=True)] = None,
    cache: Annotated[Path | None, typer.Option(help="Cache folder instead of the user's own.")] = None,
) -> None:
    """Get a public data set, verified by digest, and print its folder.

    For example:

        ur4rec data fetch ml-100k

        ur4rec data fetch ml-100k --from ~/Downloads/ml-100k.zip
    """
    from ur4rec.data.sources import fetch as fetch_data

    show(str(fetch_data(name, source=source, cache=cache)))


@data_app.command()
def preprocess(
    interactions: Annotated[Path, typer.Argument(help="Fetched folder, or a CSV/Parquet file.", exists=True)],
    output: OutputOption = Path("outputs/sequences"),
    items: Annotated[
        Path | None, typer.Option(help="Item table: item_id, title, genres, description.", exists=True)
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Filter, split and index interactions; tell what was left out.

    For example:

        ur4rec data preprocess "$(ur4rec data fetch ml-100k)" -o outputs/sequences

        ur4rec data preprocess plays.csv --items songs.csv --set split=time --set bad_rows=exclude
    """
    from ur4rec.data.config import DataConfig
    from ur4rec.data.preprocess import preprocess_sequences

    section = read_config(config, settings).narrow(DataConfig)
    manifest = preprocess_sequences(interactions, output, section, items=items)
    show_exclusions(manifest)
    show(_count(manifest))
    show(f"sequences: {output}")


@data_app.command()
def import_legacy(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Old train_, val_ and test_sequences.npy, perhaps item_map.json.", exists=True, file_okay=False
        ),
    ],
    output: OutputOption = Path("outputs/sequences"),
    items: Annotated[
        Path | None, typer.Option(help="Item table: item_id, title, genres, description.", exists=True)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the data set, shown in results.")] = "legacy",
) -> None:
    """Turn old pickled sequences ({user: [items]}) into a sequences folder, without running what they bring along.

    For example:

        ur4rec data import-legacy old/ml-100k -o outputs/sequences --items films.csv --name ml-100k
    """
    from ur4rec.data.legacy import LegacyConfig
    from ur4rec.data.legacy import import_legacy as import_files
    from ur4rec.data.sequences import ARE_POSITIONS

    manifest = import_files(folder, output, LegacyConfig(dataset_name=name), items)
    show_exclusions(manifest)
    show(_count(manifest))
    if manifest.details["timestamps"][ARE_POSITIONS]:
        show("timestamps: positions in each user's list, because the files hold no times")
    show(f"sequences: {output}")


@data_app.command(name="show")
def show_sequences(sequences: SequencesArgument) -> None:
    """Counts, exclusions and first items of a sequences folder.

    For example:

        ur4rec data show outputs/sequences
    """
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
    show_exclusions(read_artifact(sequences))
    head = loaded.items.head(SHOWN_ITEMS)
    show_table("first items", ("item_id", "title", "genres"), head[["item_id", "title", "genres"]].to_numpy())


def show_exclusions(manifest: Manifest) -> None:
    """What was left out or replaced, as a table, or a line where nothing was."""
    from ur4rec.data.summary import exclusion_table

    rows = exclusion_table(manifest)
    if rows:
        show_table("exclusions", ("what", "count"), rows)
    else:
        show("exclusions: none")


def _count(manifest: Manifest) -> str:
    details = manifest.details
    kept = ", ".join(f"{details[f'num_{what}']:,} {what}" for what in ("users", "items", "interactions"))
    rows = details["rows"]
    return f"{kept}: {rows['train']:,} train, {rows['val']:,} validation, {rows['test']:,} test"
