"""`ur4rec register` and `ur4rec registry`: gate, promote, rollback, anchor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OptionError,
    SequencesArgument,
    SetOption,
    TrackingOption,
    read_config,
    show,
    show_table,
    split_settings,
)
from ur4rec.commands.registry_views import REFUSED, asking, compare, history, list_versions, show_version
from ur4rec.registry.mlflow_client import REGISTERED

if TYPE_CHECKING:
    from ur4rec.registry.champion.promotion import Promotion
    from ur4rec.registry.gate.verdict import Verdict

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the history.", show_default=False)]

registry_app = typer.Typer(
    help="Judge, promote and look at versions of the registered model.", no_args_is_help=True, rich_markup_mode="rich"
)


def register(
    sequences: SequencesArgument,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.", parser=locations.folder)],
    memories: Annotated[Path, typer.Argument(help="Memories folder.", parser=locations.folder)],
    outputs: Annotated[
        Path, typer.Option(help="Folder with results.json and report.html; gets registration.json.", file_okay=False)
    ] = Path("outputs/ur4rec_moe"),
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Log an evaluated model to MLflow and register it as the challenger.

    For example:

        ur4rec register outputs/sequences outputs/ur4rec_moe/stages/end_to_end/{checkpoint,memories}
    """
    from ur4rec.registry.config import RegistryConfig
    from ur4rec.registry.register import register_model

    for name in ("results.json", "report.html"):
        if not (outputs / name).is_file():
            raise OptionError(
                f"--outputs {outputs}: holds no {name}; name the folder of this model's results.json and report.html, "
                "the --output_dir of a training script, or evaluate the model (`ur4rec evaluate`)"
            )
    registration = register_model(
        sequences,
        checkpoint,
        memories,
        outputs / "results.json",
        outputs / "report.html",
        read_config(config, settings).narrow(RegistryConfig),
        outputs / "registration.json",
        tracking_uri=tracking_uri,
    )
    show_table("registered", ("what", "value"), registration.model_dump().items())
    show(f"try it: ur4rec recommend --user USER_ID --model {REGISTERED}{registration.name}@{registration.alias}")


@registry_app.command()
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

    names = [each for each in settings or [] if each.partition("=")[0].strip() in RegistryConfig.model_fields]
    judged_by = [each for each in settings or [] if each not in names]
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
    _show_verdict(verdict)
    if not verdict.passed:
        raise typer.Exit(REFUSED)


@registry_app.command()
def promote(
    version: Annotated[
        str | None, typer.Argument(help="Number or alias; else the challenger.", show_default=False)
    ] = None,
    dry_run: DryRunOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Without a passed gate, or after a rollback; needs --reason.")
    ] = False,
    reason: ReasonOption = "",
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Make a version the champion, provided the gate passed it against today's champion.

    Ends with 0 when the version is champion, with 1 when the champion stays, and with 2 after an error.

    For example:

        ur4rec registry promote

        ur4rec registry promote 7 --dry-run

        ur4rec registry promote 7 --force --reason "the catalogue changed, agreed with Ann"
    """
    if force and not reason.strip():
        raise OptionError('--force needs a reason for the history, such as --reason "agreed with Ann"')
    from ur4rec.registry.champion.promotion import promote

    with asking(config, settings) as names:
        promotion = promote(
            names,
            version or names.challenger_alias,
            force=force,
            reason=reason,
            dry_run=dry_run,
            tracking_uri=tracking_uri,
        )
    _show_promotion(promotion, dry_run)


@registry_app.command()
def rollback(
    steps: Annotated[int, typer.Option(min=1, help="Champions to go back.")] = 1,
    dry_run: DryRunOption = False,
    reason: ReasonOption = "",
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Make the champion before this one the champion again.

    Ends with 0 when that is done, with 1 when the champion stays, and with 2 after an error.

    For example:

        ur4rec registry rollback

        ur4rec registry rollback --steps 2 --reason "complaints since Tuesday"
    """
    from ur4rec.registry.champion.promotion import roll_back

    with asking(config, settings) as names:
        promotion = roll_back(names, steps=steps, reason=reason, dry_run=dry_run, tracking_uri=tracking_uri)
    _show_promotion(promotion, dry_run)


@registry_app.command()
def anchor(
    version: Annotated[
        str | None, typer.Argument(help="Number or alias; else the champion.", show_default=False)
    ] = None,
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Make a version the anchor: the gate lets no later champion fall behind it, however small each loss.

    For example:

        ur4rec registry anchor

        ur4rec registry anchor 3
    """
    from ur4rec.registry.champion.promotion import set_anchor

    with asking(config, settings) as names:
        now, before = set_anchor(names, version or names.champion_alias, tracking_uri)
    show(f"{names.registered_model_name}: version {now} is now the anchor, after {before or 'none'}")


registry_app.command()(history)
registry_app.command(name="list")(list_versions)
registry_app.command(name="show")(show_version)
registry_app.command()(compare)


def _show_verdict(verdict: Verdict) -> None:
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


def _show_promotion(promotion: Promotion, dry_run: bool) -> None:
    from ur4rec.registry.gate.verdict import NOBODY

    for note in promotion.notes:
        show(f"left behind{'' if dry_run else ', now settled'}: {note}")
    if not promotion.moved:
        show(f"{promotion.name}: version {promotion.version} is the champion already")
        return
    verb = "would become" if dry_run else "is now"
    show(f"{promotion.name}: version {promotion.version} {verb} the champion, after {promotion.previous or NOBODY}")
