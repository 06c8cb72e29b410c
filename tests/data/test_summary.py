"""What is said of a data set, and what is called out of the ordinary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.summary import (
    describe_data,
    describe_reading,
    describe_times,
    doubt_times,
    list_warnings,
    summary_table,
)
from ur4rec.storage.artifacts import Manifest, read_artifact

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
    assert capsys.readouterr().out.splitlines()[0] == f"preprocess_sequences: {doubt}"


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
    assert doubt_times(manifest) == ""
    assert "times lie" not in capsys.readouterr().out


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


# each of them once there, and once at the last value that is ordinary

NUM_USERS = 10
Histories = list[list[str]]


def make_histories(length: int = 4) -> Histories:
    """Ten users, each with items of its own, one a day."""
    return [[f"i{user}_{step}" for step in range(length)] for user in range(NUM_USERS)]


def preprocess_histories(
    folder: Path, histories: Histories, days: list[list[float]] | None = None, turned: bool = False
) -> Manifest:
    rows = [
        (f"u{user}", item, 20_000 * DAY_S + (days[user][step] if days else step) * DAY_S)
        for user, items in enumerate(histories)
        for step, item in enumerate(items)
    ]
    table = pd.DataFrame(rows[::-1] if turned else rows, columns=["user_id", "item_id", "timestamp"])
    table.to_parquet(folder / "plays.parquet")
    return preprocess_sequences(folder / "plays.parquet", folder / "sequences", DataConfig())


def test_nothing_is_said_of_ordinary_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = preprocess_histories(tmp_path, make_histories())
    assert list_warnings(manifest) == []
    assert capsys.readouterr().out == ""
    assert summary_table(manifest) == [
        ("median history", "4 interactions"),
        ("largest history", "4 interactions, 10.0% of all: user u0"),
        ("repeats", "0.0% of all interactions"),
        ("repeats among targets", "0.0% of validation, 0.0% of test"),
        ("test targets with a tied time", "0 of 10"),
    ]


@pytest.mark.parametrize(("length", "is_told"), [(9, False), (10, True)])
def test_a_user_with_a_fifth_of_everything(tmp_path: Path, length: int, is_told: bool) -> None:
    """Nine users have 36 rows: 9 more are a fifth of 45, 10 more are 21.7 % of 46."""
    histories = make_histories()
    histories[3] = [f"own{step}" for step in range(length)]
    told = [line for line in list_warnings(preprocess_histories(tmp_path, histories)) if "user 'u3'" in line]
    assert len(told) == is_told
    if told:
        assert told[0].startswith("warning: user 'u3' has 21.7% of all interactions; an id that stands for many")
        assert "leave its rows out" in told[0]


def test_a_few_users_have_large_shares_anyway(tmp_path: Path) -> None:
    histories = [*make_histories()[:2], [f"own{step}" for step in range(15)]]
    assert list_warnings(preprocess_histories(tmp_path, histories)) == []


@pytest.mark.parametrize(("num_repeats", "is_told"), [(0, False), (1, False), (2, True)])
def test_repeats_among_the_targets(tmp_path: Path, num_repeats: int, is_told: bool) -> None:
    """There are twenty targets."""
    histories = make_histories()
    for history in histories[:num_repeats]:
        history[-1] = history[0]
    manifest = preprocess_histories(tmp_path, histories)
    told = [line for line in list_warnings(manifest) if "had before" in line]
    assert len(told) == is_told
    if told:
        assert told[0].startswith("warning: 10.0% of the targets are items that their user had before; ")
        assert "without seen_items: include, a model is not asked for them" in told[0]
    shown = dict(summary_table(manifest))
    assert shown["repeats"] == f"{num_repeats / 40:.1%} of all interactions"
    assert shown["repeats among targets"] == f"0.0% of validation, {num_repeats / 10:.1%} of test"


def test_repeats_ahead_of_the_targets_are_no_reason_to_ask_for_them(tmp_path: Path) -> None:
    histories = [[history[0], *history] for history in make_histories()]
    manifest = preprocess_histories(tmp_path, histories)
    assert list_warnings(manifest) == []
    assert dict(summary_table(manifest))["repeats"] == "20.0% of all interactions"


@pytest.mark.parametrize(("num_tied", "is_told"), [(2, False), (3, True)])
def test_tied_targets(tmp_path: Path, num_tied: int, is_told: bool) -> None:
    days = [[0.0, 1, 2, 2] if user < num_tied else [0.0, 1, 2, 3] for user in range(NUM_USERS)]
    manifest = preprocess_histories(tmp_path, make_histories(), days)
    assert manifest.details["timestamps"]["tied_targets"] == num_tied
    told = list_warnings(manifest)
    assert len(told) == is_told
    if told:
        assert told[0].startswith("warning: 3 of 10 test targets share their time with another interaction")
        assert told[0].endswith("give finer times, or the rows in the order in which they happened")


def test_a_file_that_runs_from_new_to_old_is_called_by_name(tmp_path: Path) -> None:
    manifest = preprocess_histories(tmp_path, make_histories(), [[0.0, 1, 2, 2]] * NUM_USERS, turned=True)
    (told,) = list_warnings(manifest)
    assert "10 of 10 test targets" in told
    assert "the file runs from new to old, so it is the oldest of them: turn the order of its rows round" in told
    assert list_warnings(preprocess_histories(tmp_path, make_histories(), turned=True)) == []  # times decide


@pytest.mark.parametrize(("num_fitting", "is_told"), [(20, False), (19, True)])
def test_an_item_table_of_which_little_fits(tmp_path: Path, num_fitting: int, is_told: bool) -> None:
    preprocess_histories(tmp_path, make_histories())
    ids = [f"i{item // 4}_{item % 4}" if item < num_fitting else f"other{item}" for item in range(40)]
    pd.DataFrame({"item_id": ids, "title": "Song"}).to_parquet(tmp_path / "songs.parquet")
    places = tmp_path / "plays.parquet", tmp_path / "again"
    manifest = preprocess_sequences(*places, DataConfig(), tmp_path / "songs.parquet")
    told = list_warnings(manifest)
    assert len(told) == is_told
    assert dict(summary_table(manifest))["items in the item table"] == f"{num_fitting} of 40"
    if told:
        assert told[0].startswith("warning: 19 of 40 items have a row in the item table")
        assert "are the ids of both files written alike?" in told[0]


READING = {
    "read_as": "RecBole atomic file",
    "columns": {"user_id": "user_id", "item_id": "item", "timestamp": "timestamp"},
    "unused": ["rating", "price"],
    "time_unit": "milliseconds",
    "similar_ids": {"user_id": 0, "item_id": 0},
    "events": {"view": 1200, "buy": 3},
}


def test_how_a_file_was_read(tmp_path: Path) -> None:
    manifest = preprocess_histories(tmp_path, make_histories())
    manifest.details["reading"] = {"interactions": READING, "items": {}}
    assert describe_reading(manifest) == [
        "plays.parquet: read as RecBole atomic file: 3 columns used (item as item_id); unused: rating, price; "
        "times: milliseconds; events: view 1,200, buy 3, all taken; the setting events chooses"
    ]
    assert describe_data(manifest).splitlines() == [
        *describe_reading(manifest),
        describe_times(manifest),
        *(f"{what}: {value}" for what, value in summary_table(manifest)),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "user_id,item_id,timestamp,event,shop\nu,a,1,view,s\nu,b,2,view,s\nu,c,3,buy,s\n",
            ["4 columns used", "unused: shop", "events: view 2, buy 1, all taken; the setting events chooses"],
        ),
        (
            "userId,movieId,rating,timestamp\nu,a,5,1\nu,b,4,2\nu,c,3,3\n",
            ["3 columns used (userId as user_id, movieId as item_id)", "unused: rating", "times: seconds"],
        ),
    ],
    ids=["events", "other names"],
)
def test_columns_and_events_are_named_once(text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text(text)
    made = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["data", "preprocess", str(tmp_path / "plays.csv"), "-o", str(tmp_path / "sequences")]
    )
    assert made.exit_code == 0, made.output
    (line,) = [line for line in made.output.splitlines() if line.startswith("plays.csv: read as CSV")]
    for part in expected:
        assert part in line


@pytest.mark.parametrize(("item", "is_told"), [("a", False), ("x", False), ("A", True), ("a ", True)])
def test_ids_that_are_nearly_those_of_others(item: str, is_told: bool, tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text(f"user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\nu,{item},4\n")
    manifest = preprocess_sequences(tmp_path / "plays.csv", tmp_path / "sequences", DataConfig())
    told = [line for line in list_warnings(manifest) if "differ from another one" in line]
    assert len(told) == is_told
    if told:
        assert "blanks, case, leading zeros or `.0`: 1 of item_id; they are kept apart" in told[0]


def test_a_folder_of_an_earlier_release_tells_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    preprocess_histories(tmp_path, make_histories())
    path = Path("sequences/manifest.json")
    manifest = json.loads(path.read_text())
    for name in ("histories", "repeats", "title_scripts", "reading"):
        del manifest["details"][name]
    for name in ("tied_targets", "newest_first"):
        del manifest["details"]["timestamps"][name]
    path.write_text(json.dumps(manifest))
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["data", "show", "sequences"])
    assert shown.exit_code == 0, shown.output
    assert "times: 2024-10-04" in shown.output
    assert "warning" not in shown.output
    assert "│ median history" not in shown.output
    assert "largest history" not in shown.output
    assert list_warnings(read_artifact(Path("sequences"))) == []


def test_the_commands_show_the_summary_and_the_warnings_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = preprocess_histories(tmp_path, [[items[0]] * 4 for items in make_histories()])
    (warning,) = list_warnings(manifest)
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    made = runner.invoke(app, ["data", "preprocess", "plays.parquet", "-o", "sequences"])
    shown = runner.invoke(app, ["data", "show", "sequences"])
    for output in (made.output, shown.output):
        assert output.count(warning) == 1
        for what, value in summary_table(manifest):
            assert f"│ {what} " in output
            assert f" {value} " in output


@pytest.mark.parametrize(
    ("place", "settings", "expected"),
    [
        ("plays.csv", (), "plays"),
        ("new/interactions.csv", (), "new"),
        ("new", (), "new"),
        ("interactions.csv", (), "mine"),
        (".", (), "mine"),
        ("plays.csv", ("--set", "dataset_name=songs"), "songs"),
    ],
)
def test_data_go_by_the_name_of_their_file(
    place: str, settings: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine/new").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    for file in ("plays.csv", "interactions.csv", "new/interactions.csv"):
        Path(file).write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    made = CliRunner().invoke(app, ["data", "preprocess", place, "-o", "../sequences", *settings])
    assert made.exit_code == 0, made.output
    manifest = read_artifact(tmp_path / "sequences")
    assert manifest.details["dataset_name"] == manifest.config["dataset_name"] == expected
    assert CliRunner().invoke(app, ["data", "show", "../sequences"]).output.startswith(expected)
