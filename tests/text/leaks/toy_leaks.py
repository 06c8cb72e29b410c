"""Films with titles that can be recognised, and texts that name them."""

from pathlib import Path

from ur4rec.data.sequences import load_sequences

NUM_USERS, NUM_ITEMS, LENGTH = 30, 60, 8


def name(item: object) -> str:
    return f"Planet Story {item}"


def histories_of(sequences: Path) -> dict[str, list[str]]:
    """User id → all titles in the order of time."""
    data = load_sequences(sequences)
    full = data.histories("full")
    names = {index: name(item_id) for index, item_id in enumerate(data.item_ids)}
    return {
        data.user_ids[user]: [names[item] for item in full.items[full.offsets[user] : full.offsets[user + 1]].tolist()]
        for user in range(1, data.num_users + 1)
    }


def say(titles: list[str]) -> str:
    return f"The user likes {' and '.join(titles)}."
