"""The lock that lets one promoter move the champion at a time, by nothing but MLflow's REST API.

A move of the alias is announced first: its claim is a registered model of its own whose name holds the number of the
record to come. The database makes names unique, so of any number of promoters exactly one gets a number. Numbers are
never used twice, so a promoter that was overtaken cannot remove the claim of another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ur4rec.registry.champion.history import History, Move
from ur4rec.registry.mlflow_client import EXISTS, GONE, answer_or_none

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

INFIX = ".promotion-"
TAG_CLAIM = "ur4rec.promotion_claim"
NOT_OURS = (GONE, "PERMISSION_DENIED")


@dataclass(frozen=True)
class Claim:
    """A move that was announced."""

    name: str
    number: int
    move: Move


def place_claim(client: MlflowClient, model: str, number: int, move: Move) -> Claim | None:
    """Announce a move; None where another promoter has that number."""
    claim = Claim(f"{model}{INFIX}{number:06d}", number, move)
    tags = {TAG_CLAIM: move.model_dump_json()}
    description = f"A lock of `ur4rec registry`, gone in a moment: {move.describe()}"
    made = answer_or_none(EXISTS, client.create_registered_model, claim.name, tags, description)
    # MLflow's client sends again when an answer is lost, so what exists may be this very claim.
    return claim if made or is_placed(client, claim) else None


def is_placed(client: MlflowClient, claim: Claim) -> bool:
    """Say whether the claim is there, and is this very one."""
    found = answer_or_none(GONE, client.get_registered_model, claim.name)
    placed = found and _read(claim.name.rpartition(INFIX)[0], found)
    return bool(placed and placed.move.token == claim.move.token)


def has_moved(claim: Claim, history: History) -> bool:
    """Say whether the alias had been set, or even the record written, when the promoter was stopped."""
    return claim.number in history.moves or history.champion == claim.move.version


def describe_claim(claim: Claim, history: History) -> str:
    """Tell what is known of an interrupted move."""
    what = f"the {claim.move.describe()} was interrupted"
    if claim.number in history.moves:
        return f"{what} at its end, when it was recorded"
    if has_moved(claim, history):
        return f"{what} after the alias had moved, so it happened"
    return f"{what} before the alias moved, so it did not happen"


def find_claims(client: MlflowClient, model: str) -> list[Claim]:
    """Find every claim that is there, the lowest number first."""
    found = client.search_registered_models(f"name LIKE '{model}{INFIX}%'", max_results=100)
    claims = [claim for entity in found if (claim := _read(model, entity))]
    return sorted(claims, key=lambda claim: claim.number)


def withdraw_claim(client: MlflowClient, claim: Claim) -> None:
    """Remove a claim; one that is gone, or belongs to another user of MLflow, is no error: its number is spent."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_registered_model(claim.name)
    except MlflowException as error:
        if error.error_code not in NOT_OURS:
            raise


def _read(model: str, entity: RegisteredModel) -> Claim | None:
    number = entity.name.removeprefix(f"{model}{INFIX}")
    if not number.isdecimal():
        return None
    try:
        return Claim(entity.name, int(number), Move.model_validate_json(entity.tags.get(TAG_CLAIM, "")))
    except ValidationError:
        return None
