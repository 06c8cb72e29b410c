"""The data set of two audiences, and the comparison on it as a toy run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.generated_data import Tables
from benchmarks.router import main
from benchmarks.two_audiences import Settings, generate
from ur4rec.experiments.ablation_table import AblationTable

SMALL = Settings(num_users=40)


@pytest.fixture(scope="module")
def data() -> Tables:
    return generate(SMALL)


def histories(data: Tables, audience: str) -> list[list[str]]:
    own = data.interactions[data.interactions["user_id"].str.startswith(audience)]
    return [rows["item_id"].tolist() for _, rows in own.groupby("user_id")]


def test_the_next_instalment_is_the_one_after_the_last_but_one(data: Tables) -> None:
    found = histories(data, "serial")
    assert len(found) == SMALL.num_users // 2
    for history in found:
        places = [tuple(map(int, item.split("-")[1:])) for item in history]
        for (serial, instalment), (other, _), following in zip(places, places[1:], places[2:], strict=False):
            assert other != serial
            assert following == (serial, (instalment + 1) % SMALL.num_instalments)


def test_the_next_book_is_another_of_the_shelf_of_the_last_but_one(data: Tables) -> None:
    shelf_of = data.items.set_index("item_id")["genres"]
    found = histories(data, "shelf")
    assert len(found) == SMALL.num_users // 2
    for history in found:
        assert len(set(history)) == len(history)
        shelves = shelf_of[history].tolist()
        assert shelves[2:] == shelves[:-2]
        assert len(set(shelves)) == 2


def test_texts_tell_shelves_apart_and_instalments_not(data: Tables) -> None:
    texts = data.items.groupby(data.items["item_id"].str.partition("-")[0])[["title", "genres"]]
    assert len(texts.get_group("serial").drop_duplicates()) == 1
    books = data.items[data.items["title"] == "Book"]
    assert books.groupby("genres").size().eq(SMALL.books_per_shelf).all()


def test_equal_settings_give_equal_rows(data: Tables) -> None:
    pd.testing.assert_frame_equal(generate(SMALL).interactions, data.interactions)
    assert not generate(Settings(num_users=40, seed=1)).interactions["item_id"].equals(data.interactions["item_id"])


@pytest.mark.slow
def test_variants_are_compared_for_each_audience(tmp_path: Path) -> None:
    main(tmp_path, seeds=1, jobs=1, users=40, epochs=1)
    table = AblationTable.model_validate_json((tmp_path / "ablation.json").read_bytes())
    names = [row.name for row in table.rows]
    assert names[:2] == ["router", "averaged"]
    content = json.loads((tmp_path / "audiences.json").read_text())
    for rows in content["groups"].values():
        assert [row["name"] for row in rows] == names
    weights = content["expert_weights"]
    assert weights["serial"] != weights["shelf"]
    assert all(sum(each.values()) == pytest.approx(1) for each in weights.values())
    over_all = {row.name: row.test["ndcg@10"].mean for row in table.rows}
    for place, name in enumerate(names):
        of = [rows[place]["test"]["ndcg@10"]["mean"] for rows in content["groups"].values()]
        assert over_all[name] == pytest.approx(sum(of) / 2)
