from pathlib import Path

import pandas as pd
import pytest

from benchmarks.drifting_tastes import DataSet, Settings, generate

SMALL = Settings(num_users=40)
LONGEST = SMALL.longest_window


def kinds_of(history: pd.DataFrame) -> list[str]:
    return [item.partition("-")[0] for item in history["item_id"]]


@pytest.fixture(scope="module")
def drifting() -> DataSet:
    return generate(SMALL)


def test_no_window_shows_the_taste_behind_the_two_targets(drifting: DataSet) -> None:
    for _, history in drifting.interactions.groupby("user_id"):
        *before, film, record = kinds_of(history)
        assert (film, record) == ("film", "record")
        assert set(before[-LONGEST:]) == {"errand"}
        assert "film" in before
        assert "record" in before


def test_items_are_of_the_taste_at_their_visit_and_no_treat_comes_twice(drifting: DataSet) -> None:
    genre_of = drifting.items.set_index("item_id")["genres"]
    tastes = drifting.tastes.set_index(["user_id", "visit"])
    for user, history in drifting.interactions.groupby("user_id"):
        visits = (history["timestamp"].diff() > 86_400).cumsum()
        treats = history[[kind != "errand" for kind in kinds_of(history)]]
        assert treats["item_id"].is_unique
        for item, visit in zip(treats["item_id"], visits[treats.index], strict=True):
            assert genre_of[item] == tastes.loc[(user, visit), item.partition("-")[0]]


def test_tastes_drift_once_and_late_enough_to_be_seen_before(drifting: DataSet) -> None:
    for _, taste in drifting.tastes.groupby("user_id"):
        changed = [place for place in range(1, SMALL.num_visits) if taste["film"].iloc[place] != taste["film"].iloc[0]]
        assert changed == list(range(changed[0], SMALL.num_visits))
        assert 2 <= changed[0] <= SMALL.num_visits - 2
        assert taste["film"].nunique() == taste["record"].nunique() == 2


def test_the_control_never_drifts() -> None:
    tastes = generate(Settings(num_users=20, drifts=False)).tastes
    assert (tastes.groupby("user_id")[["film", "record"]].nunique() == 1).all(axis=None)


def test_equal_settings_give_equal_files(tmp_path: Path) -> None:
    written = [generate(SMALL).write(tmp_path / name) for name in ("once", "again")]
    for name in ("interactions.csv", "items.csv"):
        assert len({(folder / name).read_bytes() for folder in written}) == 1
    assert (
        generate(Settings(num_users=40, seed=1)).interactions["item_id"].tolist()
        != generate(SMALL).interactions["item_id"].tolist()
    )
