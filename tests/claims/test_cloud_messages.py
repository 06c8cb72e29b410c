"""Messages about cloud storage name what the user has named, and what is there instead; never a copy of it."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from emulators import put_object
from typer.testing import CliRunner

from pipelines.__main__ import app as pipelines_app
from ur4rec.cli import app
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.storage.artifacts import write_artifact
from ur4rec.storage.folders import publish_folder

pytestmark = pytest.mark.emulator
runner = CliRunner(env={"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"})
PLAYS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 6},{10**9 + user * 100 + step}\n" for user in range(8) for step in range(6)
)


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path / "cached"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def filled(bucket: str, tmp_path: Path) -> str:
    """A bucket of everything that one can be wrong about."""
    contents: dict[str, str | bytes] = {
        "csvs/2024.csv": PLAYS,
        "csvs/2025.csv": "item_id,title\ni1,One\n",
        "nest/a/interactions.csv": PLAYS,
        "nests/a/interactions.csv": PLAYS,
        "nests/b/interactions.csv": PLAYS,
        "deep/one/two/three/interactions.csv": PLAYS,
        "raw/u.data": "1\t1\t1\t1\n",
        "bad/interactions.csv": "user_id,item_id\nu,i\n",
        "rows/interactions.csv": PLAYS + "u1,,5\n",
        "both/interactions.csv": PLAYS,
        "both/interactions.parquet": b"PAR1",
        "text/items.json": "[]",
        "text/users.parquet": b"PAR1",
        "files/plays.txt": "no table\n",
    }
    for name, content in contents.items():
        put_object(bucket, name, content)
    artifact = tmp_path / "made"
    with write_artifact(artifact, "toy", DataConfig()) as writer:
        (writer.folder / "logs").mkdir()
        (writer.folder / "logs/events").write_text("one")
    publish_folder(artifact, f"gs://{bucket}/artifact")
    for path in artifact.rglob("*"):
        if path.is_file():
            put_object(bucket, f"copy/{path.relative_to(artifact).as_posix()}", path.read_bytes())
    put_object(bucket, "copy/logs/events", b"altered")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return bucket


def fail(application: object, *arguments: str) -> str:
    result = runner.invoke(application, [*arguments])  # type: ignore[arg-type]
    assert result.exit_code == 2, (result.output, result.exception)
    return " ".join(result.output.replace("│", " ").split())


P = ("data", "preprocess")
NOT_THERE = "nothing is there; expected an object, or a prefix with objects below it"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*P, "B/csvs"), "Error: B/csvs: holds files with different columns, 2024.csv (user_id, item_id, timestamp) "
         "and 2025.csv (item_id, title); name the file to read"),
        ((*P, "B/csvs/"), "Error: B/csvs: holds files with different columns"),
        ((*P, "B/files"), "Error: B/files: no file interactions.csv or interactions.parquet in this folder, which "
         "holds plays.txt; name the file to read, or give it this name"),
        ((*P, "B/nest"), "B/nest: no object is directly below it, they are deeper: B/nest/a; name one of these"),
        ((*P, "B/nests/"), "B/nests: no object is directly below it, they are deeper: B/nests/a, B/nests/b; name"),
        ((*P, "B/deep"), "they are deeper: B/deep/one/two/three; name one of these"),
        ((*P, "B/csvs/2023.csv"), f"B/csvs/2023.csv: {NOT_THERE}; B/csvs holds 2024.csv, 2025.csv"),
        ((*P, "B/nowhere"), f"B/nowhere: {NOT_THERE}; B holds artifact/, bad/, both/, copy/, csvs/ and"),
        ((*P, "B/raw"), "B/raw/u.data: no train interaction is left of 1 rows"),
        ((*P, "B/bad"), "B/bad/interactions.csv"),
        ((*P, "B/bad/interactions.csv"), "B/bad/interactions.csv"),
        ((*P, "B/rows"), "B/rows/interactions.csv"),
        ((*P, "B/both"), "B/both: holds both interactions.csv and interactions.parquet"),
        ((*P, "B/files/plays.txt"), "B/files/plays.txt"),
        ((*P, "B/copy"), "B/copy/logs/events: sha256 differs"),
        ((*P, "B/csvs/2024.csv", "--items", "B/bad/interactions.csv"), "B/bad/interactions.csv"),
        ((*P, "B/csvs/2024.csv", "--items", "B/nest"), "B/nest: no object is directly below it"),
        (("data", "fetch", "ml-100k", "--from", "B/csvs"), "B/csvs"),
        (("data", "fetch", "B/copy"), "B/copy/logs/events: sha256 differs"),
        (("data", "fetch", "B/copy", "-o", "out"), "B/copy/logs/events: sha256 differs"),
        (("data", "show", "B/csvs"), "Error: B/csvs/manifest.json: not found"),
        (("data", "show", "B/artifact"), "B/artifact: written by"),
        (("data", "show", "B/copy"), "B/copy/logs/events: sha256 differs"),
        (("data", "import-legacy", "B/csvs"), "B/csvs"),
        (("text", "generate", "B/artifact"), "B/artifact: written by"),
        (("text", "generate", "seq", "--item-text", "B/text/items.json"), "B/text/items.json"),
        (("text", "generate", "seq", "--user-text", "B/text/users.parquet"), "B/text/users.parquet"),
        (("text", "encode", "seq", "B/csvs"), "B/csvs/manifest.json: not found"),
        (("text", "check", "seq", "--texts", "B/csvs"), "B/csvs"),
        (("train", "B/artifact", "B/csvs"), "B/artifact: written by"),
        (("train", "seq", "B/csvs"), "B/csvs/manifest.json: not found"),
        (("train", "seq", "B/csvs", "--warm-start", "B/csvs"), "B/csvs"),
        (("evaluate", "seq", "B/csvs"), "B/csvs/model_config.json: not found; expected the folder that"),
        (("evaluate", "B/csvs", "B/csvs"), "B/csvs"),
        (("register", "seq", "B/csvs", "B/csvs", "--outputs", "evaluated"), "B/csvs"),
        (("ablate", "B/csvs", "B/csvs"), "B/csvs"),
        (("tune", "B/csvs", "B/csvs"), "B/csvs"),
        (("recommend", "--user", "u", "--model", "B/csvs"), "B/csvs: is not a bundle"),
        (("recommend", "--user", "u", "--model", "B/csvs", "--sequences", "B/csvs"), "B/csvs"),
        (("memory", "stats", "--model", "B/csvs"), "B/csvs"),
        (("memory", "show", "u", "--model", "B/copy"), "B/copy/logs/events"),
        (("memory", "diff", "B/csvs", "B/artifact"), "B/"),
        (("registry", "gate", "B/csvs"), "B/csvs"),
        (("publish", "made", "B/copy"), "B/copy/manifest.json: was not made by publishing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_message_names_the_location_and_no_copy(
    filled: str, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    place = f"gs://{filled}"
    (tmp_path / "plays.csv").write_text(PLAYS)
    (tmp_path / "evaluated").mkdir()
    for name in ("results.json", "report.html"):
        (tmp_path / "evaluated" / name).touch()
    runner.invoke(app, ["data", "preprocess", "plays.csv", "-o", "seq", "--set", "dataset_name=toy"])
    message = fail(app, *(each.replace("B", place) if each.startswith("B") else each for each in arguments))
    assert told.replace("B/", f"{place}/").replace("; B holds", f"; {place} holds") in message
    assert_no_copy(message, tmp_path)


def assert_no_copy(message: str, tmp_path: Path) -> None:
    for path in ("scratch", "cached", "ur4rec-"):
        assert path not in message.replace(str(tmp_path / "mlflow.db"), ""), message


@pytest.mark.parametrize(
    ("data", "told"),
    [("nest", "they are deeper: B/nest/a; name one of these"), ("nowhere", f"B/nowhere: {NOT_THERE}")],
)
def test_a_run_of_the_pipeline_tells_it_before_the_first_task(
    filled: str, tmp_path: Path, data: str, told: str
) -> None:
    place = f"gs://{filled}"
    message = fail(pipelines_app, "run", "--config", "toy", "--data", f"{place}/{data}")
    assert told.replace("B/", f"{place}/") in message
    assert_no_copy(message, tmp_path)


def test_a_task_of_the_pipeline_names_the_location(filled: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        preprocess_sequences(f"gs://{filled}/csvs", tmp_path / "out", DataConfig())
    assert str(caught.value).startswith(f"gs://{filled}/csvs: holds files with different columns")


def test_what_is_shown_names_the_location(filled: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["data", "preprocess", f"gs://{filled}/csvs/2024.csv", "-o", "seq"])
    assert result.exit_code == 0, result.output
    assert "scratch" not in result.output
    assert json.loads((tmp_path / "seq/manifest.json").read_text())["details"]["source_files"] == {
        "interactions": "2024.csv"
    }
    fetched = runner.invoke(app, ["data", "fetch", f"gs://{filled}/csvs"]).stdout.strip()
    assert Path(fetched).is_relative_to(tmp_path / "cached"), "a script reads the place of the copy"
