from pathlib import Path

import numpy as np
import pytest
from toy_sequences import BuildSequences
from toy_tastes import ONE, THREE, TWO

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError, sha256_file
from ur4rec.text.artifact import load_texts
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.embeddings import load_embeddings
from ur4rec.text.encode import encode_text
from ur4rec.text.encoder import EncoderError, load_encoder
from ur4rec.text.generate import generate_text
from ur4rec.text.sentences import split_sentences


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
    build_sequences: BuildSequences, texts: Path, config: EncodeConfig, tmp_path: Path
) -> None:
    others = build_sequences([("a", item, time) for time, item in enumerate("pqrstu")])
    with pytest.raises(ArtifactError, match="written for other sequences"):
        encode_text(others, texts, tmp_path / "embeddings", config)
    assert not (tmp_path / "embeddings").exists()


def test_a_missing_model_leaves_nothing_behind(sequences: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"'./none': there is no such folder"):
        encode_text(sequences, texts, tmp_path / "embeddings", EncodeConfig(text_model_name="./none"))
    assert not list(tmp_path.glob("*embeddings*"))
