"""Registered challenger → a verdict: may it take the champion's place?"""

from typing import Any, NamedTuple

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def gate_model(
    code_digest: str,
    config: dict[str, Any],
    rules: dict[str, Any],
    tracking_uri: str,
    sequences: dsl.Input[dsl.Dataset],
    registration: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Outputs", [("verdict", str)]):  # type: ignore[valid-type]  # kfp's way to name an output
    """Thin wrapper around `ur4rec.registry.gate.gate.gate_registered`."""
    from pathlib import Path

    from ur4rec.registry.config import RegistryConfig
    from ur4rec.registry.gate.gate import gate_registered
    from ur4rec.registry.gate.rules import load_rules
    from ur4rec.storage.task_metrics import log_metrics

    verdict = gate_registered(
        Path(sequences.path),
        Path(registration.path),
        RegistryConfig.parse(config, "registry_config"),
        load_rules(overrides=rules, source="gate_rules"),
        Path(decision.path),
        Path(summary.path),
        tracking_uri=tracking_uri or None,
    )
    log_metrics(metrics, verdict.numbers())
    return (verdict.verdict,)
