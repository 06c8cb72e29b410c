"""Recommendations over a toy scorer whose scores are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.recommender import recommender as module
from ur4rec.recommender.bundle import Bundle, count_popularity, rank_popularity
from ur4rec.recommender.recommender import COLUMNS, Recommender
from ur4rec.recommender.requests import RecommendError, Request, resolve
from ur4rec.storage.artifacts import Manifest

NUM_ITEMS = 6
ITEM_IDS = np.array(["", "a", "b", "c", "d", "e", "f"], dtype=object)
HISTORIES = Histories(
    offsets=np.array([0, 0, 2, 5]),
    items=np.array([1, 2, 2, 3, 6]),
    timestamps=np.array([10, 20, 15, 30, 40]),
)


class ToyScorer:
    """User u gives item i the score i·u; a history the index of the item, doubled for its last item."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, users: np.ndarray) -> Tensor:
        self.batches.append(len(users))
        return torch.from_numpy(users)[:, None].float() * torch.arange(NUM_ITEMS + 1).float()

    def score_prefixes(self, users: np.ndarray, lengths: np.ndarray) -> Tensor:
        return self(users) - torch.from_numpy(lengths)[:, None]

    def score_histories(self, items: Sequence[np.ndarray], timestamps: Sequence[np.ndarray] | None = None) -> Tensor:
        scores = torch.arange(NUM_ITEMS + 1).float().repeat(len(items), 1)
        for row, history in enumerate(items):
            scores[row, history[-1]] *= 2
        return scores

    def compare_items(self, items: np.ndarray) -> Tensor:
        """The nearer in the catalogue, the more alike."""
        return -(torch.arange(NUM_ITEMS + 1) - torch.from_numpy(items)[:, None]).abs().float()


@pytest.fixture
def scorer() -> ToyScorer:
    return ToyScorer()


@pytest.fixture
def recommender(tmp_path: Path, scorer: ToyScorer) -> Recommender:
    recent, total = count_popularity(HISTORIES, NUM_ITEMS, 0.5)
    manifest = Manifest(
        producer="bundle", config={}, config_digest="", files={}, inputs={}, details={}, seconds=0, peak_memory_mb=0
    )
    bundle = Bundle(
        path=tmp_path,
        manifest=manifest,
        item_index={item: index for index, item in enumerate(ITEM_IDS) if index},
        user_index={"ann": 1, "bob": 2},
        item_ids=ITEM_IDS,
        titles=np.array(["", *(f"Title {item}" for item in ITEM_IDS[1:])], dtype=object),
        histories=HISTORIES,
        training_lengths=np.array([0, 1, 2]),
        popularity=recent,
        fallback_order=rank_popularity(recent, total),
    )
    return Recommender(bundle, scorer)


