"""Toy data sets and a toy sentence encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from jaxtyping import install_import_hook
from toy_sequences import BuildSequences, build_sequences
from toy_tastes import ONE, THREE, TWO

if TYPE_CHECKING:
    from ur4rec.text.config import EncodeConfig

__all__ = ["build_sequences"]

ARRAY_MODULES = ("artifact", "embeddings", "encode", "encoder", "imports", "snapshots")
install_import_hook([f"ur4rec.text.{name}" for name in ARRAY_MODULES], "beartype.beartype")

WORDS = (
    *("the", "choices", "are", "latest", "most", "typical", "titles", "drama", "comedy", "western", "from"),
    *("1950s", "1990s", "alpha", "beta", "gamma", "delta", "item", *"pqrstu.,"),
)


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[Mapping[str, object]], Path]:
    def write(texts: Mapping[str, object]) -> Path:
        path = tmp_path / f"texts{len(list(tmp_path.glob('texts*')))}.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model on disk: the mean of one random vector a word."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    weights = torch.randn(len(WORDS) + 1, 8, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("model") / "toy"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())]).save(str(folder))
    return folder


@pytest.fixture
def sequences(build_sequences: BuildSequences) -> Path:
    return build_sequences([(user, item, time) for user in "abc" for time, item in enumerate("pqrstu")])


@pytest.fixture
def texts(sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]) -> Path:
    """Items p to u; user a has one text, b has two, c has none."""
    from ur4rec.text.config import TextConfig
    from ur4rec.text.generate import generate_text

    users = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": ["a", "b", "b"], "as_of": [3, 2, 4], "text": [THREE, ONE, TWO]}).to_parquet(users)
    items = write_json({"p": "Drama. Comedy.", "q": ONE})
    generate_text(sequences, tmp_path / "llm_text", TextConfig(), item_text=items, user_text=users)
    return tmp_path / "llm_text"


@pytest.fixture
def config(toy_model: Path) -> EncodeConfig:
    from ur4rec.text.config import EncodeConfig

    return EncodeConfig(text_model_name=str(toy_model), text_batch_size=4)
