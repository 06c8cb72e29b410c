import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ur4rec.data.sequences import Histories
from ur4rec.storage.inputs import ChangedInputError
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import (
    TextImportError,
    digest_texts,
    import_items,
    import_users,
    open_given_texts,
    read_text_json,
)

ITEM_IDS = ("", "1", "2", "03")
USER_IDS = ("", "anna", "7", "ünal")
LENGTHS = [0, 20, 12, 5]
PREFIXES = Histories(np.cumsum([0, *LENGTHS]), np.ones(37, dtype=np.int64), np.arange(37))


def test_items_are_matched_by_their_original_ids(write_json: Callable[[Mapping[str, object]], Path]) -> None:
    imported = import_items(write_json({"03": " three ", "1": "one", "3": "another"}), ITEM_IDS)
    assert imported.texts == {1: "one", 3: "three"}
    assert imported.num_unknown == 1


def test_user_json_counts_as_written_from_the_whole_prefix(write_json: Callable[[Mapping[str, object]], Path]) -> None:
    imported = import_users(write_json({"ünal": "u", "anna": "a", "nobody": "n"}), USER_IDS, PREFIXES)
    assert imported.points.tolist() == [[1, 20], [3, 5]]
    assert imported.texts == ["a", "u"]
    assert (imported.num_unknown, imported.as_of_declared) == (1, False)


def test_user_parquet_keeps_its_as_of(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    frame = pd.DataFrame({"text": ["late", "early", "x", "y"], "as_of": [12, 10, 5, 9], "user_id": [7, 7, 8, 8]})
    frame.assign(source="llm").to_parquet(path)
    imported = import_users(path, USER_IDS, PREFIXES)
    assert imported.points.tolist() == [[2, 10], [2, 12]]
    assert imported.texts == ["early", "late"]
    assert (imported.num_unknown, imported.as_of_declared) == (1, True)


def test_a_text_from_inside_a_group_of_equal_timestamps_counts_from_its_end(tmp_path: Path) -> None:
    times = np.arange(37)
    times[20 + 9 : 20 + 12] = 29  # the second user's interactions 9, 10 and 11
    path = tmp_path / "users.parquet"
    frame = pd.DataFrame({"text": ["before", "inside", "newest"], "as_of": [9, 10, 11], "user_id": [7, 7, 7]})
    frame.to_parquet(path)
    imported = import_users(path, USER_IDS, Histories(PREFIXES.offsets, PREFIXES.items, times))
    assert imported.points.tolist() == [[2, 9], [2, 12]]
    assert imported.texts == ["before", "newest"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"1": "a",', "malformed JSON: .*line 1 column 11"),
        (b"", "malformed JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"1": "caf\xe9"}', "byte 10 is not UTF-8"),
        (b'["a", "b"]', "expected one JSON object .* found a list"),
        (b'"a"', "found a str"),
        (b'{"1": "a", "2": 5}', "key '2': expected a text, found 5"),
        (b'{"1": null}', "key '1': expected a text, found None"),
        (b'{"1": ["a"]}', r"key '1': expected a text, found \['a'\]"),
        (b'{"1": {"text": "a"}}', "key '1': expected a text"),
        (b'{"1": ""}', "key '1': the text is empty"),
        (b'{"1": " \\n "}', "key '1': the text is empty"),
        (b'{"1": "a", "1": "b"}', "key '1' occurs twice"),
        (b'{"1": "\\ud83d"}', "key '1': the text holds half of a surrogate pair"),
        (b"{}", "none of its ids is in the data; .*items such as 1, 2, 03"),
        (b'{"x": "a"}', "none of its ids is in the data"),
    ],
)
def test_malformed_json_is_refused_by_file_and_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(content)
    with pytest.raises(TextImportError, match=f"^{re.escape(str(path))}: .*{message}"):
        import_items(path, ITEM_IDS)


def test_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(b'\xef\xbb\xbf{"1": "a"}')
    assert read_text_json(path) == {"1": "a"}


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(TextImportError, match=re.escape(str(path))):
            import_users(path, USER_IDS, PREFIXES)
    with pytest.raises(TextImportError, match="cannot be read: Is a directory"):
        import_items(tmp_path, ITEM_IDS)


GOOD = {"user_id": ["anna", "7"], "as_of": [10, 12], "text": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"as_of": [10, 13]}, "row 1: user '7' has as_of 13, expected 1 to 12.*leak"),
        ({"as_of": [0, 12]}, "row 0: user 'anna' has as_of 0, expected 1 to 20"),
        ({"as_of": [-1, 12]}, "has as_of -1"),
        ({"as_of": [10.0, 12.0]}, "column 'as_of' holds float64, expected integers"),
        ({"as_of": ["10", "12"]}, "column 'as_of' holds .*, expected integers"),
        ({"as_of": [10, None]}, "row 1: as_of is empty"),
        ({"user_id": [None, "7"]}, "row 0: user_id is empty"),
        ({"user_id": [1.5, 7.0]}, "row 0: user_id is 1.5, expected a string or an integer"),
        ({"text": ["a", None]}, "row 1: text is empty"),
        ({"text": ["a", " "]}, "row 1: the text is empty"),
        ({"text": [1, 2]}, "row 0: expected a text, found 1"),
        ({"user_id": ["7", "7"], "as_of": [12, 12]}, "row 1: user '7' has a text with as_of 12 already"),
        ({"user_id": ["x", "y"]}, "none of its ids is in the data; .*users such as anna, 7, ünal"),
    ],
)
def test_malformed_parquet_is_refused_by_file_and_row(
    tmp_path: Path, change: dict[str, list[Any]], message: str
) -> None:
    path = tmp_path / "users.parquet"
    pd.DataFrame(GOOD | change).to_parquet(path)
    with pytest.raises(TextImportError, match=f"^{re.escape(str(path))}: .*{message}"):
        import_users(path, USER_IDS, PREFIXES)


def test_parquet_without_a_column_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": ["7"], "text": ["a"]}).to_parquet(path)
    with pytest.raises(TextImportError, match="column 'as_of' is missing; expected user_id, as_of, text"):
        import_users(path, USER_IDS, PREFIXES)
    path.write_text("user_id,as_of,text\n")
    with pytest.raises(TextImportError, match="not a readable parquet file"):
        import_users(path, USER_IDS, PREFIXES)
    with pytest.raises(TextImportError, match=r"expected a \.json or \.parquet file"):
        import_users(tmp_path / "users.csv", USER_IDS, PREFIXES)


@pytest.fixture
def files(write_json: Callable[[Mapping[str, object]], Path], tmp_path: Path) -> tuple[Path, Path]:
    """Texts of an item, and of two users."""
    users = tmp_path / "users.parquet"
    pd.DataFrame(GOOD).to_parquet(users)
    return write_json({"1": "One."}), users


def test_a_file_that_has_changed_is_not_taken_for_the_one_that_was_given(files: tuple[Path, Path]) -> None:
    digest = digest_texts(map(str, files), TextConfig(text_provider="dashscope"))
    assert len(digest.split()) > len(files)  # the prompts come after
    with open_given_texts(files[0], files[1], digest) as given:
        assert given == {"item_text": files[0], "user_text": files[1]}
    files[0].write_text('{"i0": "Other."}')
    with (
        pytest.raises(ChangedInputError, match=rf"{files[0]}: has changed"),
        open_given_texts(files[0], files[1], digest),
    ):
        pass


def test_users_alone(files: tuple[Path, Path]) -> None:
    digest = digest_texts([str(files[1])], TextConfig())
    with open_given_texts("", str(files[1]), digest) as given:
        assert given == {"user_text": files[1]}
