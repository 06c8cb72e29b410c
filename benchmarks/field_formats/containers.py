"""The columns `user_id, item_id, timestamp, rating` in what people keep them in."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.field_formats.log import Format, Log, Sample, sample

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def write_delimited(log: Log, folder: Path, name: str, separator: str, encoding: str = "utf-8") -> Sample:
    """Writes a text with column names; compressed where the name says so."""
    rows = log.name()
    path = folder / name
    text = rows.to_csv(sep=separator, index=False).encode(encoding)
    path.write_bytes(COMPRESS.get(path.suffix, bytes)(text))
    return sample(path, rows)


def write_spark(log: Log, folder: Path) -> Sample:
    """Parts beside an empty `_SUCCESS`, as Spark leaves them."""
    rows = log.name().astype({"user_id": int, "item_id": int})
    out = folder / "plays"
    out.mkdir()
    middle = len(rows) // 2
    for number, part in enumerate((rows[:middle], rows[middle:])):
        pq.write_table(
            pa.Table.from_pandas(part, preserve_index=False), out / f"part-{number:05d}-c0de.c000.snappy.parquet"
        )
    (out / "_SUCCESS").touch()
    return sample(out, rows.astype({"user_id": str, "item_id": str}))


def write_hive(log: Log, folder: Path) -> Sample:
    """Parts in folders `dt=…`."""
    rows = log.name().astype({"user_id": int, "item_id": int})
    table = pa.Table.from_pandas(rows.assign(dt=(rows.timestamp // 2_592_000).astype(str)), preserve_index=False)
    ds.write_dataset(
        table,
        folder / "plays",
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("dt", pa.string())]), flavor="hive"),
    )
    return sample(folder / "plays", rows.astype({"user_id": str, "item_id": str}))


FORMATS = [
    Format("CSV", partial(write_delimited, name="plays.csv", separator=",")),
    Format("TSV", partial(write_delimited, name="plays.tsv", separator="\t")),
    Format("CSV with semicolons", partial(write_delimited, name="plays.csv", separator=";")),
    *(
        Format(f"CSV {ending}", partial(write_delimited, name=f"plays.csv{ending}", separator=","))
        for ending in COMPRESS
    ),
    Format("Spark parts", write_spark),
    Format("hive folders", write_hive),
]
