"""Who may be promoted, and what is refused; on MLflow's own sqlite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from toy_versions import add, client, history, model_id

from ur4rec.registry.champion.history import History, MoveKind
from ur4rec.registry.champion.lock import find_claims, place_claim
from ur4rec.registry.champion.move import PromotionRefused, plan_move
from ur4rec.registry.champion.promotion import Promotion, promote, roll_back
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import RegistryError

__all__ = ["add", "client", "history", "model_id"]
CONFIG = RegistryConfig()
FORCED = {"force": True, "reason": "a test"}


def try_promotion(tracking_uri: str, version: str, **options: Any) -> Promotion:
    return promote(CONFIG, version, tracking_uri=tracking_uri, patience_s=0, **options)


@pytest.mark.parametrize(
    ("verdict", "champion", "message", "recorded"),
    [
        (None, "none", "version 1 has not been through the gate; run `ur4rec registry gate SEQUENCES --version 1`", ""),
        (
            "failed",
            "none",
            r"version 1 did not pass the gate \(failed\); to promote it all the same: `ur4rec registry",
            "failed",
        ),
        ("nan", "none", r"did not pass the gate \(nan\)", "nan"),
        (
            "passed",
            "4",
            "passed the gate against champion 4, which is now none; run `ur4rec registry gate",
            "passed against 4",
        ),
    ],
)
def test_without_a_passed_gate_against_todays_champion_nothing_moves(
    tracking_uri: str,
    add: Callable[..., str],
    history: Callable[[], History],
    verdict: str | None,
    champion: str,
    message: str,
    recorded: str,
) -> None:
    version = add(verdict, champion)
    with pytest.raises(PromotionRefused, match=message):
        try_promotion(tracking_uri, version)
    with pytest.raises(RegistryError, match="reason: 501 characters; expected at most 500"):
        try_promotion(tracking_uri, version, force=True, reason="x" * 501)
    with pytest.raises(PromotionRefused, match="--force needs a reason"):
        try_promotion(tracking_uri, version, force=True, reason=" ")
    assert history() == History({}, "")
    assert try_promotion(tracking_uri, version, **FORCED).moved
    assert (history().moves[1].reason, history().moves[1].verdict) == ("a test", recorded)


def test_a_dry_run_says_the_same_and_writes_nothing(
    tracking_uri: str, client: MlflowClient, add: Callable[..., str], history: Callable[[], History]
) -> None:
    version = add()
    place_claim(client, "ur4rec", 1, plan_move(MoveKind.PROMOTION, "9", history(), ""))
    before = client.get_registered_model("ur4rec")
    planned = try_promotion(tracking_uri, version, dry_run=True)
    assert planned.moved
    assert "before the alias moved" in planned.notes[0]
    after = client.get_registered_model("ur4rec")
    assert (after.tags, after.aliases) == (before.tags, before.aliases)
    assert len(find_claims(client, "ur4rec")) == 1
    done = try_promotion(tracking_uri, version)
    assert done == planned
    with pytest.raises(PromotionRefused, match="--steps 1 goes back to no champion"):
        roll_back(CONFIG, tracking_uri=tracking_uri, dry_run=True, patience_s=0)
    assert history().champion == version


def test_the_champion_is_promoted_only_once(
    tracking_uri: str, add: Callable[..., str], history: Callable[[], History]
) -> None:
    version = add()
    assert try_promotion(tracking_uri, version).moved
    assert not try_promotion(tracking_uri, version).moved
    assert history().number == 1


def test_a_version_that_was_rolled_back_is_promoted_by_force_only(
    tracking_uri: str, add: Callable[..., str], history: Callable[[], History]
) -> None:
    first, second = add(), add("passed", "1")
    try_promotion(tracking_uri, first)
    try_promotion(tracking_uri, second)
    roll_back(CONFIG, reason="complaints", tracking_uri=tracking_uri, patience_s=0)
    with pytest.raises(PromotionRefused, match="version 2 has been rolled back since it was champion"):
        try_promotion(tracking_uri, second)
    assert try_promotion(tracking_uri, second, **FORCED).moved
    assert history().champions == ["1", "2"]


def test_a_rollback_needs_the_files_and_can_go_past_a_deleted_version(
    tracking_uri: str, client: MlflowClient, add: Callable[..., str], history: Callable[[], History], tmp_path: Path
) -> None:
    for champion in ("none", "1", "2"):
        try_promotion(tracking_uri, add("passed", champion))
    client.delete_model_version("ur4rec", "2")
    with pytest.raises(PromotionRefused, match=r"version 2 has been deleted.*rollback --steps 2"):
        roll_back(CONFIG, tracking_uri=tracking_uri, patience_s=0)
    (manifest,) = (tmp_path / "files").rglob("manifest.json")
    kept = manifest.rename(tmp_path / "kept")
    with pytest.raises(PromotionRefused, match="version 1 could not be served: its files are gone"):
        roll_back(CONFIG, steps=2, tracking_uri=tracking_uri, patience_s=0)
    with pytest.raises(PromotionRefused, match="version 4 could not be served"):
        try_promotion(tracking_uri, add("passed", "3"))
    assert history().champion == "3"
    kept.rename(manifest)
    assert roll_back(CONFIG, steps=2, tracking_uri=tracking_uri, patience_s=0).version == "1"
    with pytest.raises(PromotionRefused, match="--steps 1 goes back to no champion"):
        roll_back(CONFIG, tracking_uri=tracking_uri, patience_s=0)


def test_an_unknown_version_or_alias_is_an_error(tracking_uri: str, add: Callable[..., str]) -> None:
    add()
    with pytest.raises(RegistryError, match=r"9.*not found"):
        try_promotion(tracking_uri, "9")
    with pytest.raises(RegistryError, match=r"nobody.*not found.*`ur4rec registry list`"):
        try_promotion(tracking_uri, "nobody")
