from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from toy_server import CONFIG, LENGTH, NUM_ITEMS, NUM_USERS
from typer.testing import CliRunner

from benchmarks.generated_bundle import write_generated_bundle
from ur4rec.cli import app
from ur4rec.recommender import all_users as module
from ur4rec.recommender import recommender as scoring
from ur4rec.recommender.all_users import Written, recommend_all
from ur4rec.recommender.recommender import Recommender


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    bundle = tmp_path_factory.mktemp("all_users") / "bundle"
    write_generated_bundle(bundle, NUM_USERS, NUM_ITEMS, LENGTH, CONFIG)
    return Recommender.load(bundle)


def test_every_user_gets_what_a_request_gets(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_BATCH", 7)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 40)
    done: list[int] = []
    written = recommend_all(recommender, tmp_path / "made" / "all.parquet", k=3, advance=done.append)
    table = pd.read_parquet(tmp_path / "made/all.parquet")
    expected = recommender.recommend(list(recommender.bundle.user_index), k=3)
    columns = ["user_id", "rank", "item_id", "title"]
    assert table[columns].to_numpy().tolist() == expected[columns].to_numpy().tolist()
    assert table["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=1e-5)
    assert (written, done) == (Written(3 * NUM_USERS), [7, 7, 7, 7, 2])
    assert pq.ParquetFile(tmp_path / "made/all.parquet").num_row_groups == 3


def test_users_with_little_left_get_fewer_rows(recommender: Recommender, tmp_path: Path) -> None:
    written = recommend_all(recommender, tmp_path / "all.parquet", k=1000)
    counts = pd.read_parquet(tmp_path / "all.parquet").groupby("user_id", sort=False).size()
    items = recommender.bundle.histories.items.reshape(NUM_USERS, LENGTH)
    assert counts.tolist() == [NUM_ITEMS - len(set(row)) for row in items.tolist()]
    assert written == Written(counts.sum(), 0, NUM_USERS)
    whole = recommend_all(recommender, tmp_path / "all.parquet", k=NUM_ITEMS, exclude_seen=False)
    assert whole == Written(NUM_USERS * NUM_ITEMS)


@pytest.fixture
def nearly_done(tmp_path: Path) -> tuple[Path, NDArray[Any]]:
    """A bundle of a catalogue of four items, of which nobody has done fewer than two, and some have done all."""
    write_generated_bundle(tmp_path / "small", NUM_USERS, 4, 6, CONFIG)
    items = Recommender.load(tmp_path / "small").bundle.histories.items.reshape(NUM_USERS, 6)
    return tmp_path / "small", np.array([4 - len(set(row)) for row in items.tolist()])


def run(*arguments: Any) -> str:
    outcome = CliRunner().invoke(app, ["recommend", *map(str, arguments)], env={"COLUMNS": "300"})
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_of_all_users_is_said_how_many_got_none_and_how_many_fewer(
    nearly_done: tuple[Path, NDArray[Any]], tmp_path: Path
) -> None:
    bundle, left = nearly_done
    assert {0, 1, 2} <= set(left.tolist())
    output = run("--all-users", "--model", bundle, "-o", tmp_path / "all.parquet", "-k", "2")
    expected = f"{sum(left == 0)} users got none and {sum(left == 1)} fewer than 2: everything else has been seen"
    assert expected in output
    assert "--include-seen" in output
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == np.minimum(left, 2).sum()
    again = run("--all-users", "--model", bundle, "-o", tmp_path / "all.parquet", "-k", "2", "--include-seen")
    assert "got none" not in again
    many = run("--all-users", "--model", bundle, "-o", tmp_path / "all.parquet", "-k", "5", "--include-seen")
    assert f"0 users got none and {NUM_USERS} fewer than 5: the catalogue has no more" in many


def test_a_user_for_whom_nothing_is_left_is_told_so_beside_one_for_whom_something_is(
    nearly_done: tuple[Path, NDArray[Any]],
) -> None:
    bundle, left = nearly_done
    done, short = (f"u{1 + int(np.flatnonzero(left == count)[0])}" for count in (0, 1))
    output = run("--model", bundle, "-u", done, "-u", short, "-k", "2")
    assert f"user {done}: nothing is left to recommend: everything in the catalogue has been seen" in output
    assert f"user {short} (source: user)" in output
    assert "1 of 2 items: everything else has been seen (--include-seen recommends it again)" in output


def test_a_history_of_the_whole_catalogue_leaves_nothing(nearly_done: tuple[Path, NDArray[Any]]) -> None:
    bundle, _ = nearly_done
    output = run("--model", bundle, "--history", "i1,i2,i3,i4,nope")
    assert "history: nothing is left to recommend: everything in the catalogue has been seen (--include-seen" in output
    assert "1 item(s) of the history are not in the catalogue" in output
    again = run("--model", bundle, "--history", "i1,i2,i3,i4", "--include-seen", "-k", 5)
    assert "4 of 5 items: the catalogue has no more" in again


def test_a_run_that_breaks_leaves_the_old_file_and_nothing_else(recommender: Recommender, tmp_path: Path) -> None:
    (tmp_path / "all.parquet").write_text("old")

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_all(recommender, tmp_path / "all.parquet", advance=stop)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_command_says_how_far_it_is(bundle: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "all.parquet")
    arguments = ["recommend", "--all-users", "--model", str(bundle), "-o", output, "-k", "2"]
    outcome = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert outcome.exit_code == 0, outcome.output
    assert f'progress recommend {{"user": {NUM_USERS}, "users": {NUM_USERS}}}' in outcome.output
    assert f"{output}: {2 * NUM_USERS} rows for {NUM_USERS} users" in outcome.output
    assert pq.read_metadata(output).num_rows == 2 * NUM_USERS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--all-users"], "--all-users and --output together"),
        (["--user", "1", "-o", "all.parquet"], "--all-users and --output together"),
        (["--all-users", "--user", "1", "-o", "all.parquet"], "expected one of --user"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    outcome = CliRunner().invoke(app, ["recommend", *arguments])
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.output.split())
