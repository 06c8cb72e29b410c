"""The task `preprocess_sequences`: raw interactions in, the artifact of `sequences.py` out.

Letters: R rows, N distinct ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ur4rec.columns import ITEM_ID, TITLE, USER_ID
from ur4rec.data import sequences as files
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.ids import is_integer_like, sort_naturally
from ur4rec.data.input_files import INTERACTIONS, ITEM_TABLE, list_files, name_data, open_inputs
from ur4rec.data.interactions import Interactions, read_interactions
from ur4rec.data.items import ItemTable, build_catalogue, count_items, read_items, write_catalogue
from ur4rec.data.markup import tell_cleaned
from ur4rec.data.profile import count_tied_targets, measure_scripts, profile_rows
from ur4rec.data.selection import Part, Rows, Selection, select_rows
from ur4rec.data.summary import describe_data, list_warnings
from ur4rec.memory_limits import naming_settings
from ur4rec.storage.artifacts import ArtifactWriter, Manifest, read_artifact, write_artifact, write_text_atomic
from ur4rec.storage.contents import save_array

FILE_OF_PART = {Part.TRAIN: files.TRAIN, Part.VAL: files.VAL, Part.TEST: files.TEST}


@dataclass(frozen=True)
class _Index:
    """Dense indices of the ids that occur, in their natural order, and behind them of new ones."""

    of_row: Int64[np.ndarray, "R"]
    """From 1; 0 is padding."""
    ids: pa.StringArray


@naming_settings("the number of interactions")
def preprocess_sequences(
    interactions: Path | str,
    output: Path,
    config: DataConfig,
    items: Path | str | None = None,
    data_digest: str = "",
    describes: bool = False,
) -> Manifest:
    """Validate, filter, sort and split interactions.

    Args:
        interactions: File of a known format, or a folder with the files `interactions` and perhaps `items`; here or
            below `gs://` or `s3://`.
        output: Folder to write; an older one there is replaced.
        config: Filters and split.
        items: Item table, instead of the one in the folder.
        data_digest: Taken earlier by `digest_data`: the result is kept under it, so the data must be the
            same still. Empty: not checked.
        describes: Whether to print what the data are like, for a log.

    Returns:
        The manifest; its `details` hold every count.

    Raises:
        DataError: The input cannot be used, or nothing of it is left; names the file and, where there is one, the row
            and the column.
        ChangedInputError: The input has changed meanwhile.
        StoreError: Cloud storage has nothing there, or cannot be read.
    """
    named = _name(config, interactions)
    with open_inputs(interactions, items, data_digest) as inputs:
        manifest = _preprocess(inputs, output, named)
    for line in filter(None, [tell_cleaned(manifest.details["items"]), *list_warnings(manifest)]):
        print(f"{files.PRODUCER}: {line}", flush=True)
    if describes:
        print(describe_data(manifest))
    return manifest


def check_data(interactions: Path | str, config: DataConfig, items: Path | str | None = None) -> None:
    """Raise what `preprocess_sequences` would raise; nothing is written."""
    named = _name(config, interactions)
    with open_inputs(interactions, items) as inputs:
        raw, selection, table = _read(inputs, named)
        build_catalogue(_enumerate(selection.rows.items, raw.item_ids).ids, table)


def _name(config: DataConfig, interactions: Path | str) -> DataConfig:
    name = config.dataset_name or name_data(interactions)
    return DataConfig.parse(config.to_dict() | {"dataset_name": name}, str(interactions))


def _preprocess(inputs: dict[str, Path], output: Path, config: DataConfig) -> Manifest:
    with write_artifact(Path(output), files.PRODUCER, config, list_files(inputs)) as writer:
        raw, selection, metadata = _read(inputs, config)
        writer.details |= {"dataset_name": config.dataset_name, "split": config.split, "cut_s": selection.cut}
        write_sequences(writer, raw, selection, metadata)
        if raw.reading.get(files.ARE_POSITIONS):
            writer.details["timestamps"][files.ARE_POSITIONS] = True
        writer.details["source_files"] = {role: file.name for role, file in inputs.items()}
    return read_artifact(Path(output))


def _read(inputs: dict[str, Path], config: DataConfig) -> tuple[Interactions, Selection, ItemTable | None]:
    if config.new_items == "include" and ITEM_TABLE not in inputs:
        raise DataError(
            f"{inputs[INTERACTIONS]}: new_items: include takes items from an item table, and there is none; give one "
            "(--items), or leave new_items at exclude"
        )
    raw = read_interactions(inputs[INTERACTIONS], config)
    metadata = read_items(inputs[ITEM_TABLE], config) if ITEM_TABLE in inputs else None
    selection = select_rows(raw, config)
    _refuse_nothing_left(inputs[INTERACTIONS], raw, selection)
    return raw, selection, metadata


def write_sequences(writer: ArtifactWriter, raw: Interactions, selection: Selection, items: ItemTable | None) -> None:
    """Write the files of a sequences folder, and every count into the details of its manifest.

    Args:
        writer: Hands out the folder.
        raw: Where the rows come from; names their ids.
        selection: Rows with their parts, each user's in chronological order.
        items: Item table, if there is one.
    """
    users = _enumerate(selection.rows.users, raw.user_ids)
    interacted = _enumerate(selection.rows.items, raw.item_ids)
    table = build_catalogue(interacted.ids, items)
    catalogue = replace(interacted, ids=pa.array(table[ITEM_ID], pa.string()))
    _write_arrays(writer.folder, selection.rows, users, catalogue)
    _write_map(writer.folder / files.USER_MAP, users)
    _write_map(writer.folder / files.ITEM_MAP, catalogue)
    write_catalogue(writer.folder / files.ITEMS, table)
    writer.details |= _count(raw, selection, users, catalogue) | profile_rows(selection.rows, raw.user_ids)
    titles = table[TITLE][table[TITLE] != table[ITEM_ID]]
    writer.details["items"] = count_items(interacted.ids, items)
    writer.details["title_scripts"] = measure_scripts(titles.tolist())
    writer.details["reading"] = {INTERACTIONS: raw.reading} | ({ITEM_TABLE: items.reading} if items else {})


def _refuse_nothing_left(path: Path, raw: Interactions, selection: Selection) -> None:
    excluded = raw.excluded | selection.excluded_rows
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items()) or "none excluded"
    is_faulty = sum(raw.excluded.values()) * 2 > raw.num_read
    filters = "lower min_seq_len, min_rating or drop_last, move time_split_quantile, or give more data"
    advice = "correct the file, or say what its columns are (setting columns)" if is_faulty else filters
    for part in (Part.TRAIN, Part.VAL, Part.TEST):
        if not (selection.rows.parts == part).any():
            raise DataError(
                f"{path}: no {part.name.lower()} interaction is left of {raw.num_read:,} rows ({reasons}); {advice}"
            )


def _enumerate(codes: Int64[np.ndarray, "R"], ids: pa.StringArray) -> _Index:
    used, of_row = np.unique(codes, return_inverse=True)
    occurring = ids.take(pa.array(used))
    order = sort_naturally(occurring)
    index = np.empty(len(used), dtype=np.int64)
    index[order] = np.arange(1, len(used) + 1)
    return _Index(index[of_row], occurring.take(pa.array(order)))


def _write_arrays(folder: Path, rows: Rows, users: _Index, catalogue: _Index) -> None:
    seconds = np.floor(rows.timestamps).astype(np.int64)
    table = np.stack([users.of_row, catalogue.of_row, seconds], axis=1)
    order = np.argsort(users.of_row, kind="stable")
    table, parts = table[order], rows.parts[order]
    for part, name in FILE_OF_PART.items():
        save_array(folder / name, table[parts == part])


def _write_map(path: Path, index: _Index) -> None:
    index_of = {original: position for position, original in enumerate(index.ids.to_pylist(), 1)}
    write_text_atomic(path, json.dumps(index_of, ensure_ascii=False, indent=0) + "\n")


def _count(raw: Interactions, selection: Selection, users: _Index, catalogue: _Index) -> dict[str, Any]:
    rows = selection.rows
    split_rows = {part.name.lower(): int((rows.parts == part).sum()) for part in FILE_OF_PART}
    unused = len(rows) - sum(split_rows.values())
    after_target = {"after_target": unused} if unused else {}
    used = rows.timestamps[rows.parts != Part.UNUSED]
    return {
        "num_users": len(users.ids),
        "num_items": len(catalogue.ids),
        "num_interactions": sum(split_rows.values()),
        "rows": {"read": raw.num_read, **split_rows},
        "excluded_rows": raw.excluded | selection.excluded_rows | after_target,
        "excluded_users": selection.excluded_users,
        "id_types": {USER_ID: _name_type(users), ITEM_ID: _name_type(catalogue)},
        "timestamps": {
            "first_s": int(np.floor(used.min())),
            "last_s": int(np.floor(used.max())),
            "cut_to_whole_seconds": int((used != np.floor(used)).sum()),
            "tied_targets": count_tied_targets(rows),
            "newest_first": round(selection.newest_first, 4),
        },
    }


def _name_type(index: _Index) -> str:
    return "integer" if is_integer_like(index.ids) else "string"
