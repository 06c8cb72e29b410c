"""Moves the champion alias; every move is recorded and can be undone.

MLflow sets an alias whatever it was before, so a move goes in six steps: claim the next number, look again whether the
champion is the expected one, set the alias, tag the version, write the record, withdraw the claim. Whoever is stopped
in between leaves a claim. The next command settles it, and never by moving an alias: had it moved, the record is
completed; had it not, the move did not happen.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ur4rec.registry.champion.history import NO_VERSION, History, Move, MoveKind, fetch_history, record_tag
from ur4rec.registry.champion.lock import (
    Claim,
    describe_claim,
    find_claims,
    has_moved,
    is_placed,
    place_claim,
    withdraw_claim,
)
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.verdict import NOBODY
from ur4rec.registry.mlflow_client import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_PREVIOUS = "ur4rec.previous_champion"
TAG_AT = "ur4rec.promoted_at"
TAG_BY = "ur4rec.promoted_by"
TAG_REASON = "ur4rec.promotion_reason"
TAG_PROMOTED_VERDICT = "ur4rec.promoted_verdict"
LONGEST_REASON = 500
"""PostgreSQL keeps 5,000 characters of a record, which has the reason in JSON."""
PATIENCE_S = 30.0
"""How long a claim of somebody else may stand before it counts as abandoned."""
HOLD_LIMIT_S = 15.0
"""Who has a claim for longer, and has not moved the alias yet, gives up."""
POLL_S = 0.25
SLOW = "MLflow was so slow to answer that others may have gone on: nothing was moved, try again"


class PromotionRefused(RegistryError):
    """The champion stays as it is; says why and what to do."""


class Mover:
    """Settles what others left, and carries out one move.

    Args:
        client: MLflow's.
        config: Names of registered model and aliases.
        patience_s: See `PATIENCE_S`.
        clock: Seconds that never go back.
        say: Told, once for each move, for whose end this waits.
    """

    def __init__(
        self,
        client: MlflowClient,
        config: RegistryConfig,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self._client = client
        self._name = config.registered_model_name
        self._alias = config.champion_alias
        self._patience_s = patience_s
        self._clock = clock
        self._say = say

    def read(self) -> History:
        """Fetch the history as it is now."""
        return fetch_history(self._client, self._name, self._alias)

    def settle(self, dry_run: bool = False) -> tuple[History, tuple[str, ...]]:
        """Wait for a move under way, then settle what an interrupted one left.

        Returns:
            The history after it, and what was settled, in words.

        Raises:
            PromotionRefused: The champion changed while this waited.
        """
        before = self.read()
        claims = self._wait()
        history = self.read()
        if history.champion != before.champion:
            raise PromotionRefused(
                f"{self._name}: while this command waited, the champion became {history.describe_champion()}; "
                "nothing was moved: look at `ur4rec registry history` and decide again"
            )
        notes = tuple(describe_claim(claim, history) for claim in claims)
        if not dry_run:
            for claim in claims:
                self._settle(claim, history)
        return (self.read() if claims and not dry_run else history), notes

    def carry_out(self, move: Move, expected: History) -> None:
        """Move the alias, provided the champion is still the expected one.

        Raises:
            PromotionRefused: It is not, or another promoter was first.
        """
        began = self._clock()
        claim = place_claim(self._client, self._name, expected.number + 1, move)
        if claim is None:
            self._wait()  # so that the one who was first can be named
            raise PromotionRefused(self._explain_loss(move))
        now = self.read()
        in_time = self._clock() - began <= HOLD_LIMIT_S
        if (now.number, now.champion) != (expected.number, expected.champion) or not in_time:
            withdraw_claim(self._client, claim)
            raise PromotionRefused(self._explain_loss(move) if in_time else SLOW)
        self._client.set_registered_model_alias(self._name, self._alias, move.version)
        self._check_not_overtaken(claim, expected)
        self._record(claim)

    def _wait(self) -> list[Claim]:
        """Wait while a claim may still be at work; return those that are left."""
        began, seen = self._clock(), frozenset[str]()
        while claims := find_claims(self._client, self._name):
            moves = self.read().moves
            tokens = frozenset(claim.move.token for claim in claims if claim.number not in moves)
            if tokens != seen:
                self._announce([claim for claim in claims if claim.move.token in tokens - seen])
                began, seen = self._clock(), tokens
            if not tokens or self._clock() - began >= self._patience_s:
                break
            time.sleep(POLL_S)
        return claims

    def _announce(self, claims: list[Claim]) -> None:
        for claim in claims if self._patience_s > 0 else ():
            self._say(
                f"{self._name}: waiting for the {claim.move.describe()}, which is under way or was interrupted; "
                f"for {self._patience_s:g} s at most"
            )

    def _settle(self, claim: Claim, history: History) -> None:
        if claim.number not in history.moves and has_moved(claim, history):
            self._record(claim)
        else:
            withdraw_claim(self._client, claim)

    def _check_not_overtaken(self, claim: Claim, expected: History) -> None:
        """Undo a move that came so late that others had given this promoter up."""
        if is_placed(self._client, claim):
            return
        now = self.read()
        recorded = now.moves.get(claim.number)
        if recorded is not None and recorded.token == claim.move.token:
            return
        if now.champion == claim.move.version:
            earlier = now.moves[now.number].version if now.number > expected.number else expected.champion
            if earlier == NO_VERSION:
                self._client.delete_registered_model_alias(self._name, self._alias)
            else:
                self._client.set_registered_model_alias(self._name, self._alias, earlier)
        raise PromotionRefused(self._explain_loss(claim.move))

    def _record(self, claim: Claim) -> None:
        """Tag the version, write the record, withdraw the claim; may be done again."""
        move = claim.move
        tags = {
            TAG_PREVIOUS: move.previous or NOBODY,
            TAG_AT: move.at,
            TAG_BY: move.by,
            TAG_REASON: move.reason or str(move.kind),
            TAG_PROMOTED_VERDICT: move.verdict or NOBODY,
        }
        for tag, value in tags.items():
            self._client.set_model_version_tag(self._name, move.version, tag, value)
        self._client.set_registered_model_tag(self._name, record_tag(claim.number), move.model_dump_json())
        withdraw_claim(self._client, claim)

    def _explain_loss(self, move: Move) -> str:
        return (
            f"{self._name}: somebody else moved the champion at the same time, it is now "
            f"{self.read().describe_champion()}; version {move.version} was not made champion: "
            "look at `ur4rec registry history` and decide again"
        )


def plan_move(kind: MoveKind, version: str, history: History, reason: str, verdict: str = "") -> Move:
    """Plan a move away from the champion of `history`, by the user of this process, now.

    Raises:
        RegistryError: The reason is too long to be recorded.
    """
    if len(reason) > LONGEST_REASON:
        raise RegistryError(f"reason: {len(reason):,} characters; expected at most {LONGEST_REASON:,}")
    return Move(
        kind=kind,
        version=version,
        previous=history.champion,
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        by=_name_user(),
        reason=reason.strip(),
        verdict=verdict,
        token=secrets.token_hex(8),
    )


def _name_user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
