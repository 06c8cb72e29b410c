"""The gate on registered versions: finds them, compares, writes the verdict where people and machines look."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.comparison import Contender, Findings, compare
from ur4rec.registry.gate.judge import skip
from ur4rec.registry.gate.rules import GateRules
from ur4rec.registry.gate.verdict import NOBODY, TAG_VERDICT, Verdict, decide, render_markdown, write_verdict
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.register import load_registration
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.versions import find_version_by_alias, get_version, list_files, pinned_address
from ur4rec.storage.artifacts import MANIFEST, write_text_atomic, write_texts_atomic
from ur4rec.storage.temporaries import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FOLDER, VERDICT, SUMMARY = "gate", "verdict.json", "summary.md"
"""A verdict lies under these names among the artifacts of its run."""


def gate_registered(
    sequences: Path,
    registration: Path,
    config: RegistryConfig,
    rules: GateRules,
    output: Path,
    summary: Path,
    tracking_uri: str | None = None,
) -> Verdict:
    """Do what `gate_version` does for the version in a file of `register_model`; write the verdict and its Markdown."""
    registered = load_registration(registration)
    config = config.model_copy(update={"registered_model_name": registered.name})
    verdict = gate_version(sequences, registered.version, config, rules, tracking_uri)
    write_texts_atomic({Path(output): verdict.to_json(), Path(summary): render_markdown(verdict)})
    return verdict


def gate_version(
    sequences: Path,
    version: str | None,
    config: RegistryConfig,
    rules: GateRules,
    tracking_uri: str | None = None,
    device: str = "cpu",
) -> Verdict:
    """Score a version, the champion and the anchor on the same targets and decide whether it may be champion.

    The verdict is stored beside the version: as tags, and as files of its run. A version that is the champion already
    passes without a comparison, and what was stored before stays. Where no version is named, by number or alias, the
    one with the challenger's alias is judged.

    Raises:
        ArtifactError: The sequences are missing or altered.
        RegistryError: MLflow cannot be reached or refuses, or there is no such version.
    """
    data = load_sequences(sequences)
    with open_mlflow(tracking_uri, read_only=True) as client:
        challenger = _find_challenger(client, config, version)
        name = config.registered_model_name
        champion = find_version_by_alias(client, name, config.champion_alias)
        anchor = find_version_by_alias(client, name, config.anchor_alias)
        if champion is not None and champion.version == challenger.version:
            findings = Findings([skip("champion", f"version {champion.version} is the champion already")])
            return _make_verdict(data, challenger, champion, anchor, rules, findings)
        with scratch_folder("gate") as scratch:
            fetched = {
                str(each.version): _fetch_contender(client, each, scratch)
                for each in (challenger, champion, anchor)
                if each is not None
            }
            own = fetched[str(challenger.version)]
            if own.bundle is None:
                raise RegistryError(f"version {own.version}: {own.problem}; register the model again")
            rivals = [fetched[str(each.version)] if each else None for each in (champion, anchor)]
            findings = compare(data, own, rivals[0], rivals[1], rules, device)
        verdict = _make_verdict(data, challenger, champion, anchor, rules, findings)
        _record_verdict(client, challenger, verdict)
    return verdict


def _fetch_contender(client: MlflowClient, version: ModelVersion, scratch: Path) -> Contender:
    """Download a version's bundle; where it is gone, the contender says so.

    Only what the store answers counts as gone: a store that does not answer is an error, so that an outage never
    lets a challenger pass.

    Raises:
        MlflowException: The store or the server does not answer.
    """
    import mlflow.artifacts

    number = str(version.version)
    if f"{BUNDLE_PATH}/{MANIFEST}" not in list_files(client, version, BUNDLE_PATH):
        return Contender(number, problem="its artifacts are gone")
    target = scratch / number
    target.mkdir(exist_ok=True)
    address = f"{pinned_address(version)}/{BUNDLE_PATH}"
    return Contender(number, Path(mlflow.artifacts.download_artifacts(address, dst_path=str(target))))


def _record_verdict(client: MlflowClient, version: ModelVersion, verdict: Verdict) -> None:
    """Store a verdict as files of the version's run and as tags of the version.

    The tag with the decision goes first and comes back last: after a crash there is none rather than an old one.
    """
    if TAG_VERDICT in version.tags:
        client.delete_model_version_tag(version.name, str(version.version), TAG_VERDICT)
    with scratch_folder("verdict") as scratch:
        write_verdict(verdict, scratch / VERDICT)
        write_text_atomic(scratch / SUMMARY, render_markdown(verdict))
        client.log_artifacts(str(version.run_id), str(scratch), FOLDER)
    for key, value in sorted(verdict.tags().items(), key=lambda tag: tag[0] == TAG_VERDICT):
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _find_challenger(client: MlflowClient, config: RegistryConfig, version: str | None) -> ModelVersion:
    if version is not None:
        return get_version(client, config.registered_model_name, version)
    found = find_version_by_alias(client, config.registered_model_name, config.challenger_alias)
    if found is None:
        raise RegistryError(
            f"{config.registered_model_name}: no version has the alias {config.challenger_alias!r}; "
            "register a model first (`ur4rec register`), or name a version"
        )
    return found


def _make_verdict(
    data: Sequences,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    anchor: ModelVersion | None,
    rules: GateRules,
    findings: Findings,
) -> Verdict:
    return Verdict(
        verdict=decide(findings.outcomes),
        model_name=challenger.name,
        challenger=str(challenger.version),
        champion=str(champion.version) if champion else NOBODY,
        anchor=str(anchor.version) if anchor else NOBODY,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        test_digest=data.digest,
        population=findings.population,
        num_users=findings.num_users,
        rules_digest=rules.digest(),
        rules=rules.to_dict(),
        outcomes=findings.outcomes,
        notes=findings.notes,
    )
