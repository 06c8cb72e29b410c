"""Moves of the champion alias that meet other moves."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient
from present import present
from toy_versions import add, client, history, model_id

from ur4rec.registry.champion.history import History, MoveKind
from ur4rec.registry.champion.lock import find_claims, place_claim
from ur4rec.registry.champion.move import HOLD_LIMIT_S, Mover, PromotionRefused, plan_move
from ur4rec.registry.champion.promotion import Promotion, promote
from ur4rec.registry.config import RegistryConfig

__all__ = ["add", "client", "history", "model_id"]
CONFIG = RegistryConfig()


def try_promotion(tracking_uri: str, version: str, **options: Any) -> Promotion:
    return promote(CONFIG, version, tracking_uri=tracking_uri, patience_s=0, **options)


def test_a_promoter_that_was_given_up_puts_the_alias_back(
    tracking_uri: str,
    client: MlflowClient,
    add: Callable[..., str],
    history: Callable[[], History],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stopped just before it set the alias; meanwhile another one settled its claim."""
    try_promotion(tracking_uri, add())
    late, _ = add("passed", "1"), add("passed", "1")
    set_alias = type(client).set_registered_model_alias

    def pause(self: MlflowClient, name: str, alias: str, version: str) -> None:
        monkeypatch.setattr(type(client), "set_registered_model_alias", set_alias)
        assert "before the alias moved" in try_promotion(tracking_uri, "1").notes[0]
        set_alias(self, name, alias, version)

    monkeypatch.setattr(type(client), "set_registered_model_alias", pause)
    with pytest.raises(PromotionRefused, match="version 2 was not made champion"):
        try_promotion(tracking_uri, late)
    assert (history().champion, history().champions) == ("1", ["1"])


def test_a_promoter_that_was_overtaken_leaves_the_new_champion(
    tracking_uri: str,
    client: MlflowClient,
    add: Callable[..., str],
    history: Callable[[], History],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try_promotion(tracking_uri, add())
    late, faster = add("passed", "1"), add("passed", "1")
    set_alias = type(client).set_registered_model_alias

    def pause(self: MlflowClient, name: str, alias: str, version: str) -> None:
        monkeypatch.setattr(type(client), "set_registered_model_alias", set_alias)
        assert try_promotion(tracking_uri, faster).moved
        set_alias(self, name, alias, version)

    monkeypatch.setattr(type(client), "set_registered_model_alias", pause)
    with pytest.raises(PromotionRefused, match="it is now version 3"):
        try_promotion(tracking_uri, late)
    assert (history().champion, history().champions) == ("3", ["1", "3"])


def test_a_slow_promoter_gives_up_before_others_give_it_up(
    client: MlflowClient, add: Callable[..., str], history: Callable[[], History]
) -> None:
    times = iter([0.0, HOLD_LIMIT_S + 1])
    mover = Mover(client, CONFIG, clock=lambda: next(times))
    before = history()
    with pytest.raises(PromotionRefused, match="MLflow was so slow to answer"):
        mover.carry_out(plan_move(MoveKind.PROMOTION, add(), before, ""), before)
    assert history() == before
    assert find_claims(client, "ur4rec") == []


def test_a_claim_is_waited_for_as_long_as_it_is_another_one(
    client: MlflowClient, add: Callable[..., str], history: Callable[[], History]
) -> None:
    """Patience counts from when a claim was first seen."""
    claims = [
        present(place_claim(client, "ur4rec", number, plan_move(MoveKind.PROMOTION, "1", history(), "")))
        for number in (1, 2)
    ]
    add()
    times = iter([0.0, 0.0, 1.0, 9.0, 9.0, 11.0, 18.0, 20.0, 25.0])

    def clock() -> float:
        now = next(times)
        if now == 9.0 and len(claims) == 2:
            client.delete_registered_model(claims.pop().name)
        return now

    expected = [f"ur4rec: waiting for the {claim.move.describe()}, which is under way or" for claim in claims]
    said: list[str] = []
    settled, notes = Mover(client, CONFIG, patience_s=10.0, clock=clock, say=said.append).settle()
    assert [line.partition(" was interrupted; ")[0] for line in said] == expected
    assert {line.rpartition("; ")[2] for line in said} == {"for 10 s at most"}
    assert settled == history()
    assert len(notes) == 1
    assert find_claims(client, "ur4rec") == []


def test_the_claim_of_a_recorded_move_is_not_waited_for_and_changes_nothing(
    tracking_uri: str, client: MlflowClient, add: Callable[..., str], history: Callable[[], History]
) -> None:
    """Such as one that its owner could not delete."""
    first, second = add(), add("passed", "1")
    try_promotion(tracking_uri, first)
    place_claim(client, "ur4rec", 1, plan_move(MoveKind.PROMOTION, first, History({}, ""), "stale"))
    outcome = promote(CONFIG, second, tracking_uri=tracking_uri, patience_s=1e9)
    assert outcome.notes[0].endswith("was interrupted at its end, when it was recorded")
    assert client.get_model_version("ur4rec", first).tags["ur4rec.promotion_reason"] == "promotion"
    assert find_claims(client, "ur4rec") == []
