"""`ur4rec registry gate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    SequencesArgument,
    TrackingOption,
    read_config,
    show,
    show_table,
    split_settings,
)

if TYPE_CHECKING:
    from ur4rec.registry.gate.verdict import Verdict

REFUSED = 1


def gate(
    sequences: SequencesArgument,
    version: Annotated[
        str | None,
        typer.Option("--version", "-v", help="Number or alias of what is judged; else the challenger."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="YAML file of the rules that differ from the shipped ones.", dir_okay=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", help="Override one rule, or one setting of --config; may be repeated.", metavar="KEY=VALUE"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File that gets the verdict as JSON.", dir_okay=False)
    ] = None,
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """May the challenger take the champion's place? Scores both on the same targets and judges by rules.

    Ends with 0 where it may, with 1 where it may not, and with 2 after an error. The verdict is stored beside the
    version.

    For example:

        ur4rec registry gate outputs/sequences

        ur4rec registry gate outputs/sequences --version 3 --output verdict.json

        ur4rec registry gate outputs/sequences --rules gate.yaml --set min_users=100
    """
    from ur4rec.registry.config import RegistryConfig
    from ur4rec.registry.gate.gate import gate_version
    from ur4rec.registry.gate.rules import load_rules
    from ur4rec.registry.gate.verdict import write_verdict

    names, judged_by = _split(settings or [])
    verdict = gate_version(
        sequences,
        version,
        read_config(config, names).narrow(RegistryConfig),
        load_rules(rules, split_settings(judged_by), "rules"),
        tracking_uri,
        device,
    )
    if output is not None:
        write_verdict(verdict, output)
    _show(verdict)
    if not verdict.passed:
        raise typer.Exit(REFUSED)


def _split(settings: list[str]) -> tuple[list[str], list[str]]:
    """Overrides of the registry's names, and all others, which are rules."""
    from ur4rec.registry.config import RegistryConfig

    names = [each for each in settings if each.partition("=")[0].strip() in RegistryConfig.model_fields]
    return names, [each for each in settings if each not in names]


def _show(verdict: Verdict) -> None:
    from ur4rec.registry.gate.verdict import format_number

    rows = []
    for each in verdict.outcomes:
        outcome, _, why = each.outcome.partition(": ")
        rows.append((each.rule, outcome, format_number(each.value), format_number(each.threshold), each.detail or why))
    title = f"{verdict.model_name} version {verdict.challenger} against champion {verdict.champion}"
    show_table(title, ("rule", "outcome", "value", "threshold", "what"), rows)
    for note in verdict.notes:
        show(note)
    reasons = ", ".join(each.rule for each in verdict.failures)
    show(f"{verdict.verdict}: {reasons}" if reasons else verdict.verdict)
