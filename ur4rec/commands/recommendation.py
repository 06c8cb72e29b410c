"""`ur4rec recommend`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    DEFAULT_MODEL,
    ModelOption,
    OptionError,
    TrackingOption,
    TrainedSequencesOption,
    show,
    show_table,
)
from ur4rec.progress import show_progress

if TYPE_CHECKING:
    import pandas as pd

AGAIN = "--include-seen recommends it again"
PARQUET = ("", ".parquet", ".pq")


def recommend(
    user: Annotated[list[str] | None, typer.Option("--user", "-u", help="User id; may be repeated.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            help="Item ids in order of time, instead of --user: given once, separated by commas; given several times, "
            "one id each, commas and all."
        ),
    ] = None,
    history_file: Annotated[
        Path | None, typer.Option(help="The same from a text file, one id a line.", parser=locations.file)
    ] = None,
    similar_to: Annotated[
        list[str] | None, typer.Option(help="Item id to find similar items for; may be repeated.")
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user of the model, into --output.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Parquet file to write, for --all-users.", dir_okay=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Items a request.", min=1)] = 10,
    allow: Annotated[list[str] | None, typer.Option(help="Only these item ids, given as --history is.")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="None of these item ids, likewise.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    sequences: TrainedSequencesOption = None,
    include_seen: Annotated[
        bool | None,
        typer.Option(
            "--include-seen/--exclude-seen", help="Also items already seen, or never; default: as the model was made."
        ),
    ] = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """Top-K items for known users, for a history given here, for anybody, for all users at once, or like an item.

    For example:

        ur4rec recommend --user 1

        ur4rec recommend --history 50,172,181 -k 5

        ur4rec recommend --history "Heat, 1995" --history "Alien, 1979"

        ur4rec recommend --user 1 --deny 50,172

        ur4rec recommend --similar-to 50

        ur4rec recommend --user 1 --user 2 --model outputs/ur4rec_moe --sequences outputs/sequences

        ur4rec recommend --all-users -o outputs/recommendations.parquet
    """
    if [bool(user), bool(history), history_file is not None, bool(similar_to), all_users].count(True) != 1:
        raise OptionError(
            "expected one of --user (once or more), --history, --history-file, --similar-to (once or more) and "
            "--all-users, for example --user 1"
        )
    if all_users != (output is not None):
        raise OptionError("expected --all-users and --output together, for example --all-users -o all.parquet")
    if output is not None and output.suffix.lower() not in PARQUET:
        raise OptionError(f"--output {output}: Parquet is written; expected a name with .parquet or no ending")
    limits = {name: read_ids(given, f"--{name}") for name, given in (("allow", allow), ("deny", deny)) if given}
    if output is not None:
        if limits:
            raise OptionError(f"--{min(limits)}: is for a few requests; expected --all-users without it")
        _write_all(model, sequences, output, k, include_seen, tracking_uri)
        return
    from ur4rec.recommender.recommender import UNKNOWN_ITEMS
    from ur4rec.registry.fetch import open_recommender

    histories = None if user or similar_to else [read_history(history, history_file)]
    with locations.open_model(model, tracking_uri) as folder:
        recommender = open_recommender(folder, sequences)
        exclude_seen = recommender.bundle.excludes_seen if include_seen is None else not include_seen
        if similar_to:
            table = recommender.find_similar(similar_to, k, **limits)
        else:
            table = recommender.recommend(user, histories, k, exclude_seen, **limits)
    titles = [f"user {name}" for name in user or ()] or [f"like item {name}" for name in similar_to or ()]
    for number, title in enumerate(titles or ["history"]):
        _show_recommendations(title, table[table["request"] == number], k, exclude_seen, bool(limits))
    for unknown in table.attrs.get(UNKNOWN_ITEMS, {}).values():
        show(f"{unknown} item(s) of the history are not in the catalogue and were ignored")


def read_history(given: list[str] | None, file: Path | None) -> list[str]:
    """Item ids from what `--history` was given, or the lines of a file.

    Raises:
        OptionError: There is no id, or the file is no text.

    >>> read_history(["50, 172,181"], None), read_history(["Heat, 1995", "7"], None)
    (['50', '172', '181'], ['Heat, 1995', '7'])
    """
    if file is None:
        return read_ids(given or [], "--history")
    try:
        ids = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise OptionError(f"--history-file {file}: expected text in UTF-8, one item id a line") from None
    return _keep_ids(ids, f"--history-file {file}")


def read_ids(given: list[str], option: str) -> list[str]:
    """Item ids from what an option was given: once, separated by commas, or several times, one id each.

    Raises:
        OptionError: There is no id.
    """
    return _keep_ids([item.strip() for item in given[0].split(",")] if len(given) == 1 else given, option)


def _keep_ids(ids: list[str], origin: str) -> list[str]:
    found = [item for item in ids if item.strip()]
    if not found:
        raise OptionError(f"{origin}: holds no item id; expected some")
    return found


def _write_all(
    model: str, sequences: Path | None, output: Path, k: int, include_seen: bool | None, tracking_uri: str | None
) -> None:
    from ur4rec.recommender.all_users import recommend_all
    from ur4rec.registry.fetch import open_recommender

    started = time.perf_counter()
    with locations.open_model(model, tracking_uri) as folder:
        recommender = open_recommender(folder, sequences)
        exclude_seen = recommender.bundle.excludes_seen if include_seen is None else not include_seen
        num_users = len(recommender.bundle.user_index)
        with show_progress("recommend", num_users, "user") as advance:
            written = recommend_all(recommender, output, k, exclude_seen, advance)
    show(f"{output}: {written.rows:,} rows for {num_users:,} users, {time.perf_counter() - started:.1f} s")
    if written.users_with_none or written.users_with_fewer:
        short = f"{written.users_with_none:,} users got none and {written.users_with_fewer:,} fewer than {k:,}"
        show(f"{short}: {_why_short(exclude_seen)}")


def _show_recommendations(title: str, rows: pd.DataFrame, k: int, exclude_seen: bool, limited: bool) -> None:
    from ur4rec.recommender.requests import FALLBACK

    if limited and len(rows) < k:
        show(f"{title}: {len(rows):,} of {k:,} items: no more is left of what --allow and --deny leave over")
    elif rows.empty:
        show(f"{title}: nothing is left to recommend: everything in the catalogue has been seen ({AGAIN})")
    if rows.empty:
        return
    source = rows["source"].iloc[0]
    columns = ["rank", "item_id", "title", "score"]
    show_table(f"{title} (source: {source})", columns, rows[columns].to_numpy())
    if source == FALLBACK:
        show("nothing known about this request: these items were popular recently")
    if len(rows) < k and not limited:
        show(f"{len(rows):,} of {k:,} items: {_why_short(exclude_seen and source != FALLBACK)}")


def _why_short(exclude_seen: bool) -> str:
    return f"everything else has been seen ({AGAIN})" if exclude_seen else "the catalogue has no more"
