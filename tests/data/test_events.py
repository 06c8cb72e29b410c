"""Kinds of interactions: counted, chosen by name, and rated."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed import GOOD, HEADER, preprocess, write_parquet

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.interactions import read_interactions
from ur4rec.data.sequences import load_sequences


@pytest.mark.parametrize(("events", "items"), [("buy", "bc"), (["cart", "buy"], "abc"), ("view", "ad")])
def test_events_are_chosen_by_name(events: object, items: str, tmp_path: Path) -> None:
    """A row of another event is left out before anything can be wrong with it."""
    path = tmp_path / "plays.csv"
    rows = ["u,a,1,view", "u,a,2,cart", "u,b,3,buy", "u,c,4,buy", "u,d,5,view", ",e,x,lost", "u,e,6,"]
    path.write_text("user_id,item_id,timestamp,event\n" + "\n".join(rows) + "\n")
    read = read_interactions(path, DataConfig.parse({"events": events}))
    assert "".join(sorted({read.item_ids[code].as_py() for code in read.items})) == items
    assert read.excluded == {"other_event": 7 - len(read.items)}
    assert read.num_read == 7


def test_numbers_of_events_are_ratings(tmp_path: Path) -> None:
    header = "user_id,item_id,timestamp,event\n"
    rows = "u,a,1,view\nu,b,2,cart\nu,c,3,buy\nu,d,4,buy\nu,e,5,noise\n"
    manifest = preprocess(tmp_path, header + rows, events="view=1,cart=2,buy=3", min_rating=2)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "b", "c", "d")
    assert manifest.details["excluded_rows"] == {"other_event": 1, "below_min_rating": 1}


def test_an_event_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,timestamp,event\nu,a,1,Purchase\nu,a,2,view\n")
    with pytest.raises(DataError, match=r"no event 'purchase'; is it 'Purchase'\? There are 'Purchase', 'view'$"):
        read_interactions(path, DataConfig(events=("purchase",)))
    path.write_text(HEADER + GOOD)
    with pytest.raises(DataError, match="no column 'event'"):
        read_interactions(path, DataConfig(events=("purchase",)))


def test_an_event_column_that_is_not_used_makes_no_file_bad(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", event=[{"a": 1}] * 4)
    assert read_interactions(path, DataConfig()).reading["events"] == {}


def test_names_by_the_hundred_are_no_events(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,timestamp,event\n" + "".join(f"u,{row},{row},e{row}\n" for row in range(101)))
    assert read_interactions(path, DataConfig()).reading["events"] == {}
