"""Texts that already exist: read, checked and matched to the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from ur4rec.columns import AS_OF, TEXT, USER_ID
from ur4rec.data.input_files import digest_versions, list_file_versions
from ur4rec.data.sequences import Histories
from ur4rec.storage.inputs import local_copy
from ur4rec.text.config import TextConfig
from ur4rec.text.snapshots import move_to_group_ends


class TextImportError(ValueError):
    """A file of texts that cannot be used; names the file and the key or row."""


@dataclass(frozen=True)
class ImportedItems:
    """Item texts that belong to the data."""

    texts: Mapping[int, str]
    """Item index → text."""
    num_unknown: int
    """Ids of the file that are not in the data."""


@dataclass(frozen=True)
class ImportedUsers:
    """User texts that belong to the data."""

    points: Int[np.ndarray, "P 2"]
    """User index and `as_of`, sorted."""
    texts: Sequence[str]
    num_unknown: int
    as_of_declared: bool
    """Whether the file says from how many interactions a text was written."""


def import_items(path: Path, item_ids: Sequence[str]) -> ImportedItems:
    """Reads `{original id: text}`.

    Args:
        path: JSON file.
        item_ids: Item index → original id; position 0 is padding.

    Raises:
        TextImportError: The file is unreadable, holds something else, or nothing for these items.
    """
    texts = read_text_json(path)
    known = {index: texts[item_id] for index, item_id in enumerate(item_ids) if index and item_id in texts}
    _refuse_nothing_known(path, known, item_ids, "items")
    return ImportedItems(known, len(texts) - len(known))


def import_users(path: Path, user_ids: Sequence[str], histories: Histories) -> ImportedUsers:
    """Reads `{original id: text}`, or a parquet with `user_id, as_of, text`.

    A JSON file does not say what its texts were written from: they count as written from the whole training
    prefix, which nobody can verify. An `as_of` inside a group of equal timestamps moves to the group's end, as those of
    our own texts do: training gives the group another order. Of texts that meet there the newest stays.

    Args:
        path: JSON or parquet file, told apart by its suffix.
        user_ids: User index → original id; position 0 is padding.
        histories: The training prefix of every user.

    Raises:
        TextImportError: The file is unreadable, holds something else, nothing for these users, or an `as_of`
            outside of a user's training prefix.
    """
    match path.suffix.lower():
        case ".json":
            texts = read_text_json(path)
            table = pd.DataFrame({USER_ID: list(texts), TEXT: list(texts.values())})
        case ".parquet":
            table = read_snapshot_parquet(path)
        case _:
            raise TextImportError(f"{path}: expected a .json or .parquet file of user texts")
    index_of = {user_id: index for index, user_id in enumerate(user_ids) if index}
    users = table[USER_ID].map(index_of)
    known = table.assign(user=users).loc[users.notna()].astype({"user": np.int64})
    _refuse_nothing_known(path, known, user_ids, "users")
    num_unknown = table.loc[users.isna(), USER_ID].nunique()
    declared = AS_OF in table
    if not declared:
        known[AS_OF] = histories.lengths[known["user"]]
    _check_prefixes(path, known, histories.lengths)
    known = known.sort_values(["user", AS_OF])
    known[AS_OF] = move_to_group_ends(known[["user", AS_OF]].to_numpy(np.int64), histories)[:, 1]
    known = known.drop_duplicates(["user", AS_OF], keep="last")
    return ImportedUsers(known[["user", AS_OF]].to_numpy(np.int64), known[TEXT].tolist(), num_unknown, declared)


def read_text_json(path: Path) -> dict[str, str]:
    """Reads a JSON object of texts; surrounding white space of a text is dropped.

    Raises:
        TextImportError: Names the file and the key, or the line and column of malformed JSON.
    """
    try:
        pairs = json.loads(_read_bytes(path).decode("utf-8-sig"), object_pairs_hook=_Pairs)
    except UnicodeDecodeError as error:
        raise TextImportError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise TextImportError(f"{path}: malformed JSON: {error}") from None
    except RecursionError:
        raise TextImportError(f"{path}: malformed JSON: nested too deeply") from None
    if not isinstance(pairs, _Pairs):
        raise TextImportError(f"{path}: expected one JSON object {{id: text}}, found a {type(pairs).__name__}")
    texts: dict[str, str] = {}
    for key, value in pairs:
        if key in texts:
            raise TextImportError(f"{path}: key {key!r} occurs twice; keep one of the texts")
        texts[key] = _check_text(f"{path}: key {key!r}", value)
    return texts


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written, duplicates and all."""


