"""The version that no later champion may fall behind."""

from __future__ import annotations

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.promotion import check_files
from ur4rec.registry.tracking import open_mlflow
from ur4rec.registry.versions import find_version_by_alias, get_version


def set_anchor(config: RegistryConfig, wanted: str, tracking_uri: str | None = None) -> tuple[str, str | None]:
    """Points the anchor's alias at a version.

    Args:
        config: Names of registered model and aliases.
        wanted: Number or alias.
        tracking_uri: MLflow's address; None reads `MLFLOW_TRACKING_URI`.

    Returns:
        The version, and the one that was the anchor before.

    Raises:
        PromotionRefused: The version's files are gone: nothing could be compared with it.
        RegistryError: MLflow cannot be reached, or there is no such version.
    """
    with open_mlflow(tracking_uri, read_only=True) as client:
        name, alias = config.registered_model_name, config.anchor_alias
        version = get_version(client, name, wanted)
        check_files(client, version)
        before = find_version_by_alias(client, name, alias)
        client.set_registered_model_alias(name, alias, str(version.version))
    return str(version.version), None if before is None else str(before.version)
