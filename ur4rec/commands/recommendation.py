"""`ur4rec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands.console import (
    DEFAULT_MODEL,
    REGISTERED,
    ModelOption,
    OptionError,
    TrackingOption,
    TrainedSequencesOption,
    show,
    show_table,
)

if TYPE_CHECKING:
    import pandas as pd


def recommend(
    user: Annotated[list[str] | None, typer.Option("--user", "-u", help="User id; may be repeated.")] = None,
    history: Annotated[
        str | None, typer.Option(help="Item ids in order of time, comma-separated; instead of --user.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Items a request.", min=1)] = 10,
    model: ModelOption = DEFAULT_MODEL,
    sequences: TrainedSequencesOption = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also items already seen.")] = False,
    tracking_uri: TrackingOption = None,
) -> None:
    """Top-K items for known users, for a history given here, or for anybody.

    For example:

        ur4rec recommend --user 1

        ur4rec recommend --history 50,172,181 -k 5

        ur4rec recommend --user 1 --user 2 --model outputs/ur4rec_moe --sequences outputs/sequences
    """
    if bool(user) == bool(history):
        raise OptionError("expected either --user (once or more) or --history, for example --user 1")
    histories = [[item.strip() for item in history.split(",") if item.strip()]] if history else None
    if model.startswith(REGISTERED):
        table = _ask_registry(model, user, histories, k, not include_seen, tracking_uri)
    else:
        from ur4rec.registry.loading import open_recommender

        table = open_recommender(Path(model), sequences).recommend(user, histories, k, not include_seen)
    _show_recommendations(table, from_history=bool(history))


def _ask_registry(
    model: str,
    users: list[str] | None,
    histories: list[list[str]] | None,
    k: int,
    exclude_seen: bool,
    tracking_uri: str | None,
) -> pd.DataFrame:
    import pandas as pd

    from ur4rec.registry.loading import ask_registered

    request = pd.DataFrame({"user_id": users} if users else {"history": histories})
    return ask_registered(model, request, {"k": k, "exclude_seen": exclude_seen}, tracking_uri)


def _show_recommendations(table: pd.DataFrame, from_history: bool) -> None:
    from ur4rec.registry.recommender import FALLBACK, UNKNOWN_ITEMS

    for _, rows in table.groupby("request"):
        first = rows.iloc[0]
        title = "history" if from_history else f"user {first['user_id']}"
        columns = ["rank", "item_id", "title", "score"]
        show_table(f"{title} (source: {first['source']})", columns, rows[columns].to_numpy())
        if first["source"] == FALLBACK:
            show("nothing known about this request: these items were popular recently")
    for unknown in table.attrs.get(UNKNOWN_ITEMS, {}).values():
        show(f"{unknown} item(s) of the history are not in the catalogue and were ignored")
