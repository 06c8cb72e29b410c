"""Texts that exist already below gs:// are as good as files, and are those that the run was given."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from emulators import put_object
from kfp import dsl
from llm.server import Behaviour, serve
from llm.toy_texts import KEY, NUM_ITEMS, build_toy, make_config
from typer.testing import CliRunner

from components.ask_texts import ask_texts
from components.generate_text import generate_text as generate_text_component
from components.resolve_inputs import resolve_inputs
from ur4rec.cli import app
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.config import TextConfig, WritingConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.imports import TextImportError, digest_texts, open_given_texts

CONFIG = TextConfig(snapshot_base=3)
ITEM_TEXTS = {f"i{item}": f"Tale {item}." for item in range(20)}


@pytest.fixture
def sequences(build_sequences) -> Path:
    return build_toy(build_sequences)


@pytest.fixture
def files(write_json, tmp_path: Path) -> tuple[Path, Path]:
    """Texts of 20 items, and of the users b and d."""
    users = tmp_path / "users.parquet"
    texts = {"user_id": ["b", "d"], "as_of": [10, 5], "text": ["B likes tales.", "D does not."]}
    pd.DataFrame(texts).to_parquet(users)
    return write_json(ITEM_TEXTS), users


@pytest.fixture
def objects(files: tuple[Path, Path], bucket: str) -> tuple[str, str]:
    """The same below `gs://`."""
    return upload(files[0], bucket), upload(files[1], bucket)


def upload(file: Path, bucket: str) -> str:
    put_object(bucket, f"texts/{file.name}", file.read_bytes())
    return f"gs://{bucket}/texts/{file.name}"


@pytest.mark.emulator
def test_objects_give_the_same_texts_as_files(sequences: Path, files, objects, tmp_path: Path) -> None:
    from_files = generate_text(sequences, tmp_path / "files", CONFIG, *files, text_digest=digest_texts(files, CONFIG))
    digest = digest_texts(objects, CONFIG)
    from_objects = generate_text(sequences, tmp_path / "objects", CONFIG, *objects, text_digest=digest)
    assert from_objects.files == from_files.files
    assert from_objects.inputs == from_files.inputs
    assert from_objects.details["items"]["by_source"] == {"imported": 20, "template": NUM_ITEMS - 20}
    assert from_objects.details["users"]["imported"] == 2


@pytest.mark.emulator
def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_given(
    sequences: Path, files, objects, bucket: str, tmp_path: Path
) -> None:
    digest = digest_texts(objects, CONFIG)
    upload(files[1], bucket)  # the same bytes, another generation
    with pytest.raises(TextImportError, match=rf"{objects[1]}: has changed since the run began; start another run"):
        generate_text(sequences, tmp_path / "texts", CONFIG, *objects, text_digest=digest)
    assert not (tmp_path / "texts").exists()
    generate_text(sequences, tmp_path / "texts", CONFIG, *objects, text_digest=digest_texts(objects, CONFIG))


def test_a_file_that_has_changed_is_not_taken_for_the_one_that_was_given(files) -> None:
    digest = digest_texts(map(str, files), TextConfig(text_provider="dashscope"))
    assert len(digest.split()) > len(files)  # the prompts come after
    with open_given_texts(*files, digest) as given:
        assert given == {"item_text": files[0], "user_text": files[1]}
    files[0].write_text('{"i0": "Other."}')
    with pytest.raises(TextImportError, match=rf"{files[0]}: has changed"), open_given_texts(*files, digest):
        pass


def test_users_alone(files) -> None:
    digest = digest_texts([str(files[1])], CONFIG)
    with open_given_texts("", str(files[1]), digest) as given:
        assert given == {"user_text": files[1]}


@pytest.mark.emulator
@pytest.mark.server
def test_the_tasks_of_the_pipeline_read_objects(
    sequences: Path, objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    given: dict[str, Any] = {"item_text": objects[0], "user_text": objects[1]}
    folder = dsl.Dataset(uri=str(sequences))
    texts, metrics = dsl.Artifact(uri=str(tmp_path / "texts")), dsl.Metrics(uri=str(tmp_path / "metrics"))
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache")
        given["config"] = config.to_dict()
        digests = resolve_inputs.python_func(interactions="", items="", data_digest="given", text_digest="", **given)
        given |= {"text_digest": digests.text_digest, "code_digest": "", "sequences": folder}
        given["config"] = config.narrow(WritingConfig).to_dict()
        asked = ask_texts.python_func(shard="1/1", **given)
        before = server.counts()
        generate_text_component.python_func(asked=[asked], texts=texts, metrics=metrics, **given)
        assert server.counts() == before
    sources = read_artifact(Path(texts.path)).details["items"]["by_source"]
    assert sources["imported"] == 20
    assert json.loads(asked)["answered"] == before["answered_prompts"] == NUM_ITEMS - 20 + 6  # of the users a and c


@pytest.mark.emulator
def test_the_command_line_reads_objects(sequences: Path, objects, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path / "cache"))
    arguments = ["--item-text", objects[0], "--user-text", objects[1], "--set", "snapshot_base=3"]
    result = CliRunner().invoke(app, ["text", "generate", str(sequences), "-o", str(tmp_path / "texts"), *arguments])
    assert result.exit_code == 0, result.output
    assert read_artifact(tmp_path / "texts").details["items"]["by_source"]["imported"] == 20
    missing = CliRunner().invoke(app, ["text", "generate", str(sequences), "--item-text", f"{objects[0]}.json"])
    assert missing.exit_code == 2
    assert "nothing is there" in " ".join(missing.output.split())
