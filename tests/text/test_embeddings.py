from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digests import digest_again
from toy_sequences import BuildSequences

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import OFFSETS, check_embeddings, load_embeddings
from ur4rec.text.encode import encode_text


def test_arrays_that_do_not_belong_together_are_refused(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "embeddings"
    encode_text(sequences, texts, folder, config, device="cpu")
    np.save(folder / OFFSETS, np.array([0, 3, 4, 7]))
    with pytest.raises(ArtifactError, match=f"{OFFSETS}: sha256 differs"):
        load_embeddings(folder, load_sequences(sequences))
    digest_again(folder)
    with pytest.raises(ArtifactError, match=f"{OFFSETS}: expected 0 to .*, found 0 to 7; make the artifact again"):
        load_embeddings(folder, load_sequences(sequences))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("item_descriptions.npy", lambda array: array[1:], r"expected float32 \(7, any\), found float32 \(6, 8\)"),
        ("item_descriptions.npy", lambda array: array.astype(np.float64), r"expected float32 .*, found float64"),
        ("item_descriptions.npy", lambda array: array + 1, "row 0: expected zeros, for padding"),
        ("item_descriptions.npy", lambda array: array * np.nan, "row 0: holds NaN or an infinity"),
        ("user_preferences.npy", lambda array: array[:, :-1], r"expected float32 \(any, 8\), found float32 \(6, 7\)"),
        ("user_preferences.npy", lambda array: array / 0, "row 0: holds NaN or an infinity"),
        ("user_preferences_offsets.npy", lambda array: array[[0, 2, 1, 3]], "row 1: expected no number above the next"),
        ("user_preferences_offsets.npy", lambda array: array[:-1], r"expected int64 \(4\), found int64 \(3\)"),
        ("user_preferences_as_of.npy", lambda array: array[::-1], "row 0: expected a later text of the same user"),
        ("user_preferences_as_of.npy", lambda array: array - np.array([0, 3]), "row 0: expected an as_of from 1 to"),
        ("user_preferences_as_of.npy", lambda array: array * [1, 9], "row 0: expected an as_of from 1 to"),
        ("user_preferences_as_of.npy", lambda array: array + np.array([3, 0]), "row 0: expected a user of"),
        ("user_preferences_as_of.npy", lambda array: array.astype(np.int32), r"expected int64 \(3, 2\), found int32"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_arrays_that_cannot_be_are_named(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path, name: str, change: Any, message: str
) -> None:
    encode_text(sequences, texts, tmp_path / "embeddings", config, device="cpu")
    path = tmp_path / "embeddings" / name
    np.save(path, change(np.load(path)))
    digest_again(path.parent)
    with pytest.raises(ArtifactError, match=rf"{name}: {message}"):
        load_embeddings(path.parent, load_sequences(sequences))


def test_embeddings_of_other_sequences_are_refused(
    sequences: Path, texts: Path, config: EncodeConfig, build_sequences: BuildSequences, tmp_path: Path
) -> None:
    encode_text(sequences, texts, tmp_path / "embeddings", config, device="cpu")
    check_embeddings(tmp_path / "embeddings", load_sequences(sequences))
    other = load_sequences(
        build_sequences([(user, item, time) for user in "abc" for time, item in enumerate("pqrstv")])
    )
    with pytest.raises(ArtifactError, match=r"the texts are of other sequences than .*; run generate_text"):
        check_embeddings(tmp_path / "embeddings", other)


def test_another_folder_is_not_embeddings(sequences: Path) -> None:
    with pytest.raises(ArtifactError, match="written by 'preprocess_sequences'; expected a folder of 'encode_text'"):
        check_embeddings(sequences, load_sequences(sequences))
