"""Makes a version the champion, an earlier one again, or one the anchor: who may, and whether it could be served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ur4rec.registry.champion.history import NO_VERSION, History, MoveKind
from ur4rec.registry.champion.move import PATIENCE_S, Mover, PromotionRefused, plan_move
from ur4rec.registry.config import RegistryConfig, name_command
from ur4rec.registry.gate.verdict import NOBODY, PASSED, TAG_CHAMPION, TAG_VERDICT
from ur4rec.registry.mlflow_client import GONE, answer_or_none, open_mlflow
from ur4rec.registry.versions import find_version_by_alias, get_version, has_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class Promotion(BaseModel):
    """What became of a command that moves the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    previous: str
    """Champion before; `NO_VERSION`: none."""
    moved: bool
    """Whether the alias was moved, or would be by a dry run; False: the version is champion already."""
    notes: tuple[str, ...] = ()
    """What an interrupted command had left and how that was settled."""


def promote(
    config: RegistryConfig,
    wanted: str,
    *,
    force: bool = False,
    reason: str = "",
    dry_run: bool = False,
    tracking_uri: str | None = None,
    patience_s: float = PATIENCE_S,
) -> Promotion:
    """Make a version, named by number or alias, the champion.

    Force, which needs a reason, does without a passed gate, and promotes again what was rolled back. A dry run checks
    everything and writes nothing. A move that another process has begun is waited for, `patience_s` at most.

    Raises:
        PromotionRefused: The gate has not passed it against today's champion, it was rolled back, its files are gone,
            or somebody else moved the champion meanwhile.
        RegistryError: MLflow cannot be reached, or there is no such version.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        mover = Mover(client, config, patience_s)
        version = get_version(client, config.registered_model_name, wanted)
        number = str(version.version)
        history, notes = mover.settle(dry_run)
        if history.champion == number:
            return Promotion(name=version.name, version=number, previous=number, moved=False, notes=notes)
        if not force:
            _check_permission(version, history)
        elif not reason.strip():
            raise PromotionRefused('--force needs a reason for the history, such as --reason "agreed with Ann"')
        _check_files(client, version)
        move = plan_move(MoveKind.PROMOTION, number, history, reason, _describe_verdict(version, history))
        if not dry_run:
            mover.carry_out(move, history)
    return Promotion(name=version.name, version=number, previous=move.previous, moved=True, notes=notes)


def roll_back(
    config: RegistryConfig,
    *,
    steps: int = 1,
    reason: str = "",
    dry_run: bool = False,
    tracking_uri: str | None = None,
    patience_s: float = PATIENCE_S,
) -> Promotion:
    """Make an earlier champion the champion again, as `promote` would.

    Going back some `steps`, champions that were rolled back themselves do not count.

    Raises:
        PromotionRefused: There is no such champion, its files are gone, or somebody else moved the champion meanwhile.
        RegistryError: MLflow cannot be reached.
    """
    name = config.registered_model_name
    with open_mlflow(tracking_uri, read_only=True) as client:
        mover = Mover(client, config, patience_s)
        history, notes = mover.settle(dry_run)
        number = _find_earlier(name, history, steps)
        version = answer_or_none(GONE, get_version, client, name, number)
        if version is None:
            raise PromotionRefused(
                f"{name}: version {number} has been deleted, so it cannot be champion again; "
                f"{name_command(f'rollback --steps {steps + 1}', name)} goes further back"
            )
        _check_files(client, version)
        move = plan_move(MoveKind.ROLLBACK, number, history, reason).model_copy(update={"steps": steps})
        if not dry_run:
            mover.carry_out(move, history)
    return Promotion(name=name, version=number, previous=move.previous, moved=True, notes=notes)


def set_anchor(config: RegistryConfig, wanted: str, tracking_uri: str | None = None) -> tuple[str, str | None]:
    """Point the anchor's alias at a version, named by number or alias.

    Returns:
        The version, and the one that was the anchor before.

    Raises:
        PromotionRefused: The version's files are gone: nothing could be compared with it.
        RegistryError: MLflow cannot be reached, or there is no such version.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name, alias = config.registered_model_name, config.anchor_alias
        version = get_version(client, name, wanted)
        _check_files(client, version)
        before = find_version_by_alias(client, name, alias)
        client.set_registered_model_alias(name, alias, str(version.version))
    return str(version.version), None if before is None else str(before.version)


def _check_permission(version: ModelVersion, history: History) -> None:
    """Check that the gate has passed the version against today's champion.

    Raises:
        PromotionRefused: It has not.
    """
    number = str(version.version)
    forced = name_command(f'promote {number} --force --reason "…"', str(version.name))
    anyway = f"; to promote it all the same: {forced}"
    gate = f"run {name_command(f'gate SEQUENCES --version {number}', str(version.name))}"
    verdict, compared = version.tags.get(TAG_VERDICT), version.tags.get(TAG_CHAMPION)
    if verdict is None:
        raise PromotionRefused(f"version {number} has not been through the gate; {gate}{anyway}")
    if verdict != PASSED:
        raise PromotionRefused(f"version {number} did not pass the gate ({verdict}){anyway}")
    if compared != (history.champion or NOBODY):
        raise PromotionRefused(
            f"version {number} passed the gate against champion {compared}, "
            f"which is now {history.describe_champion()}; {gate} again{anyway}"
        )
    if number in history.rolled_back:
        raise PromotionRefused(f"version {number} has been rolled back since it was champion{anyway}")


def _check_files(client: MlflowClient, version: ModelVersion) -> None:
    """Check that a version can be served.

    Raises:
        PromotionRefused: It is not ready, or its files are gone.
    """
    if version.status != "READY" or not has_files(client, version):
        raise PromotionRefused(
            f"version {version.version} could not be served: its files are gone or cannot be read "
            f"({client.get_model_version_download_uri(version.name, version.version)}); the champion stays"
        )


def _describe_verdict(version: ModelVersion, history: History) -> str:
    """Quote the gate; with the champion it spoke of where that is not today's, which makes its word void."""
    verdict, compared = version.tags.get(TAG_VERDICT, ""), version.tags.get(TAG_CHAMPION, NOBODY)
    current = compared == (history.champion or NOBODY)
    return verdict if current or not verdict else f"{verdict} against {compared}"


def _find_earlier(name: str, history: History, steps: int) -> str:
    champions = history.champions
    if steps < len(champions):
        number = champions[-1 - steps]
        if number != NO_VERSION:
            return number
    chain = " → ".join(champion or NOBODY for champion in champions) or "empty"
    raise PromotionRefused(f"{name}: --steps {steps} goes back to no champion; the way back is {chain}")
