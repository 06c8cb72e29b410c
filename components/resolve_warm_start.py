"""Alias → the version that it is now, which keys the training that starts from it."""

from typing import Any, NamedTuple

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def resolve_warm_start(
    config: dict[str, Any],
    tracking_uri: str,
) -> NamedTuple("ResolvedStart", [("warm_start", str), ("tracking_uri", str)]):  # type: ignore[valid-type]
    """Thin wrapper around `ur4rec.registry.warm_start.resolve_warm_start`."""
    from ur4rec.registry.config import RegistryConfig
    from ur4rec.registry.warm_start import resolve_warm_start

    return resolve_warm_start(RegistryConfig.parse(config, "registry_config"), tracking_uri or None)
