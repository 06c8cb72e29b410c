"""`ur4rec registry`: promote, rollback, anchor, history, list, show, compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import (
    ConfigOption,
    OptionError,
    SetOption,
    TrackingOption,
    read_config,
    show,
    show_table,
)
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from ur4rec.registry.champion.history import HistoryEntry
    from ur4rec.registry.champion.promotion import Promotion
    from ur4rec.registry.config import RegistryConfig

REFUSED = 1
MINUTES = len("2026-01-31 10:00")
"""What a list shows of a time."""
VersionArgument = Annotated[str, typer.Argument(help="Number or alias.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the history.", show_default=False)]


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
    from ur4rec.registry.champion.promotion import Permission, promote

    names = _read_names(config, settings)
    with _asking():
        promotion = promote(
            names,
            version or names.challenger_alias,
            Permission(force, reason),
            dry_run=dry_run,
            tracking_uri=tracking_uri,
        )
    _show_promotion(promotion, dry_run)


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

    names = _read_names(config, settings)
    with _asking():
        promotion = roll_back(names, steps=steps, reason=reason, dry_run=dry_run, tracking_uri=tracking_uri)
    _show_promotion(promotion, dry_run)


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

    names = _read_names(config, settings)
    with _asking():
        now, before = set_anchor(names, version or names.champion_alias, tracking_uri)
    show(f"{names.registered_model_name}: version {now} is now the anchor, after {before or 'none'}")


def history(tracking_uri: TrackingOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Who made which version champion, when and why; moves by hand are shown as such.

    For example:

        ur4rec registry history
    """
    from ur4rec.registry.version_table import show_history

    names = _read_names(config, settings)
    with _asking():
        found = show_history(names, tracking_uri)
    columns = ("what", "version", "before", "at", "by", "gate", "reason")
    show_table(f"champions of {found.name}", columns, [_describe_entry(entry) for entry in found.entries])
    show(f"champion: {found.champion}")
    show(f"way back: {' → '.join(found.champions) or 'none'}")
    for line in found.unsettled:
        show(f"under way, or else: {line}; the next promote or rollback settles it")


def list_versions(tracking_uri: TrackingOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Every version with its aliases, its test result and the verdict of the gate.

    For example:

        ur4rec registry list
    """
    from ur4rec.registry.version_table import list_versions

    names = _read_names(config, settings)
    columns = ("version", "aliases", "registered (UTC)", "data", "ndcg@10", "gate", "promoted (UTC)")
    with _asking():
        versions = list_versions(names, tracking_uri)
    rows = [
        (
            each.version,
            each.aliases.replace(", ", "\n"),
            _stack(each.registered_at[:MINUTES]),
            _stack(each.dataset),
            each.headline,
            each.verdict,
            _stack(each.promoted_at[:MINUTES]),
        )
        for each in versions
    ]
    show_table(f"versions of {names.registered_model_name}", columns, rows)


def show_version(
    version: VersionArgument,
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Everything that is recorded of one version, and whether its files are there.

    For example:

        ur4rec registry show 3

        ur4rec registry show champion
    """
    from ur4rec.registry.version_table import show_version

    names = _read_names(config, settings)
    with _asking():
        rows = show_version(names, version, tracking_uri)
    show_table(f"{names.registered_model_name}, {version}", ("what", "value"), rows)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Number or alias.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Two versions side by side: test metrics with their intervals, tags, settings that differ.

    Each was measured on the targets of its own data. To judge, ask the gate: it scores both on the same targets.

    For example:

        ur4rec registry compare champion challenger
    """
    from ur4rec.registry.version_table import compare_versions

    names = _read_names(config, settings)
    with _asking():
        found = compare_versions(names, first, second, tracking_uri)
    columns = tuple(f"version {number}" for number in found.versions)
    intervals = tuple(f"95 % of {number}" for number in found.versions)
    show_table("test metrics", ("metric", *columns, *intervals), found.metrics)
    show_table("tags that differ", ("tag", *columns), found.facts)
    show_table("settings that differ", ("setting", *columns), found.settings)
    if not found.same_data:
        show("measured on different data, so the metrics cannot be compared: ask `ur4rec registry gate`")


@contextmanager
def _asking() -> Iterator[None]:
    """Shows on a terminal that MLflow is at work; ends with code 1, not 2, where all works and the answer is no."""
    from ur4rec.registry.champion.move import PromotionRefused

    try:
        with PlainConsole(stderr=True).status("asking MLflow"):
            yield
    except PromotionRefused as refused:
        PlainConsole(stderr=True).tell(("Refused:", "red"), f" {refused}")
        raise typer.Exit(REFUSED) from None


def _read_names(config: ConfigOption, settings: SetOption) -> RegistryConfig:
    from ur4rec.registry.config import RegistryConfig

    return read_config(config, settings).narrow(RegistryConfig)


def _show_promotion(promotion: Promotion, dry_run: bool) -> None:
    from ur4rec.registry.gate.verdict import NOBODY

    for note in promotion.notes:
        show(f"left behind{'' if dry_run else ', now settled'}: {note}")
    if not promotion.moved:
        show(f"{promotion.name}: version {promotion.version} is the champion already")
        return
    verb = "would become" if dry_run else "is now"
    show(f"{promotion.name}: version {promotion.version} {verb} the champion, after {promotion.previous or NOBODY}")


def _stack(text: str) -> str:
    """The last word below the others, so that a narrow terminal breaks neither."""
    head, _, last = text.rpartition(" ")
    return f"{head}\n{last}" if head else last


def _describe_entry(entry: HistoryEntry) -> tuple[str, ...]:
    from ur4rec.registry.gate.verdict import NOBODY

    move = entry.move
    recorded = (move.at, move.by, move.verdict, move.reason) if move else ("not known", "not known", "", "")
    return (str(entry.what), entry.version or NOBODY, entry.previous or NOBODY, *recorded)
