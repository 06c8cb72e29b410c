import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from digests import digest_again

from ur4rec.storage.artifacts import ArtifactError
from ur4rec.text.config import EncodeConfig
from ur4rec.text.encode import encode_text


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
