import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from emulators import put_object
from kfp import dsl
from server import Behaviour, serve
from toy_sequences import BuildSequences
from toy_texts import KEY, build_toy, make_config
from toy_texts import NUM_ITEMS as NUM_TOY_ITEMS

from components.ask_texts import ask_texts
from components.generate_text import generate_text as generate_text_component
from components.resolve_inputs import resolve_inputs
from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError, read_artifact, sha256_file
from ur4rec.storage.inputs import ChangedInputError
from ur4rec.text.artifact import load_texts
from ur4rec.text.config import TextConfig, WritingConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.imports import digest_texts

NUM_ITEMS = 40
CONFIG = TextConfig(snapshot_base=2)
Row = tuple[str, str, int]


@pytest.fixture
def items() -> pd.DataFrame:
    random = np.random.default_rng(1)
    genres = np.array(["Drama", "Comedy", "Crime", "War", "Western"])
    return pd.DataFrame(
        {
            "item_id": [f"i{index}" for index in range(NUM_ITEMS)],
            "title": [f"Title {index} (19{index + 50})" for index in range(NUM_ITEMS)],
            "year": np.arange(NUM_ITEMS) + 1950,
            "genres": ["|".join(random.choice(genres, 2, replace=False)) for _ in range(NUM_ITEMS)],
        }
    )


def draw_rows(lengths: dict[str, int], seed: int = 0) -> list[Row]:
    """Random items at times of which many are equal."""
    random = np.random.default_rng(seed)
    rows = []
    for user, length in lengths.items():
        times = np.sort(random.integers(0, length, length))
        chosen = random.permutation(NUM_ITEMS)[:length]
        rows += [(user, f"i{item}", int(time)) for item, time in zip(chosen, times, strict=True)]
    return rows


def read_snapshots(folder: Path) -> dict[tuple[str, int], str]:
    table = pd.read_parquet(folder / "user_snapshots.parquet")
    return {(user, as_of): text for user, as_of, text in zip(table.user_id, table.as_of, table.text, strict=True)}