def test_known_users_get_their_best_unseen_items(recommender: Recommender) -> None:
    table = recommender.recommend(["bob", "ann"], k=2)
    assert list(table.columns) == list(COLUMNS)
    assert table["request"].tolist() == [0, 0, 1, 1]
    assert table["user_id"].tolist() == ["bob", "bob", "ann", "ann"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["item_id"].tolist() == ["e", "d", "f", "e"]
    assert table["title"].tolist() == ["Title e", "Title d", "Title f", "Title e"]
    assert table["score"].tolist() == [10.0, 8.0, 6.0, 5.0]
    assert set(table["source"]) == {"user"}


def test_seen_items_come_back_when_asked_for(recommender: Recommender) -> None:
    assert recommender.recommend(["bob"], k=2, exclude_seen=False)["item_id"].tolist() == ["f", "e"]


def test_what_a_request_does_not_say_is_as_the_model_was_made(recommender: Recommender) -> None:
    again = Recommender(replace(recommender.bundle, excludes_seen=False), ToyScorer())
    assert again.recommend(["bob"], k=2)["item_id"].tolist() == ["f", "e"]
    assert again.recommend(histories=[["a", "d"]], k=1)["item_id"].tolist() == ["d"]
    assert again.recommend(["bob"], k=2, exclude_seen=True)["item_id"].tolist() == ["e", "d"]
    assert again.top_users(range(2, 3), 1)[1].tolist() == [[6]]
    assert again.top_users(range(2, 3), 1, exclude_seen=True)[1].tolist() == [[5]]
    assert recommender.top_users(range(2, 3), 1)[1].tolist() == [[5]]


def test_padding_is_never_recommended_and_k_is_cut_at_what_is_left(recommender: Recommender) -> None:
    table = recommender.recommend(["ann"], k=100)
    assert table["item_id"].tolist() == ["f", "e", "d", "c"]
    assert len(recommender.recommend(["ann"], k=100, exclude_seen=False)) == NUM_ITEMS


def test_only_what_is_allowed_and_not_denied_is_recommended(recommender: Recommender) -> None:
    """Before the best are chosen, so that as many come back as there are."""
    assert recommender.recommend(["ann"], k=2, deny=["f", "e"])["item_id"].tolist() == ["d", "c"]
    assert recommender.recommend(["ann"], k=2, allow=["c", "a", "d", "no such"])["item_id"].tolist() == ["d", "c"]
    assert recommender.recommend(["ann"], k=2, allow=["c", "d"], deny=["d", "no such"])["item_id"].tolist() == ["c"]
    assert recommender.recommend(histories=[["d"]], k=9, allow=["d", "a"])["item_id"].tolist() == ["a"]
    again = recommender.recommend(histories=[["d"]], k=9, allow=["d", "a"], exclude_seen=False)
    assert again["item_id"].tolist() == ["d", "a"]
    assert recommender.recommend(["ann"], allow=["no such"]).empty
    assert recommender.recommend(["ann"], allow=[]).empty


def test_the_lists_hold_for_what_is_popular_too(recommender: Recommender) -> None:
    order = recommender.recommend([None], k=9)["item_id"].tolist()
    assert len(order) == NUM_ITEMS
    assert recommender.recommend([None], k=2, deny=order[:2])["item_id"].tolist() == order[2:4]
    assert recommender.recommend([None], k=9, allow=order[3:])["item_id"].tolist() == order[3:]


def test_requests_with_lists_and_without_are_answered_together(recommender: Recommender) -> None:
    requests = [Request("bob"), Request("bob", allow=["a", "d"]), Request("ann", deny=["f"]), Request("ann", allow=[])]
    answers = recommender.answer([resolve(request, recommender.bundle) for request in requests])
    assert [answer.items.tolist() for answer in answers] == [[5, 4, 1], [4, 1], [5, 4, 3], []]


def test_similar_items_are_found_without_the_item_itself(recommender: Recommender) -> None:
    table = recommender.find_similar(["a", "f"], k=2)
    assert table["request"].tolist() == [0, 0, 1, 1]
    assert table["item_id"].tolist() == ["b", "c", "e", "d"]
    assert set(table["source"]) == {"item"}
    assert recommender.find_similar(["c"], k=9, allow=["c", "d", "f"], deny=["d"])["item_id"].tolist() == ["f"]


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (Request(similar_to="no such"), "similar_to: item 'no such' is not in the catalogue"),
        (Request(similar_to="a", history=[]), "similar_to: is for a request without"),
        (Request(similar_to="a", user_id="ann"), "similar_to: is for a request without"),
        (Request(similar_to="a", k=0), "k: expected at least 1"),
    ],
)
def test_an_item_to_compare_is_alone_and_known(recommender: Recommender, request_: Request, fault: str) -> None:
    with pytest.raises(RecommendError, match=f"^{fault}"):
        resolve(request_, recommender.bundle)


@pytest.mark.parametrize(("given", "fault"), [("a", "expected a list"), ([1.5], "place 0: expected text or a whole")])
def test_a_list_of_something_else_is_refused_by_name(recommender: Recommender, given: Any, fault: str) -> None:
    with pytest.raises(RecommendError, match=f"^deny: {fault}"):
        recommender.recommend(["ann"], deny=given)


def test_inline_history_is_scored_and_excluded(recommender: Recommender) -> None:
    table = recommender.recommend(histories=[["a", "d"]], k=3)
    assert table["item_id"].tolist() == ["f", "e", "c"]
    assert set(table["source"]) == {"history"}
    assert table["user_id"].tolist() == [None, None, None]
    assert recommender.recommend(histories=[["a", "d"]], k=1, exclude_seen=False)["item_id"].tolist() == ["d"]


def test_a_history_wins_over_what_the_user_did(recommender: Recommender) -> None:
    table = recommender.recommend(["bob", "bob"], [["a"], None], k=1, exclude_seen=False)
    assert table["source"].tolist() == ["history", "user"]
    assert table["score"].tolist() == [6.0, 12.0]


