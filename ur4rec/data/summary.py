"""What data hold, what was left out, and what is out of the ordinary: in words, for the terminal and for logs.

Everything is read from the manifest. One that an earlier release wrote tells less, and nothing is said of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ur4rec.data.input_files import INTERACTIONS
from ur4rec.data.sequences import ARE_POSITIONS, NEW_ITEMS
from ur4rec.storage.artifacts import Manifest
from ur4rec.storage.inputs import list_some

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JANUARY_ENDS = datetime(1970, 2, 1, tzinfo=UTC)
"""Seconds divided once more by 1,000 come before it, as do days, and positions in a list of any length."""
OLDEST_LIKELY = datetime(1990, 1, 1, tzinfo=UTC)
"""Minutes and dates written as 20240131 come before it; nobody logged interactions then."""
NOT_DATES = "positions and other counts serve as they are"
LARGE_SHARE = 0.2
"""One user has no more of all interactions, where there are many users."""
MANY_REPEATS = 0.05
MANY_TIES = 0.2
IS_NEWEST_FIRST = 0.75
"""Share of users; in a shuffled file, half of those with two times have the newer one first."""
FITS = 0.5
TOO_SMALL = "dates were divided by too much, or are no seconds: expected seconds since 1970-01-01"

ITEM_NOTES = {
    "without_row": "items without a row in the item table: titled by their id",
    "without_title": "items without a title: titled by their id",
    "never_interacted": "items of the item table without an interaction: left out",
}


def exclusion_table(manifest: Manifest) -> list[tuple[str, int]]:
    """List all that `preprocess_sequences` left out or had to replace, with its count; empty for clean data."""
    details = manifest.details
    items = details["items"]
    lines = {f"interactions left out: {_say(name)}": count for name, count in details["excluded_rows"].items()}
    lines |= {f"users left out: {_say(name)}": count for name, count in details["excluded_users"].items()}
    lines |= {f"item rows left out: {_say(name)}": count for name, count in items["excluded_rows"].items()}
    lines["timestamps cut to whole seconds"] = details["timestamps"]["cut_to_whole_seconds"]
    if items["rows_read"]:
        lines |= {words: items.get(name, 0) for name, words in ITEM_NOTES.items()}
    return [(words, count) for words, count in lines.items() if count]


def _say(reason: str) -> str:
    return reason.replace("_", " ")


def describe_data(manifest: Manifest) -> str:
    """Tell all of it in lines for a log, but for the warnings."""
    counts = [*summary_table(manifest), *exclusion_table(manifest)]
    return "\n".join(
        [*describe_reading(manifest), describe_times(manifest), *(f"{what}: {count}" for what, count in counts)]
    )


def summary_table(manifest: Manifest) -> list[tuple[str, str]]:
    """List what a glance at the data should tell, each with its value."""
    return [(what, value) for what, value in _summarise(manifest.details) if value]


def _summarise(details: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rows, items = details["rows"], details["items"]
    if histories := details.get("histories"):
        share = _percent(histories["largest"], details["num_interactions"])
        yield "median history", f"{histories['median']:,.0f} interactions"
        yield (
            "largest history",
            f"{histories['largest']:,} interactions, {share} of all: user {histories['largest_user']}",
        )
    if repeats := details.get("repeats"):
        val, test = (_percent(repeats[part], rows[part]) for part in ("val", "test"))
        yield "repeats", f"{_percent(sum(repeats.values()), details['num_interactions'])} of all interactions"
        yield "repeats among targets", f"{val} of validation, {test} of test"
    if "tied_targets" in details["timestamps"]:
        yield "test targets with a tied time", f"{details['timestamps']['tied_targets']:,} of {rows['test']:,}"
    if items["rows_read"]:
        interacted = _count_interacted(details)
        yield "items in the item table", f"{interacted - items['without_row']:,} of {interacted:,}"
    if new := items.get(NEW_ITEMS):
        yield "new items", f"{new:,}, without an interaction: they can be recommended by their text alone"
    if cleaned := items.get("cleaned_texts"):
        yield "texts cleaned of markup", f"{cleaned:,}"
    scripts = details.get("title_scripts", {})
    yield "letters of titles", ", ".join(f"{script} {share:.1%}" for script, share in scripts.items())


def _count_interacted(details: dict[str, Any]) -> int:
    num_items: int = details["num_items"] - details["items"].get(NEW_ITEMS, 0)
    return num_items


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def describe_reading(manifest: Manifest) -> list[str]:
    """Tell how each file was read, which of its columns were not, and which events there are."""
    readings, chosen = manifest.details.get("reading", {}), manifest.config.get("events")
    names = manifest.details["source_files"]
    return [_describe_file(names[role], told, bool(chosen)) for role, told in readings.items() if told]


def _describe_file(name: str, reading: dict[str, Any], chooses_events: bool) -> str:
    columns, unused = reading["columns"], reading["unused"]
    parts = [f"{name}: read as {reading['read_as']}: {len(columns)} columns used"]
    if renamed := [f"{column} as {role}" for role, column in columns.items() if column != role]:
        parts[0] += f" ({', '.join(renamed)})"
    if unused:
        parts.append(f"unused: {list_some(unused)}")
    if unit := reading.get("time_unit"):
        parts.append(f"times: {unit}")
    if events := reading.get("events"):
        counts = list_some(f"{event} {count:,}" for event, count in events.items())
        parts.append(f"events: {counts}{'' if chooses_events else ', all taken; the setting events chooses'}")
    return "; ".join(parts)


def describe_times(manifest: Manifest) -> str:
    """Tell the range of the times, or what stands in for them."""
    times = manifest.details["timestamps"]
    if times.get(ARE_POSITIONS):
        return "timestamps: positions in each user's list, because the files hold no times"
    first, last = _read_range(manifest)
    return f"times: {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def list_warnings(manifest: Manifest) -> list[str]:
    """List what is out of the ordinary, each with what to do; empty where nothing is."""
    details = manifest.details
    others = (tell(details) for tell in (_doubt_user, _doubt_repeats, _doubt_ties, _doubt_ids, _doubt_items))
    return [doubt for doubt in (doubt_times(manifest), *others) if doubt]


def doubt_times(manifest: Manifest) -> str:
    """Tell why the times may not be what they should be, with their range; empty where nothing speaks against them."""
    first, last = _read_range(manifest)
    if manifest.details["timestamps"].get(ARE_POSITIONS) or first >= OLDEST_LIKELY:
        return ""
    if last < OLDEST_LIKELY:
        when = "in January 1970" if last < JANUARY_ENDS else "before 1990"
        return f"warning: all times lie {when} ({describe_times(manifest)}); {NOT_DATES}; {TOO_SMALL}"
    if first < JANUARY_ENDS:
        return (
            f"warning: some times lie in January 1970, others do not ({describe_times(manifest)}); a missing time "
            "written as 0 comes before all others"
        )
    return ""


def _doubt_user(details: dict[str, Any]) -> str:
    """Doubt a user with a large share of everything, which a few users have anyway."""
    histories, num_rows = details.get("histories", {"largest": 0}), details["num_interactions"]
    if histories["largest"] <= num_rows * max(LARGE_SHARE, 2 / details["num_users"]):
        return ""
    return (
        f"warning: user {histories['largest_user']!r} has {_percent(histories['largest'], num_rows)} of all "
        "interactions; an id that stands for many, such as all who are not logged in, is no user: leave its rows "
        "out, or give each visitor an id"
    )


def _doubt_repeats(details: dict[str, Any]) -> str:
    targets = ("val", "test")
    num_repeats = sum(details.get("repeats", {}).get(part, 0) for part in targets)
    num_targets = sum(details["rows"][part] for part in targets)
    if num_repeats <= num_targets * MANY_REPEATS:
        return ""
    return (
        f"warning: {_percent(num_repeats, num_targets)} of the targets are items that their user had before; "
        "without seen_items: include, a model is not asked for them and does not recommend them again"
    )


def _doubt_ties(details: dict[str, Any]) -> str:
    times, num_targets = details["timestamps"], details["rows"]["test"]
    num_tied = times.get("tied_targets", 0)
    if num_tied <= num_targets * MANY_TIES:
        return ""
    told = (
        f"warning: {num_tied:,} of {num_targets:,} test targets share their time with another interaction of their "
        "user, so the order of the file decides which is the target"
    )
    if times["newest_first"] > IS_NEWEST_FIRST:
        return f"{told}; the file runs from new to old, so it is the oldest of them: turn the order of its rows round"
    return f"{told}; give finer times, or the rows in the order in which they happened"


def _doubt_ids(details: dict[str, Any]) -> str:
    """Doubt ids that are nearly those of others, in the interactions."""
    similar = details.get("reading", {}).get(INTERACTIONS, {}).get("similar_ids", {})
    if not any(similar.values()):
        return ""
    told = " and ".join(f"{count:,} of {column}" for column, count in similar.items() if count)
    return (
        f"warning: ids that differ from another one in nothing but blanks, case, leading zeros or `.0`: {told}; they "
        "are kept apart: where they mean the same, write them alike"
    )


def _doubt_items(details: dict[str, Any]) -> str:
    num_items, without = _count_interacted(details), details["items"]["without_row"]
    num_fitting = num_items - without
    if not details["items"]["rows_read"] or num_fitting >= num_items * FITS:
        return ""
    return (
        f"warning: {num_fitting:,} of {num_items:,} items have a row in the item table, the others are titled by "
        "their id; are the ids of both files written alike?"
    )


def _read_range(manifest: Manifest) -> tuple[datetime, datetime]:
    times = manifest.details["timestamps"]
    return EPOCH + timedelta(seconds=times["first_s"]), EPOCH + timedelta(seconds=times["last_s"])
