"""The end of a retrain: a model that passed the gate becomes the champion, or waits for somebody to say so."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ur4rec.markdown import escape_markdown
from ur4rec.registry.champion.history import fetch_history
from ur4rec.registry.champion.move import PromotionRefused
from ur4rec.registry.champion.promotion import promote
from ur4rec.registry.config import RegistryConfig, name_command
from ur4rec.registry.gate.verdict import NOBODY, Verdict, load_verdict
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.notifications import notify
from ur4rec.registry.register import Registration, load_registration
from ur4rec.storage.artifacts import write_texts_atomic

REASON = "passed the gate, promote_automatically is on"


class Ending(StrEnum):
    """What may become of a retrained model."""

    PROMOTED = "promoted"
    CHAMPION = "champion already"
    WAITS = "waits"
    """It passed; nobody may promote it but a human."""
    FAILED = "failed the gate"
    REFUSED = "not promoted"
    """It passed and was to be promoted, and something spoke against it."""


class RetrainOutcome(BaseModel):
    """What the pipeline did with the model it registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ending: Ending
    name: str
    version: str
    champion: str
    """The champion in the end; `none` where there is none."""
    notice: str
    """One line for people."""

    def numbers(self) -> dict[str, float]:
        """Return what a dashboard shows."""
        return {"version": float(self.version), "promoted": float(self.ending is Ending.PROMOTED)}


def conclude_retrain(
    registration: Path,
    verdict: Path,
    config: RegistryConfig,
    output: Path,
    summary: Path,
    tracking_uri: str | None = None,
) -> RetrainOutcome:
    """Promote a registered model where the gate and the configuration say so; otherwise it stays the challenger.

    The JSON files of the registration and of the verdict on it are read; the outcome is written as JSON, its notice as
    Markdown. Who listens to the webhook is told.

    Raises:
        ArtifactError: The registration cannot be read.
        VerdictError: The verdict cannot be read.
        RegistryError: The verdict is on another version, or MLflow cannot be reached.
    """
    registered, judged = load_registration(registration), load_verdict(verdict)
    if (judged.model_name, judged.challenger) != (registered.name, registered.version):
        raise RegistryError(
            f"{verdict}: is on {judged.model_name} version {judged.challenger}, "
            f"expected {registered.name} version {registered.version}; run the gate again"
        )
    config = config.model_copy(update={"registered_model_name": registered.name})
    ending, notice = _conclude(registered, judged, config, tracking_uri)
    outcome = RetrainOutcome(
        ending=ending,
        name=registered.name,
        version=registered.version,
        champion=_find_champion(config, tracking_uri) or NOBODY,
        notice=notice,
    )
    print(f"notice {notice}", flush=True)
    name, text = escape_markdown(outcome.name), escape_markdown(notice)
    card = f"# {name} version {outcome.version}: {outcome.ending}\n\n{text}\n"
    write_texts_atomic({Path(output): outcome.model_dump_json(indent=2) + "\n", Path(summary): card})
    if ending is not Ending.CHAMPION:
        notify(ending, notice)
    return outcome


def _conclude(
    registered: Registration, judged: Verdict, config: RegistryConfig, tracking_uri: str | None
) -> tuple[Ending, str]:
    version = f"{registered.name} version {registered.version}"
    if not judged.passed:
        rules = ", ".join(rule.rule for rule in judged.failures)
        return Ending.FAILED, f"{version} failed the gate ({rules}): it stays {registered.alias}"
    if not config.promote_automatically:
        return Ending.WAITS, (
            f"{version} passed the gate and waits as {registered.alias}; "
            f"{name_command(f'promote {registered.version}', registered.name)} makes it the champion"
        )
    champion = _find_champion(config, tracking_uri)
    if champion.isdecimal() and int(champion) > int(registered.version):
        return Ending.REFUSED, f"{version} passed the gate, but the champion is version {champion}, which is newer"
    try:
        promotion = promote(config, registered.version, reason=REASON, tracking_uri=tracking_uri)
    except PromotionRefused as refused:
        return Ending.REFUSED, f"{version} passed the gate, but was not promoted: {refused}"
    if not promotion.moved:
        return Ending.CHAMPION, f"{version} is the champion already"
    return Ending.PROMOTED, f"{version} passed the gate and is now the champion, after {promotion.previous or NOBODY}"


def _find_champion(config: RegistryConfig, tracking_uri: str | None) -> str:
    with open_mlflow(tracking_uri, read_only=True) as client:
        return fetch_history(client, config.registered_model_name, config.champion_alias).champion
