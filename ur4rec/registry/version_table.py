"""Shows versions of the registered model to people: a list, one in full, two side by side, the champions so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ur4rec.registry.champion.history import History, fetch_history
from ur4rec.registry.champion.lock import describe_claim, find_claims, has_moved
from ur4rec.registry.champion.move import TAG_AT
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.verdict import TAG_VERDICT
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.versions import (
    TAG_DATASET,
    TAG_DATASET_DIGEST,
    TAG_HEADLINE,
    get_version,
    has_files,
    pinned_address,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class VersionRow:
    """One version in a list."""

    version: str
    aliases: str
    registered_at: str
    dataset: str
    headline: float | None
    """NDCG@10 on its own test targets."""
    verdict: str
    promoted_at: str
    """The last time it became champion; empty: never."""


@dataclass(frozen=True)
class VersionComparison:
    """Two versions side by side."""

    versions: tuple[str, str]
    tags: list[tuple[str, str, str]]
    """Name and both values of each tag that differs."""
    metrics: list[tuple[str, float | None, float | None, str, str]]
    """Name, both values and both intervals."""
    settings: list[tuple[str, str, str]]
    """Name and both values of each setting that differs."""
    same_data: bool
    """Whether both were measured on the same data set, so that their metrics can be compared."""


def list_versions(config: RegistryConfig, tracking_uri: str | None = None) -> list[VersionRow]:
    """List every version that is not deleted, the newest first.

    Raises:
        RegistryError: MLflow cannot be reached, or there is no such registered model.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name = config.registered_model_name
        aliases = client.get_registered_model(name).aliases
        query = f"name = '{name}'"
        versions: list[ModelVersion] = []
        token: str | None = None
        while token != "":
            found = client.search_model_versions(query, order_by=["version_number DESC"], page_token=token)
            versions += found
            token = found.token or ""
    return [_describe_row(version, aliases) for version in versions]


def show_version(config: RegistryConfig, wanted: str, tracking_uri: str | None = None) -> list[tuple[str, str]]:
    """Tell what is known of one version, by its number or alias: name and value.

    Raises:
        RegistryError: MLflow cannot be reached, or there is no such version.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name = config.registered_model_name
        version = get_version(client, name, wanted)
        aliases = client.get_registered_model(name).aliases
        place = client.get_model_version_download_uri(name, version.version)
        files = f"{'in' if has_files(client, version) else 'gone or unreadable: it cannot be served, look in'} {place}"
    return [
        ("model", pinned_address(version)),
        ("aliases", _name_aliases(version, aliases)),
        ("registered at", _format_time(version)),
        ("status", str(version.status)),
        ("files", files),
        ("run", str(version.run_id or "")),
        *sorted(version.tags.items()),
    ]


def show_history(config: RegistryConfig, tracking_uri: str | None = None) -> tuple[History, list[str]]:
    """Read every move of the champion alias, and describe those that are not settled; nothing is changed.

    Raises:
        RegistryError: MLflow cannot be reached, or there is no such registered model.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name = config.registered_model_name
        claims = find_claims(client, name)
        history = fetch_history(client, name, config.champion_alias)
    moved = {claim.number: claim.move for claim in claims if has_moved(claim, history)}
    unsettled = [describe_claim(claim, history) for claim in claims]
    return History({**moved, **history.moves}, history.champion), unsettled


def compare_versions(
    config: RegistryConfig, first: str, second: str, tracking_uri: str | None = None
) -> VersionComparison:
    """Compare metrics, tags and settings of two versions (numbers or aliases), as their own runs recorded them.

    Raises:
        RegistryError: MLflow cannot be reached, or a version or its run is not there.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name = config.registered_model_name
        pair = [get_version(client, name, wanted) for wanted in (first, second)]
        aliases = client.get_registered_model(name).aliases
        runs = [client.get_run(each.run_id).data if each.run_id else None for each in pair]
    return VersionComparison(
        versions=(str(pair[0].version), str(pair[1].version)),
        tags=_find_differences(*(each.tags | {"aliases": _name_aliases(each, aliases)} for each in pair)),
        metrics=_pair_metrics(*(run.metrics if run else {} for run in runs)),
        settings=_find_differences(*(run.params if run else {} for run in runs)),
        same_data=pair[0].tags.get(TAG_DATASET_DIGEST) == pair[1].tags.get(TAG_DATASET_DIGEST),
    )


def _find_differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    rows = [(name, first.get(name, ""), second.get(name, "")) for name in sorted(first.keys() | second.keys())]
    return [(name, ours, theirs) for name, ours, theirs in rows if ours != theirs]


def _pair_metrics(
    first: Mapping[str, float], second: Mapping[str, float]
) -> list[tuple[str, float | None, float | None, str, str]]:
    names = [
        name
        for name in sorted(first.keys() | second.keys())
        if name.startswith("test/") and not name.endswith(("_ci95_low", "_ci95_high"))
    ]
    return [
        (name, first.get(name), second.get(name), _interval(first, name), _interval(second, name)) for name in names
    ]


def _interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}_ci95_low"), metrics.get(f"{name}_ci95_high")
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _describe_row(version: ModelVersion, aliases: Mapping[str, object]) -> VersionRow:
    tags = version.tags
    headline = tags.get(TAG_HEADLINE)
    digest = tags.get(TAG_DATASET_DIGEST, "")[:8]
    return VersionRow(
        version=str(version.version),
        aliases=_name_aliases(version, aliases),
        registered_at=_format_time(version),
        dataset=f"{tags.get(TAG_DATASET, '')} {digest}".strip(),
        headline=None if headline is None else float(headline),
        verdict=tags.get(TAG_VERDICT, ""),
        promoted_at=tags.get(TAG_AT, ""),
    )


def _name_aliases(version: ModelVersion, aliases: Mapping[str, object]) -> str:
    return ", ".join(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version)))


def _format_time(version: ModelVersion) -> str:
    return datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