def test_writes_every_text_with_its_provenance(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = build_sequences(draw_rows({"a": 30, "b": 12, "c": 3}), items)
    manifest = generate_text(sequences, tmp_path / "texts", CONFIG)
    data, snapshots = load_sequences(sequences), read_snapshots(tmp_path / "texts")
    lengths = dict(zip(data.user_ids, data.histories("validation").lengths, strict=True))
    assert {user for user, _ in snapshots} == {"a", "b"}
    assert all(2 <= as_of <= lengths[user] for user, as_of in snapshots)
    newest = json.loads((tmp_path / "texts" / "user_preferences.json").read_text())
    assert newest == {user: snapshots[max(key for key in snapshots if key[0] == user)] for user in "ab"}
    descriptions = json.loads((tmp_path / "texts" / "item_descriptions.json").read_text())
    assert list(descriptions) == list(data.item_ids[1:])
    assert descriptions["i7"].startswith("Title 7 (1957) belongs to the genres ")
    assert set(pd.read_parquet(tmp_path / "texts" / "user_snapshots.parquet")["source"]) == {"template"}
    details = manifest.details
    assert details["snapshots"] == {"total": len(snapshots), "by_source": {"template": len(snapshots)}}
    assert (details["users"]["total"], details["users"]["without_text"]) == (3, 1)
    assert "[0, as_of) of the training prefix and nothing else" in details["provenance"]["provider"]
    assert manifest.inputs == {"sequences": sha256_file(sequences / "manifest.json")}
    printed = capsys.readouterr().out
    assert "1 of 3 users have fewer than 2 interactions to write from and no text" in printed
    total = details["items"]["total"] + len(snapshots)
    assert f'progress generate_text {{"text": {total}, "texts": {total}}}\n' in printed


def test_the_same_sequences_give_the_same_bytes(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path
) -> None:
    sequences = build_sequences(draw_rows({"a": 30, "b": 12}), items)
    digests = {generate_text(sequences, tmp_path / name, CONFIG).content_digest for name in ("once", "again")}
    assert len(digests) == 1


def test_nothing_at_or_after_as_of_reaches_a_snapshot(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path
) -> None:
    rows = draw_rows({"a": 30, "b": 25})
    generate_text(build_sequences(rows, items), tmp_path / "before", CONFIG)
    before = read_snapshots(tmp_path / "before")
    assert len(before) >= 6
    changed_earlier = 0
    for user, as_of in before:
        own = [position for position, row in enumerate(rows) if row[0] == user]
        for name, positions in (("future", own[as_of:]), ("past", own[:as_of])):
            perturbed = list(rows)
            others = np.random.default_rng(as_of).permutation(NUM_ITEMS)
            for position, item in zip(positions, others, strict=False):
                perturbed[position] = (user, f"i{item}", rows[position][2])
            generate_text(build_sequences(perturbed, items), tmp_path / name, CONFIG)
            after = read_snapshots(tmp_path / name)
            assert after.keys() == before.keys()
            if name == "future":
                assert after[user, as_of] == before[user, as_of]
            else:
                changed_earlier += after[user, as_of] != before[user, as_of]
    assert changed_earlier == len(before)


def test_a_snapshot_never_changes_once_written(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path
) -> None:
    rows = draw_rows({"a": 20, "b": 9})
    grown = rows + [(user, f"i{item}", 100 + item) for user in "ab" for item in range(20)] + draw_rows({"c": 30}, 2)
    sequences = build_sequences(rows, items)
    generate_text(sequences, tmp_path / "before", CONFIG)
    generate_text(build_sequences(grown, items), tmp_path / "after", CONFIG)
    before, after = read_snapshots(tmp_path / "before"), read_snapshots(tmp_path / "after")
    data = load_sequences(sequences)
    ends = dict(zip(data.user_ids, data.histories("validation").lengths, strict=True))
    assert {key for key in before if key[1] < ends[key[0]]} <= after.keys()
    assert all(after[key] == before[key] for key in before.keys() & after.keys())
    assert len(after) > len(before)


def test_the_validation_and_test_items_are_never_named(build_sequences: BuildSequences, tmp_path: Path) -> None:
    rows = [("a", f"i{item}", item) for item in range(12)]
    generate_text(build_sequences(rows), tmp_path / "texts", TextConfig(snapshot_base=10))
    (text,) = read_snapshots(tmp_path / "texts").values()
    assert "i9" in text
    assert "i10" not in text
    assert "i11" not in text


def test_imported_items_go_first_and_the_rest_is_written(
    build_sequences: BuildSequences,
    items: pd.DataFrame,
    write_json: Callable[[Mapping[str, object]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sequences = build_sequences([("a", f"i{item}", item) for item in range(6)], items)
    path = write_json({"i0": "Zero.", "i5": "Five.", "i39": "Not in the data."})
    manifest = generate_text(sequences, tmp_path / "texts", CONFIG, item_text=path)
    texts = load_texts(tmp_path / "texts", load_sequences(sequences))
    assert [texts.items[0], texts.items[5]] == ["Zero.", "Five."]
    assert [text.split()[1] for text in texts.items[1:5]] == ["1", "2", "3", "4"]
    assert manifest.details["items"] == {
        "total": 6,
        "by_source": {"imported": 2, "template": 4},
        "of_an_id_alone": 0,
        "imported_ids_not_in_data": 1,
    }
    assert manifest.inputs["item_text"] == sha256_file(path)
    assert "6 item descriptions: 2 imported, 4 template" in capsys.readouterr().out


def test_a_forgotten_item_table_is_told(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("a", f"i{item}", item) for item in range(6)]
    generate_text(build_sequences(rows, items), tmp_path / "with", CONFIG)
    assert "nothing but the id" not in capsys.readouterr().out
    manifest = generate_text(build_sequences(rows), tmp_path / "without", CONFIG)
    assert manifest.details["items"]["of_an_id_alone"] == 6
    assert "warning: nothing but the id is known of 6 of 6 items" in capsys.readouterr().out


def test_imported_user_texts_are_marked_unverified(
    build_sequences: BuildSequences,
    write_json: Callable[[Mapping[str, object]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sequences = build_sequences(draw_rows({"a": 20, "b": 20, "c": 20}))
    path = write_json({"b": "B likes it.", "x": "X is unknown."})
    manifest = generate_text(sequences, tmp_path / "texts", CONFIG, user_text=path)
    table = pd.read_parquet(tmp_path / "texts" / "user_snapshots.parquet")
    assert table[table.user_id == "b"].to_numpy().tolist() == [["b", 18, "B likes it.", "imported"]]
    assert table.user_id.is_monotonic_increasing
    assert set(table[table.user_id != "b"]["source"]) == {"template"}
    users = manifest.details["users"]
    assert (users["imported"], users["imported_ids_not_in_data"], users["without_text"]) == (1, 1, 0)
    assert manifest.details["provenance"]["imported"].startswith("imported, unverified")
    printed = capsys.readouterr().out
    assert "user texts: imported, unverified" in printed
    assert "1 imported users are not in the data, left out" in printed


def test_written_snapshots_can_be_imported_again(
    build_sequences: BuildSequences, items: pd.DataFrame, tmp_path: Path
) -> None:
    sequences = build_sequences(draw_rows({"a": 20, "b": 20}), items)
    generate_text(sequences, tmp_path / "first", CONFIG)
    written = tmp_path / "first" / "user_snapshots.parquet"
    manifest = generate_text(sequences, tmp_path / "second", CONFIG, user_text=written)
    assert read_snapshots(tmp_path / "second") == read_snapshots(tmp_path / "first")
    assert "as the file declares it" in manifest.details["provenance"]["imported"]


def test_texts_are_refused_for_other_sequences(build_sequences: BuildSequences, tmp_path: Path) -> None:
    sequences = build_sequences(draw_rows({"a": 20}))
    others = build_sequences(draw_rows({"a": 21}))
    generate_text(sequences, tmp_path / "texts", CONFIG)
    assert load_texts(tmp_path / "texts", load_sequences(sequences)).points.tolist()[0][0] == 1
    with pytest.raises(ArtifactError, match=r"texts: written for other sequences .* run generate_text again"):
        load_texts(tmp_path / "texts", load_sequences(others))


def test_users_too_short_for_any_text_are_no_error(build_sequences: BuildSequences, tmp_path: Path) -> None:
    sequences = build_sequences(draw_rows({"a": 5, "b": 4}))
    manifest = generate_text(sequences, tmp_path / "texts", TextConfig())
    assert manifest.details["users"]["without_text"] == 2
    assert load_texts(tmp_path / "texts", load_sequences(sequences)).points.shape == (0, 2)
    assert read_artifact(tmp_path / "texts") == manifest


# --- Texts that exist already below gs:// are as good as files, and are those that the run was given -----------------

BASE_3 = TextConfig(snapshot_base=3)
ITEM_TEXTS = {f"i{item}": f"Tale {item}." for item in range(20)}


@pytest.fixture
def toy(build_sequences: BuildSequences) -> Path:
    return build_toy(build_sequences)


@pytest.fixture
def files(write_json: Callable[[Mapping[str, object]], Path], tmp_path: Path) -> tuple[Path, Path]:
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
def test_objects_give_the_same_texts_as_files(
    toy: Path, files: tuple[Path, Path], objects: tuple[str, str], tmp_path: Path
) -> None:
    digest = digest_texts(map(str, files), BASE_3)
    from_files = generate_text(toy, tmp_path / "files", BASE_3, files[0], files[1], text_digest=digest)
    digest = digest_texts(objects, BASE_3)
    from_objects = generate_text(toy, tmp_path / "objects", BASE_3, objects[0], objects[1], text_digest=digest)
    assert from_objects.files == from_files.files
    assert from_objects.inputs == from_files.inputs
    assert from_objects.details["items"]["by_source"] == {"imported": 20, "template": NUM_TOY_ITEMS - 20}
    assert from_objects.details["users"]["imported"] == 2


@pytest.mark.emulator
def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_given(
    toy: Path, files: tuple[Path, Path], objects: tuple[str, str], bucket: str, tmp_path: Path
) -> None:
    digest = digest_texts(objects, BASE_3)
    upload(files[1], bucket)  # the same bytes, another generation
    with pytest.raises(ChangedInputError, match=rf"{objects[1]}: has changed since the run began; start another run"):
        generate_text(toy, tmp_path / "texts", BASE_3, objects[0], objects[1], text_digest=digest)
    assert not (tmp_path / "texts").exists()
    generate_text(toy, tmp_path / "texts", BASE_3, objects[0], objects[1], text_digest=digest_texts(objects, BASE_3))


@pytest.mark.emulator
@pytest.mark.server
def test_the_tasks_of_the_pipeline_read_objects(
    toy: Path, objects: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    given: dict[str, Any] = {"item_text": objects[0], "user_text": objects[1]}
    folder = dsl.Dataset(uri=str(toy))
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
    assert json.loads(asked)["answered"] == before["answered_prompts"] == NUM_TOY_ITEMS - 20 + 6  # of the users a and c
