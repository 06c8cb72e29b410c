"""What is said of the times of a data set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.summary import describe_times, doubt_times
from ur4rec.storage.artifacts import Manifest

STEPS = np.arange(40)
DAY_S = 86_400
SECONDS = 1_714_989_600 + STEPS * DAY_S
DATES = pd.Series(pd.to_datetime(SECONDS, unit="s")).dt.as_unit("s")
POSITIONS = "positions and other counts serve as they are"
DIVIDED = "dates were divided by too much, or are no seconds: expected seconds since 1970-01-01"


def preprocess(folder: Path, times: np.ndarray | pd.Series) -> Manifest:
    """Ten users with four interactions each, of which the first is that of the first user."""
    table = pd.DataFrame({"user_id": STEPS // 4, "item_id": STEPS % 4, "timestamp": times})
    table.to_parquet(folder / "plays.parquet")
    return preprocess_sequences(folder / "plays.parquet", folder / "sequences", DataConfig())


@pytest.mark.parametrize(
    ("times", "when", "first"),
    [
        (STEPS, "in January 1970", "1970-01-01 00:00:00"),
        (DATES.astype("int64") // 10**3, "in January 1970", "1970-01-20 20:23:09"),
        (DATES.astype("int64") // 10**9, "in January 1970", "1970-01-01 00:00:01"),
        (STEPS + 10**8, "before 1990", "1973-03-03 09:46:40"),
        (np.full(40, 631_151_999), "before 1990", "1989-12-31 23:59:59"),
    ],
    ids=["positions", "thousandths", "nanoseconds of seconds", "counts", "the last second"],
)
def test_times_that_are_too_early_are_taken_and_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: np.ndarray, when: str, first: str
) -> None:
    manifest = preprocess(tmp_path, times)
    doubt = doubt_times(manifest)
    assert doubt.startswith(f"warning: all times lie {when} (times: {first} to 19")
    assert POSITIONS in doubt
    assert DIVIDED in doubt
    assert capsys.readouterr().out == f"preprocess_sequences: {doubt}\n"


@pytest.mark.parametrize(
    "times",
    [
        SECONDS,
        DATES,
        DATES.dt.as_unit("ns"),
        DATES.dt.as_unit("s").astype("int64"),
        np.full(40, 631_152_000),
        20_240_506 + STEPS // 2,
    ],
    ids=["seconds", "dates", "dates in nanoseconds", "seconds of dates", "the first second", "digits of dates"],
)
def test_dates_of_our_time_are_not_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: np.ndarray
) -> None:
    manifest = preprocess(tmp_path, times)
    assert doubt_times(manifest) == capsys.readouterr().out == ""


def test_times_without_a_value_beside_others(tmp_path: Path) -> None:
    doubt = doubt_times(preprocess(tmp_path, np.where(STEPS % 4 == 0, 0, SECONDS)))
    assert doubt.startswith(
        "warning: some times lie in January 1970, others do not (times: 1970-01-01 00:00:00 to 2024"
    )
    assert "a missing time written as 0" in doubt


def test_the_commands_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    manifest = preprocess(tmp_path, STEPS)
    made = runner.invoke(app, ["data", "preprocess", "plays.parquet", "-o", "sequences"])
    shown = runner.invoke(app, ["data", "show", "sequences"])
    assert made.exit_code == shown.exit_code == 0
    for output in (made.output, shown.output):
        assert output.count(doubt_times(manifest)) == 1
        assert "\ntimes: 1970-01-01 00:00:00 to 1970-01-01 00:00:39 UTC\n" in output
    assert describe_times(manifest) == "times: 1970-01-01 00:00:00 to 1970-01-01 00:00:39 UTC"
