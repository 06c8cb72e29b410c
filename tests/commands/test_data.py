"""`ur4rec publish` and the commands that read what was published."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ur4rec.cli import app

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
PLAYS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 6},{user * 100 + step}\n" for user in range(8) for step in range(6)
)
SMALL = ("--set", "min_seq_len=3")


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "interactions.csv").write_text(PLAYS)
    return tmp_path / "plays"


@pytest.mark.emulator
def test_from_a_folder_to_cloud_storage_and_back(
    bucket: str, plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path / "cache"))
    location = f"gs://{bucket}/data/plays"
    shown, _ = run("publish", plays, location)
    assert shown.splitlines()[-1] == f"published: {location} (1 files, 0.0 MB)"
    assert run("publish", plays, location)[0].splitlines()[-1].startswith(f"unchanged: {location}")
    place, progress = run("data", "fetch", location)
    assert Path(place.strip(), "interactions.csv").read_text() == PLAYS  # a script can use it as it is
    assert progress.startswith("progress download")
    assert Path(place.strip()).is_relative_to(tmp_path / "cache")
    run("data", "preprocess", location, "-o", tmp_path / "sequences", *SMALL)
    run("publish", tmp_path / "sequences", f"gs://{bucket}/sequences")
    assert run("data", "show", f"gs://{bucket}/sequences")[0] == run("data", "show", tmp_path / "sequences")[0]
    assert run("data", "show", f"gs://{bucket}/sequences")[1] == ""  # the second time it is in the cache
    run("text", "generate", f"gs://{bucket}/sequences", "-o", tmp_path / "texts")
    run("data", "fetch", f"gs://{bucket}/sequences", "-o", tmp_path / "again")
    assert run("data", "show", tmp_path / "again") == run("data", "show", tmp_path / "sequences")


def test_publishing_to_a_path(plays: Path, tmp_path: Path) -> None:
    shown, _ = run("publish", plays, tmp_path / "shared" / "plays")
    assert shown.startswith("published: ")
    assert (tmp_path / "shared" / "plays" / "interactions.csv").read_text() == PLAYS


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "fetch", "gs://{}/nowhere"], "nowhere: nothing is there; expected an object, or a prefix with"),
        (["data", "fetch", "gs://{}-not/a"], "no such bucket; create it or correct its name"),
        (["data", "fetch", "gs://Bad"], "expected gs://bucket/prefix"),
        (["data", "fetch", "gs://{}/a", "--from", "."], "--from: is for data sets alone"),
        (["data", "fetch", "ml-100k", "-o", "x"], "--output: is for gs://… alone"),
        (["data", "preprocess", "nowhere.csv"], "Path 'nowhere.csv' does not exist"),
        (["data", "show", "nowhere"], "Directory 'nowhere' does not exist"),
        (["data", "show", "gs://{}/nowhere"], "nowhere: nothing is there; expected an object, or a prefix with"),
        (["publish", ".", "gs://{}-not/a"], "no such bucket; create it or correct its name"),
    ],
)
def test_what_is_wrong_is_told(
    bucket: str, plays: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(plays)
    _, error = run(*(argument.format(bucket) for argument in arguments), code=2)
    assert message in error
    assert "Traceback" not in error