def test_items_outside_the_catalogue_are_ignored_and_counted(recommender: Recommender) -> None:
    table = recommender.recommend(histories=[["a"], ["nope", "d", "neither"]], k=1, exclude_seen=False)
    assert table["item_id"].tolist() == ["f", "d"]
    assert table.attrs["unknown_items"] == {1: 2}


def test_unknown_users_and_unknown_histories_get_recent_popularity(recommender: Recommender) -> None:
    # The newer half of the timestamps (from 20 on) holds items 2, 3 and 6 once each; item 2 has more in all.
    table = recommender.recommend(["eve", None], [None, ["nope"]], k=3)
    assert table["item_id"].tolist() == ["b", "c", "f"] * 2
    assert table["score"].tolist() == [1.0] * 6
    assert set(table["source"]) == {"fallback"}


def test_a_known_user_with_unknown_items_only_gets_the_list_of_the_user(recommender: Recommender) -> None:
    table = recommender.recommend(["bob", "eve", "bob"], [["new", "newer"], ["new"], None], k=2)
    assert table["source"].tolist() == ["user"] * 2 + ["fallback"] * 2 + ["user"] * 2
    assert table["item_id"].tolist()[:2] == table["item_id"].tolist()[4:] == ["e", "d"]
    assert table.attrs["unknown_items"] == {0: 2, 1: 1}


def test_whole_numbers_are_the_ids_they_look_like(recommender: Recommender) -> None:
    recommender.bundle.user_index["7"] = 2
    table = recommender.recommend([7, np.int64(7), 7.0, "7"], k=1)
    assert (table["user_id"].tolist(), set(table["source"])) == (["7"] * 4, {"user"})


@pytest.mark.parametrize("user", [1.5, True, b"bob", ["bob"], 2.0**53])
def test_an_id_of_another_type_is_refused(recommender: Recommender, user: bool | bytes | float | list[str]) -> None:
    with pytest.raises(RecommendError, match="user_id: row 1: expected text or a whole number, got"):
        recommender.recommend(["ann", user])


def test_empty_history_counts_as_none(recommender: Recommender) -> None:
    assert recommender.recommend(["ann"], [[]], k=1)["source"].tolist() == ["user"]
    assert recommender.recommend(histories=[[]], k=1)["source"].tolist() == ["fallback"]


def test_batches_are_bounded_and_do_not_change_the_answer(
    recommender: Recommender, scorer: ToyScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recommender.recommend(["ann", "bob"] * 5, k=3)
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    scorer.batches.clear()
    parts = recommender.recommend(["ann", "bob"] * 5, k=3)
    assert scorer.batches == [3, 3, 3, 1]
    assert parts.equals(whole)
    monkeypatch.setattr(module, "MAX_SCORES", 2 * (NUM_ITEMS + 1))
    scorer.batches.clear()
    recommender.recommend(["ann"] * 4)
    assert scorer.batches == [2, 2]


def test_no_request_gives_an_empty_table(recommender: Recommender) -> None:
    table = recommender.recommend([])
    assert list(table.columns) == list(COLUMNS)
    assert table.empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "got neither"),
        ({"user_ids": "u1"}, "user_ids: expected a list, one entry a request; got the text 'u1'"),
        ({"histories": "i1"}, "histories: expected a list"),
        ({"user_ids": ["ann"], "histories": [["a"], ["b"]]}, "1 ids and 2 histories"),
        ({"user_ids": ["ann"], "k": 0}, "k: expected at least 1, got 0"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    recommender: Recommender, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecommendError, match=message):
        recommender.recommend(**arguments)


def test_popularity_ties_follow_total_then_index() -> None:
    recent, total = np.array([0, 2, 2, 5, 2]), np.array([0, 3, 9, 5, 3])
    assert rank_popularity(recent, total).tolist() == [3, 2, 1, 4]


@pytest.mark.parametrize("columns", [50, 64, 65, 400])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_top_of_a_long_row_is_found_by_its_blocks(monkeypatch: pytest.MonkeyPatch, columns: int, k: int) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    scores = torch.randn(5, columns, generator=torch.Generator().manual_seed(columns))
    scores[1] = scores[1].sort().values
    scores[2, 3:] = float("-inf")
    best, places = module.top_columns(scores, k)
    assert best.tolist() == torch.topk(scores, k, dim=1).values.tolist()
    found = best.isfinite()
    assert scores.gather(1, places.where(found, 0))[found].tolist() == best[found].tolist()
    assert all(len(set(row)) == k for row in places[found.all(dim=1)].tolist())
