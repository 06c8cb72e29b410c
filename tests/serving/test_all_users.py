import pandas as pd
import pyarrow.parquet as pq
import pytest
from toy_server import LENGTH, NUM_ITEMS, NUM_USERS
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.registry import recommender as scoring
from ur4rec.serving import all_users as module
from ur4rec.serving.all_users import recommend_all


def test_every_user_gets_what_a_request_gets(recommender, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "MAX_BATCH", 7)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 40)
    done = []
    rows = recommend_all(recommender, tmp_path / "made" / "all.parquet", k=3, advance=done.append)
    table = pd.read_parquet(tmp_path / "made/all.parquet")
    expected = recommender.recommend(list(recommender.bundle.user_index), k=3)
    columns = ["user_id", "rank", "item_id", "title"]
    assert table[columns].to_numpy().tolist() == expected[columns].to_numpy().tolist()
    assert table["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=1e-5)
    assert (rows, done) == (3 * NUM_USERS, [7, 7, 7, 7, 2])
    assert pq.ParquetFile(tmp_path / "made/all.parquet").num_row_groups == 3


def test_users_with_little_left_get_fewer_rows(recommender, tmp_path):
    recommend_all(recommender, tmp_path / "all.parquet", k=1000)
    counts = pd.read_parquet(tmp_path / "all.parquet").groupby("user_id", sort=False).size()
    items = recommender.bundle.histories.items.reshape(NUM_USERS, LENGTH)
    assert counts.tolist() == [NUM_ITEMS - len(set(row)) for row in items.tolist()]
    assert recommend_all(recommender, tmp_path / "all.parquet", k=1000, exclude_seen=False) == NUM_USERS * NUM_ITEMS


def test_a_run_that_breaks_leaves_the_old_file_and_nothing_else(recommender, tmp_path):
    (tmp_path / "all.parquet").write_text("old")

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_all(recommender, tmp_path / "all.parquet", advance=stop)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_command_says_how_far_it_is(bundle, tmp_path):
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
def test_options_that_make_no_sense_are_refused(arguments, message):
    outcome = CliRunner().invoke(app, ["recommend", *arguments])
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.output.split())
