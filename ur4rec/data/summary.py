"""What was left out, in words, for the terminal."""

from __future__ import annotations

from ur4rec.storage.artifacts import Manifest

ITEM_NOTES = {
    "without_row": "items without a row in the item table: titled by their id",
    "without_title": "items without a title: titled by their id",
    "never_interacted": "items of the item table without an interaction: left out",
}


def exclusion_table(manifest: Manifest) -> list[tuple[str, int]]:
    """Everything that preprocessing left out or had to replace, with its count; empty for clean data.

    Args:
        manifest: What `preprocess_sequences` returned.
    """
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
