"""The item table: titles, years, genres and descriptions beside the interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool

from ur4rec.columns import DESCRIPTION, GENRES, ITEM_ID, TITLE, YEAR
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers, RowCheck, check_rows, parse_numbers
from ur4rec.data.ids import Ids, check_ids, parse_ids
from ur4rec.data.markup import CleanTexts, read_clean_texts
from ur4rec.data.sequences import ITEM_INDEX, NEW_ITEMS
from ur4rec.data.tables import ReadOptions, Table, describe, read_table

LAST_YEAR = 9999
EXAMPLES = 3
DUPLICATE_ITEM = "duplicate_item_row"
TEXTS = (TITLE, GENRES, DESCRIPTION)
SCHEMA = pa.schema(
    [
        (ITEM_INDEX, pa.int64()),
        (ITEM_ID, pa.string()),
        (TITLE, pa.string()),
        (YEAR, pa.int64()),
        (GENRES, pa.string()),
        (DESCRIPTION, pa.string()),
    ]
)


@dataclass(frozen=True)
class ItemTable:
    """Item metadata."""

    path: Path
    frame: pd.DataFrame
    """Index `item_id`, unique; `title, genres, description` (empty if missing), `year` (nullable)."""
    num_read: int
    excluded: dict[str, int]
    """Reason → rows dropped."""
    num_cleaned: int = 0
    """This many texts held markup."""
    reading: dict[str, Any] = field(default_factory=dict)
    """How the file was understood, for the manifest."""
    adds_items: bool = False
    """Whether the catalogue has its items without an interaction."""


def read_items(path: Path, config: DataConfig) -> ItemTable:
    """Read the columns `item_id, title` and, if they are there, `genres, description, year`.

    Rows that say the same of one item are one row, the others are counted. Rows that differ about an item are
    malformed, except for the first.

    Raises:
        DataError: The file as a whole cannot be used, or a row cannot and `bad_rows` is `error`.
    """
    table = read_table(
        path, (ITEM_ID, TITLE), (GENRES, DESCRIPTION, YEAR), ReadOptions(config.columns, config.encoding)
    )
    ids, years = parse_ids(table, ITEM_ID, config.literal_item_ids), _parse_years(table)
    checks = [
        *check_ids(ids, ITEM_ID),
        RowCheck("invalid_year", YEAR, f"a year from 0 to {LAST_YEAR}", years.invalid),
    ]
    texts = {name: read_clean_texts(table, name) for name in TEXTS}
    frame = _build_frame(texts, ids, years)
    usable = ~np.logical_or.reduce([check.fails for check in checks])
    repeats = _mark(usable, frame[usable].duplicated())
    conflicts = _mark(usable, frame[usable].duplicated(ITEM_ID)) & ~repeats
    checks.append(RowCheck("conflicting_item", ITEM_ID, "what an earlier row says of this item", conflicts))
    checked = check_rows(table, checks, config.bad_rows)
    return ItemTable(
        path=path,
        frame=frame[checked.keep & ~repeats].set_index(ITEM_ID),
        num_read=table.num_rows,
        excluded=checked.excluded | ({DUPLICATE_ITEM: int(repeats.sum())} if repeats.any() else {}),
        num_cleaned=sum(column.num_cleaned for column in texts.values()),
        reading=describe(table) | {"similar_ids": {ITEM_ID: ids.num_similar}},
        adds_items=config.new_items == "include",
    )


def build_catalogue(item_ids: pa.StringArray, items: ItemTable | None) -> pd.DataFrame:
    """Return the rows of `items.parquet` for the ids, in their order; an item without a title goes by its id.

    Where the table adds items, those that are not among the ids follow, in the order of the table.

    Raises:
        DataError: The item table has none of the ids.
    """
    ids = item_ids.to_pylist()
    known = _spell_alike(items.frame, ids) if items else pd.DataFrame(columns=[TITLE, YEAR, GENRES, DESCRIPTION])
    if items and not known.index.isin(ids).any():
        examples = ", ".join(map(repr, items.frame.index[:EXAMPLES])) or "none that can be used"
        raise DataError(
            f"{items.path}: none of the {len(ids):,} items of the interactions is in it; they are called "
            f"{', '.join(map(repr, ids[:EXAMPLES]))} there, and {examples} here; give the table of the same items, or "
            f"the column with their ids: --set columns={ITEM_ID}=NAME"
        )
    if items and items.adds_items:
        ids = [*ids, *known.index[~known.index.isin(ids)]]
    catalogue = known.reindex(ids).rename_axis(ITEM_ID).reset_index()
    catalogue[list(TEXTS)] = catalogue[list(TEXTS)].fillna("")
    untitled = catalogue[TITLE].astype(str).str.strip() == ""
    catalogue[TITLE] = catalogue[TITLE].where(~untitled, catalogue[ITEM_ID])
    return catalogue.assign(**{ITEM_INDEX: np.arange(1, len(ids) + 1)})


def count_items(item_ids: pa.StringArray, items: ItemTable | None) -> dict[str, Any]:
    """Count how the item table and the items of the interactions fit together, for the manifest."""
    if items is None:
        return {"rows_read": 0, "excluded_rows": {}, "without_row": len(item_ids)}
    interacted, frame = pd.Index(item_ids.to_pylist()), _spell_alike(items.frame, item_ids.to_pylist())
    known = frame.index
    titles = frame[TITLE] if items.adds_items else frame[TITLE].reindex(interacted.intersection(known))
    num_others = len(known.difference(interacted))
    return {
        "rows_read": items.num_read,
        "excluded_rows": items.excluded,
        **({"cleaned_texts": items.num_cleaned} if items.num_cleaned else {}),
        "without_row": len(interacted.difference(known)),
        "without_title": int((titles.str.strip() == "").sum()),
        **({NEW_ITEMS: num_others} if items.adds_items else {"never_interacted": num_others}),
    }


def write_catalogue(path: Path, catalogue: pd.DataFrame) -> None:
    """Write `items.parquet`: the same bytes for the same rows, whatever pandas is installed."""
    table = pa.Table.from_pandas(catalogue, SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path)


def _spell_alike(frame: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    """Return the item table with `5.0` as `5`, or the other way round, where the interactions have it so."""
    table: list[str] = frame.index.tolist()
    bare_ids, bare = _drop_point(ids), _drop_point(table)
    if bare_ids == ids and bare == table:
        return frame
    known, spelled = set(ids), dict(zip(bare_ids, ids, strict=True))
    names = [name if name in known else spelled.get(number, name) for name, number in zip(table, bare, strict=True)]
    return frame.set_axis(names) if len(set(names)) == len(names) else frame


def _drop_point(names: Sequence[str]) -> list[str]:
    numbers: list[str] = pc.replace_substring_regex(pa.array(names, pa.string()), r"^(-?\d+)\.0+$", r"\1").to_pylist()
    return numbers


def _build_frame(texts: dict[str, CleanTexts], ids: Ids, years: Numbers) -> pd.DataFrame:
    known = ~(years.missing | years.invalid)
    year = pd.Series(years.values.astype(np.int64), dtype="Int64").where(known)
    columns = {name: column.texts for name, column in texts.items()}
    return pd.DataFrame({ITEM_ID: ids.distinct.take(pa.array(ids.codes)).to_pylist(), **columns, YEAR: year})


def _parse_years(table: Table) -> Numbers:
    """Read years; 0 stands for none."""
    if YEAR not in table.columns.column_names:
        nothing = np.zeros(table.columns.num_rows, dtype=bool)
        return Numbers(np.zeros(len(nothing)), missing=~nothing, invalid=nothing)
    years = parse_numbers(table, YEAR, with_words=True)
    fits = (years.values >= 0) & (years.values <= LAST_YEAR) & (years.values == np.floor(years.values))
    invalid = years.invalid | ~fits
    return Numbers(np.where(fits, years.values, 0), ~invalid & (years.values == 0), invalid)


def _mark(rows: Bool[np.ndarray, "R"], flags: pd.Series[bool]) -> Bool[np.ndarray, "R"]:
    """Flags of the chosen rows among all rows."""
    marked = np.zeros(len(rows), dtype=bool)
    marked[rows] = flags.to_numpy()
    return marked