def read_snapshot_parquet(path: Path) -> pd.DataFrame:
    """Reads `user_id, as_of, text` (other columns are left out); ids become strings.

    Raises:
        TextImportError: Names the file and the column or row (counted from 0).
    """
    _read_bytes(path, at_most=1)
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise TextImportError(f"{path}: not a readable parquet file: {error}") from None
    columns = [USER_ID, AS_OF, TEXT]
    missing = [name for name in columns if name not in table]
    if missing:
        raise TextImportError(f"{path}: column {missing[0]!r} is missing; expected {', '.join(columns)}")
    table = table[columns].reset_index(drop=True)
    for name in columns:
        if table[name].isna().any():
            raise TextImportError(f"{path}: row {int(table[name].isna().argmax())}: {name} is empty")
    if not pd.api.types.is_integer_dtype(table[AS_OF]):
        raise TextImportError(f"{path}: column {AS_OF!r} holds {table[AS_OF].dtype}, expected integers")
    table[USER_ID] = [_check_id(f"{path}: row {row}", value) for row, value in enumerate(table[USER_ID])]
    table[TEXT] = [_check_text(f"{path}: row {row}", value) for row, value in enumerate(table[TEXT])]
    repeated = table.duplicated([USER_ID, AS_OF])
    if repeated.any():
        row = int(repeated.argmax())
        user_id, as_of = table[USER_ID].iloc[row], table[AS_OF].iloc[row]
        raise TextImportError(f"{path}: row {row}: user {user_id!r} has a text with as_of {as_of} already")
    return table


def _read_bytes(path: Path, at_most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(at_most)
    except OSError as error:
        raise TextImportError(f"{path}: cannot be read: {error.strerror}") from None


def _check_text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise TextImportError(f"{place}: expected a text, found {value!r:.60}")
    if not value.strip():
        raise TextImportError(f"{place}: the text is empty; remove the entry to get a template text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextImportError(f"{place}: the text holds half of a surrogate pair; repair its encoding") from None
    return value.strip()


def _check_id(place: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        raise TextImportError(f"{place}: {USER_ID} is {value!r:.60}, expected a string or an integer")
    return str(value)


def _check_prefixes(path: Path, known: pd.DataFrame, prefix_lengths: Int[np.ndarray, "U1"]) -> None:
    longest = prefix_lengths[known["user"]]
    outside = ((known[AS_OF] < 1) | (known[AS_OF] > longest)).to_numpy()
    if outside.any():
        row = int(outside.argmax())
        raise TextImportError(
            f"{path}: row {known.index[row]}: user {known[USER_ID].iloc[row]!r} has as_of "
            f"{known[AS_OF].iloc[row]}, expected 1 to {longest[row]}, the user's training prefix; "
            "a text written from more would leak what is to be predicted"
        )


def _refuse_nothing_known(path: Path, known: Mapping[int, str] | pd.DataFrame, ids: Sequence[str], what: str) -> None:
    if len(known) == 0:
        raise TextImportError(
            f"{path}: none of its ids is in the data; expected original ids of {what} such as {', '.join(ids[1:4])}"
        )


ITEM_TEXT, USER_TEXT = "item_text", "user_text"
"""Names of the two files, as those of the parameters."""


def digest_texts(locations: Iterable[str], config: TextConfig) -> str:
    """What the texts follow from besides the data: texts that exist, a word each, then the prompts of a language model.

    Raises:
        GcsError: An object is missing, or cloud storage cannot be read.
        PromptError: A prompt cannot be used.
    """
    parts = [_digest(location) for location in locations]
    if config.text_provider != "template":
        from ur4rec.text.llm.questions import Questions

        parts += Questions(config).versions
    return " ".join(parts)


@contextmanager
def open_given_texts(
    item_text: str | Path | None, user_text: str | Path | None, text_digest: str = ""
) -> Iterator[dict[str, Path]]:
    """Files with the texts that are given, by the names of the arguments; copies are gone after the block.

    Args:
        item_text: A file, or the `gs://…` of an object; None or empty: none.
        user_text: The same of users.
        text_digest: Taken earlier by `digest_texts` of the two in this order: the texts must be the same still. Empty:
            not checked.

    Raises:
        TextImportError: A file has changed meanwhile.
        GcsError: Cloud storage has nothing there, or cannot be read.
    """
    given = {name: str(text) for name, text in ((ITEM_TEXT, item_text), (USER_TEXT, user_text)) if text}
    with local_copy(given.get(ITEM_TEXT, "")) as items, local_copy(given.get(USER_TEXT, "")) as users:
        _check_unchanged(given.values(), text_digest)
        yield {name: file for name, file in ((ITEM_TEXT, items), (USER_TEXT, users)) if name in given}


def _check_unchanged(locations: Iterable[str], text_digest: str) -> None:
    """To be called after the copy is made: versions that are equal before and after were equal in between."""
    for location, expected in zip(locations, text_digest.split(), strict=False):
        if _digest(location) != expected:
            raise TextImportError(f"{location}: has changed since the run began; start another run")


def _digest(location: str) -> str:
    return digest_versions(list_file_versions(location))
