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
    assert "settings that auto chooses" in run("data", "show", tmp_path / "sequences")[0]
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
        (["data", "fetch", "ml-100k", "-o", "x"], "--output: is for gs://… and s3://… alone"),
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


def test_columns_events_and_units_are_options(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = [f"{kind},m{step},{17_361 + step},x\n" for step, kind in enumerate(("buy", "view", "buy", "cart", "buy"))]
    file.write_text("what,sku,day,member\n" + "".join(rows))
    names = ("--columns", "user_id=member,item_id=sku,event=what,timestamp=day")
    arguments = ("data", "preprocess", file, "-o", tmp_path / "sequences", *names)
    assert "set time_unit: days where that is 2017-07-14" in run(*arguments, code=2)[1]
    shown, _ = run(*arguments, "--events", "buy", "--time-unit", "days")
    assert "3 interactions: 1 train, 1 validation, 1 test" in shown
    assert "times: 2017-07-14 00:00:00 to 2017-07-18 00:00:00 UTC" in shown
    assert "interactions left out: other event" in shown
    error = run(*arguments, "--events", "bought", "--time-unit", "days", code=2)[1]
    assert "no event 'bought'; There are" in error or "is it" in error
    assert "did you mean 'user_id'" in run("data", "preprocess", file, "--columns", "user=x", code=2)[1]
