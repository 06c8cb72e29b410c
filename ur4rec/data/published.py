"""What is known of a published data set: where it is, in which layouts, how it becomes a pair of CSV files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ur4rec.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from ur4rec.data.archives import MAX_FILE_BYTES, SourceFile

INTERACTIONS_CSV, ITEMS_CSV = "interactions.csv", "items.csv"
INTERACTION_COLUMNS = (USER_ID, ITEM_ID, TIMESTAMP, RATING)
MAX_DOWNLOAD_BYTES = 1 << 28

Files = Mapping[str, SourceFile]


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is published."""

    names: tuple[str, ...]
    """Files that make it up."""
    convert: Callable[[Files, Path], None]
    """Writes the pair of these files into a folder; raises ValueError on anything that does not parse."""
    md5: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Published digests and sizes in bytes, where the pair's own digests are not known."""


@dataclass(frozen=True)
class Dataset:
    """A data set that can be fetched."""

    name: str
    urls: tuple[str, ...]
    """Official addresses: a zip archive, or files that belong together."""
    layouts: tuple[Layout, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of the pair."""
    md5: str = ""
    """Published digest of the archive, where there are none of its files."""
    wheel: str | None = None
    """Requirement of a published wheel that holds a copy."""
    max_download_bytes: int = MAX_DOWNLOAD_BYTES
    """No file at an address is larger."""
    max_file_bytes: int = MAX_FILE_BYTES
    """No file is larger, unpacked."""

    @property
    def downloads(self) -> dict[str, str]:
        """Return the name of the file at each address → the address."""
        return {PurePosixPath(url).name: url for url in self.urls}


def rewrite_ratings(
    raw: BinaryIO,
    folder: Path,
    columns: Mapping[str, str],
    separator: str = ",",
    names: tuple[str, ...] = (),
    per_second: int = 1,
) -> None:
    """Write `interactions.csv` out of a table of ratings, a part at a time: rows and values stay as they are.

    Args:
        raw: The table.
        folder: The file goes here.
        columns: What we call the four columns → how the table calls them.
        separator: It stands between two fields.
        names: Names of all fields, for a table without a header.
        per_second: The unit of its times; fractions of seconds stay.

    Raises:
        ValueError: The table has other columns, or a time is no number.
    """
    types = dict.fromkeys(columns.values(), pa.string()) | {columns[TIMESTAMP]: pa.int64()}
    chosen = [columns[name] for name in INTERACTION_COLUMNS]
    try:
        table = csv.open_csv(
            raw,
            csv.ReadOptions(column_names=list(names) or None),
            csv.ParseOptions(delimiter=separator, quote_char=False if names else '"'),
            csv.ConvertOptions(column_types=types, include_columns=chosen, strings_can_be_null=False),
        )
    except KeyError as error:
        raise ValueError(str(error)) from None
    write = csv.WriteOptions(include_header=False, quoting_style="none")
    with (folder / INTERACTIONS_CSV).open("wb") as file:
        file.write(",".join(INTERACTION_COLUMNS).encode() + b"\n")
        with csv.CSVWriter(file, _divide_times(table.schema, per_second), write_options=write) as writer:
            for batch in table:
                writer.write_batch(_cut_batch(batch, per_second))


def _divide_times(schema: pa.Schema, per_second: int) -> pa.Schema:
    kind = pa.int64() if per_second == 1 else pa.float64()
    position = INTERACTION_COLUMNS.index(TIMESTAMP)
    return pa.schema([*schema]).set(position, pa.field(TIMESTAMP, kind))


def _cut_batch(batch: pa.RecordBatch, per_second: int) -> pa.RecordBatch:
    columns = batch.columns
    position = INTERACTION_COLUMNS.index(TIMESTAMP)
    if per_second != 1:
        columns[position] = pc.divide(columns[position].cast(pa.float64()), per_second)
    return pa.record_batch(columns, schema=_divide_times(batch.schema, per_second))
