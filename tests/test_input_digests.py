from pathlib import Path

import pytest
from emulators import put_object

from ur4rec.data.errors import DataError
from ur4rec.data.input_files import digest_data
from ur4rec.input_digests import resolve_inputs
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import digest_texts

ROWS = "user_id,item_id,timestamp\na,x,1\n"
ITEMS = "item_id,title\nx,A film\n"
TEMPLATE, MODEL = TextConfig(), TextConfig(text_provider="dashscope")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "interactions.csv").write_text(ROWS)
    (folder / "items.csv").write_text(ITEMS)
    return folder


def test_the_item_table_counts_beside_the_interactions_and_named(data: Path) -> None:
    before = digest_data(str(data))
    assert digest_data(str(data / "interactions.csv"), str(data / "items.csv")) == before
    (data / "items.csv").write_text(ITEMS + "y,Another\n")
    assert digest_data(str(data)) != before
    with pytest.raises(DataError, match="nowhere"):
        digest_data(str(data), "nowhere.csv")


def test_texts_follow_from_files_and_from_prompts_where_a_model_is_asked(tmp_path: Path) -> None:
    text = tmp_path / "items.json"
    text.write_text("{}")
    assert digest_texts([], TEMPLATE) == ""
    assert "user_preferences" in digest_texts([], MODEL)
    with_file = digest_texts([str(text)], MODEL)
    assert with_file.endswith(digest_texts([], MODEL))
    text.write_text('{"x": "A film."}')
    assert digest_texts([str(text)], MODEL) != with_file


def test_what_is_given_is_handed_on_and_the_rest_is_taken(data: Path) -> None:
    given = resolve_inputs("nowhere", MODEL, data_digest="d", text_digest="t")
    assert given == ("d", "t")
    assert given._asdict() == {"data_digest": "d", "text_digest": "t"}
    assert resolve_inputs(str(data), MODEL) == (digest_data(str(data)), digest_texts([], MODEL))


@pytest.mark.emulator
def test_objects_by_name_and_generation_beside_files(bucket: str, data: Path) -> None:
    put_object(bucket, "songs.csv", ITEMS)
    location = f"gs://{bucket}/songs.csv"
    before = digest_data(str(data / "interactions.csv"), location), digest_texts([location], TEMPLATE)
    assert before == (digest_data(str(data / "interactions.csv"), location), digest_texts([location], TEMPLATE))
    put_object(bucket, "songs.csv", ITEMS)
    after = digest_data(str(data / "interactions.csv"), location), digest_texts([location], TEMPLATE)
    assert before[0] != after[0]
    assert before[1] != after[1]
