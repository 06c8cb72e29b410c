"""Texts that exist already: fetched, read, checked and matched to the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from ur4rec.columns import AS_OF, TEXT, USER_ID
from ur4rec.data.sequences import Histories
from ur4rec.storage.inputs import digest_inputs, pinned_copy
from ur4rec.text.config import TextConfig
from ur4rec.text.snapshots import move_to_group_ends


class TextImportError(ValueError):
    """A file of texts cannot be used; the message names the file and the key or row."""


@dataclass(frozen=True)
class ImportedItems:
    """The item texts of a file that belong to the data."""

    texts: Mapping[int, str]
    """Item index → text."""
    num_unknown: int
    """This many ids of the file are not in the data."""


@dataclass(frozen=True)
class ImportedUsers:
    """The user texts of a file that belong to the data."""

    points: Int[np.ndarray, "P 2"]
    """User index and `as_of` of each text, sorted."""
    texts: Sequence[str]
    num_unknown: int
    """This many ids of the file are not in the data."""
    as_of_declared: bool
    """Whether the file says how many interactions each text was written from."""


NO_ITEMS = ImportedItems({}, 0)
NO_USERS = ImportedUsers(np.empty((0, 2), dtype=np.int64), (), 0, as_of_declared=True)


def digest_texts(locations: Iterable[str | Path], config: TextConfig) -> str:
    """Return what the texts follow from besides the data: a digest of each file of texts, then the prompts of a model.

    Raises:
        StoreError: An object is missing, or cloud storage cannot be read.
        PromptError: A prompt cannot be used.
    """
    parts = [digest_inputs(location) for location in locations]
    if config.asks_a_model:
        from ur4rec.text.llm.lookup import Questions

        parts += Questions(config).versions
    return " ".join(parts)


@contextmanager
def open_given_texts(
    item_text: str | Path | None, user_text: str | Path | None, text_digest: str = ""
) -> Iterator[dict[str, Path]]:
    """Open the given files of texts, by the names of the arguments; copies from cloud storage are gone after the block.

    Args:
        item_text: A file of item texts, or the `gs://…` or `s3://…` of an object; none or empty if there are none.
        user_text: The same for the texts of users.
        text_digest: What `digest_texts` said earlier of the two in this order. The files must be the same still; if it
            is empty, this is not checked.

    Raises:
        ChangedInputError: A file has changed meanwhile.
        StoreError: Cloud storage has nothing there, or cannot be read.
    """
    given = {name: str(text) for name, text in (("item_text", item_text), ("user_text", user_text)) if text}
    expected = dict(zip(given, text_digest.split(), strict=False))
    with ExitStack() as copies:
        yield {
            name: copies.enter_context(pinned_copy(text, expected.get(name, ""), partial(digest_inputs, text)))
            for name, text in given.items()
        }


def import_items(path: Path, item_ids: Sequence[str]) -> ImportedItems:
    """Read a JSON file `{original id: text}` and keep what belongs to the data.

    Args:
        path: The file.
        item_ids: Item index → original id; position 0 is padding.

    Raises:
        TextImportError: The file cannot be read, holds something else, or has no text for these items.
    """
    texts = read_text_json(path)
    known = {index: texts[item_id] for index, item_id in enumerate(item_ids) if index and item_id in texts}
    _refuse_nothing_known(path, known, item_ids, "items")
    return ImportedItems(known, len(texts) - len(known))


def import_users(path: Path, user_ids: Sequence[str], histories: Histories) -> ImportedUsers:
    """Read `{original id: text}` from JSON, or `user_id, as_of, text` from Parquet, and keep what belongs to the data.

    A JSON file does not say what its texts were written from. They count as written from the whole training prefix,
    which nobody can verify. An `as_of` inside a group of equal timestamps moves to the group's end, as in our own
    texts, because training gives the group another order. Where several texts meet there, the newest stays.

    Args:
        path: The file; its suffix tells the format.
        user_ids: User index → original id; position 0 is padding.
        histories: The training prefix of every user.

    Raises:
        TextImportError: The file cannot be read, holds something else, has no text for these users, or an `as_of`
            outside of a user's training prefix.
    """
    match path.suffix.lower():
        case ".json":
            table = pd.DataFrame(list(read_text_json(path).items()), columns=[USER_ID, TEXT])
        case ".parquet":
            table = _read_snapshots(path)
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
    """Read a JSON object of texts, without the white space around each.

    Raises:
        TextImportError: The object or a text in it cannot be used.
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
    """These are the entries of a JSON object as it was written, duplicates and all."""


def _read_snapshots(path: Path) -> pd.DataFrame:
    """Read the columns `user_id, as_of, text` and leave out all others; ids become strings.

    Raises:
        TextImportError: A column or row cannot be used; rows are counted from 0.
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
