import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digests import digest_again

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError, sha256_file
from ur4rec.text.artifact import load_texts
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.embeddings import OFFSETS, check_embeddings, load_embeddings
from ur4rec.text.encode import encode_text
from ur4rec.text.encoder import EncoderError, load_encoder
from ur4rec.text.generate import generate_text
from ur4rec.text.sentences import split_sentences

USER_TEXTS = {"user_id": ["a", "b", "b"], "as_of": [3, 2, 4]}
THREE = "Western titles are typical. The latest choices are drama. Alpha from the 1950s."
ONE = "Western titles are typical."
TWO = "The latest choices are drama. Delta from the 1990s."


@pytest.fixture
def sequences(build_sequences) -> Path:
    return build_sequences([(user, item, time) for user in "abc" for time, item in enumerate("pqrstu")])


@pytest.fixture
def texts(sequences: Path, tmp_path: Path, write_json) -> Path:
    """Items p to u; user a has one text, b has two, c has none."""
    users = tmp_path / "users.parquet"
    pd.DataFrame(USER_TEXTS | {"text": [THREE, ONE, TWO]}).to_parquet(users)
    items = write_json({"p": "Drama. Comedy.", "q": ONE})
    generate_text(sequences, tmp_path / "llm_text", TextConfig(), item_text=items, user_text=users)
    return tmp_path / "llm_text"


@pytest.fixture
def config(toy_model: Path) -> EncodeConfig:
    return EncodeConfig(text_model_name=str(toy_model), text_batch_size=4)


def test_every_sentence_and_item_finds_its_vector(
    sequences: Path, texts: Path, config: EncodeConfig, toy_model: Path, tmp_path: Path
) -> None:
    manifest = encode_text(sequences, texts, tmp_path / "embeddings", config, device="cpu")
    embeddings = load_embeddings(tmp_path / "embeddings", load_sequences(sequences))
    assert embeddings.snapshots.tolist() == [[1, 3], [2, 2], [2, 4]]
    assert embeddings.offsets.tolist() == [0, 3, 4, 6]
    encoder = load_encoder(str(toy_model), "cpu")
    expected = [sentence for text in (THREE, ONE, TWO) for sentence in split_sentences(text)]
    for row, sentence in enumerate(expected):
        vector = encoder.encode([sentence], 1, lambda count: None)[0]
        np.testing.assert_allclose(embeddings.sentences[row], vector, atol=1e-6)
    assert embeddings.item_descriptions.shape == (7, 8)
    assert not embeddings.item_descriptions[0].any()
    for row, text in enumerate(load_texts(texts, load_sequences(sequences)).items, 1):
        vector = encoder.encode([text], 1, lambda count: None)[0]
        np.testing.assert_allclose(embeddings.item_descriptions[row], vector, atol=1e-6)
    details = manifest.details
    # ONE is said three times and the first sentence of TWO twice: 6 sentences + 6 items are 9 distinct texts.
    assert (details["sentences"], details["items"], details["distinct_texts"]) == (6, 6, 9)
    assert details["weights"] == encoder.weights
    assert (details["model"], details["dimension"], details["snapshots_cut"]) == (str(toy_model), 8, 0)
    assert set(details["versions"]) >= {"sentence-transformers", "torch"}
    assert manifest.inputs == {
        "sequences": sha256_file(sequences / "manifest.json"),
        "texts": sha256_file(texts / "manifest.json"),
    }


def test_the_same_texts_give_the_same_bytes(sequences: Path, texts: Path, tmp_path: Path) -> None:
    digests = {encode_text(sequences, texts, tmp_path / name, EncodeConfig(), "cpu").content_digest for name in "xy"}
    assert len(digests) == 1
    assert load_embeddings(tmp_path / "x", load_sequences(sequences)).sentences.shape == (6, 384)


def test_only_the_first_sentences_are_kept(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = config.model_copy(update={"max_sentences": 2})
    manifest = encode_text(sequences, texts, tmp_path / "embeddings", short, device="cpu")
    assert load_embeddings(tmp_path / "embeddings", load_sequences(sequences)).offsets.tolist() == [0, 2, 3, 5]
    assert manifest.details["snapshots_cut"] == 1
    assert "1 snapshots cut to 2 sentences" in capsys.readouterr().out


def test_no_user_text_at_all_is_no_error(
    sequences: Path, config: EncodeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_text(sequences, tmp_path / "llm_text", TextConfig())
    encode_text(sequences, tmp_path / "llm_text", tmp_path / "embeddings", config, device="cpu")
    embeddings = load_embeddings(tmp_path / "embeddings", load_sequences(sequences))
    assert embeddings.sentences.shape == (0, 8)
    assert (embeddings.offsets.tolist(), embeddings.snapshots.shape) == ([0], (0, 2))
    assert 'progress encode_text {"text": 6, "texts": 6}' in capsys.readouterr().out


def test_texts_of_other_sequences_are_refused(
    build_sequences, texts: Path, config: EncodeConfig, tmp_path: Path
) -> None:
    others = build_sequences([("a", item, time) for time, item in enumerate("pqrstu")])
    with pytest.raises(ArtifactError, match="written for other sequences"):
        encode_text(others, texts, tmp_path / "embeddings", config)
    assert not (tmp_path / "embeddings").exists()


def test_a_missing_model_leaves_nothing_behind(sequences: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"'./none': there is no such folder"):
        encode_text(sequences, texts, tmp_path / "embeddings", EncodeConfig(text_model_name="./none"))
    assert not list(tmp_path.glob("*embeddings*"))


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="source"), "column 'source': missing"),
        (lambda table: table.assign(as_of=table.as_of.astype(str)), "column 'as_of': expected whole numbers"),
        (lambda table: table.assign(text=[None, *table.text[1:]]), "column 'text': expected text in every row"),
        (lambda table: table.assign(user_id="nobody"), "row 0: expected a user of"),
        (lambda table: table[::-1], "row 0: expected a later text of the same user"),
        (lambda table: table.assign(as_of=0), "row [01]: expected "),
        (lambda table: table.assign(as_of=table.as_of + 9), "row 0: expected an as_of from 1 to the user's training"),
    ],
)
def test_texts_that_cannot_be_are_named(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path, change: Any, message: str
) -> None:
    change(pd.read_parquet(texts / "user_snapshots.parquet")).to_parquet(texts / "user_snapshots.parquet")
    digest_again(texts)
    with pytest.raises(ArtifactError, match=rf"user_snapshots\.parquet: {message}"):
        encode_text(sequences, texts, tmp_path / "embeddings", config, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: dict(list(texts.items())[1:]), "expected a text for every item, item 'p' differs"),
        (lambda texts: texts | {"zz": "text"}, "expected a text for every item, item 'zz' differs"),
        (lambda texts: texts | {"p": 7}, "p: Input should be a valid string"),
        (list, "Input should be an object"),
    ],
)
def test_descriptions_that_cannot_be_are_named(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path, change: Any, message: str
) -> None:
    path = texts / "item_descriptions.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    digest_again(texts)
    with pytest.raises(ArtifactError, match=rf"item_descriptions\.json: {message}"):
        encode_text(sequences, texts, tmp_path / "embeddings", config, device="cpu")


def test_embeddings_of_other_sequences_are_refused(
    sequences: Path, texts: Path, config: EncodeConfig, build_sequences, tmp_path: Path
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
