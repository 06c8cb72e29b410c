"""What was left out and when it all happened, in words, for the terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ur4rec.data.sequences import ARE_POSITIONS
from ur4rec.storage.artifacts import Manifest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JANUARY_ENDS = datetime(1970, 2, 1, tzinfo=UTC)
"""Seconds divided once more by 1,000 come before it, as do days, and positions in a list of any length."""
OLDEST_LIKELY = datetime(1990, 1, 1, tzinfo=UTC)
"""Minutes and dates written as 20240131 come before it; nobody logged interactions then."""
NOT_DATES = "positions and other counts serve as they are"
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
        lines |= {words: items[name] for name, words in ITEM_NOTES.items()}
    return [(words, count) for words, count in lines.items() if count]


def _say(reason: str) -> str:
    return reason.replace("_", " ")


def describe_times(manifest: Manifest) -> str:
    """Tell the range of the times, or what stands in for them."""
    times = manifest.details["timestamps"]
    if times.get(ARE_POSITIONS):
        return "timestamps: positions in each user's list, because the files hold no times"
    first, last = _read_range(manifest)
    return f"times: {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


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


def _read_range(manifest: Manifest) -> tuple[datetime, datetime]:
    times = manifest.details["timestamps"]
    return EPOCH + timedelta(seconds=times["first_s"]), EPOCH + timedelta(seconds=times["last_s"])
