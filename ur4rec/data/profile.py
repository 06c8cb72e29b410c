"""Numbers that expose what is out of the ordinary in data; no row is looked at one by one.

Letters: R rows.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ur4rec.data.selection import Part, Rows

SAMPLED_TITLES = 10_000
"""Titles whose letters are counted, evenly spaced; enough for a share."""
LEAST_SHARE = 0.001
SCRIPT_OF_NAME = {"Cjk": "Han"}
"""First word of a character's name → name of its script, where the two differ."""


def profile_rows(rows: Rows, user_ids: pa.StringArray) -> dict[str, Any]:
    """Return how long the histories are, and how many interactions their user had had before, by part.

    Args:
        rows: Sorted by user, then time.
        user_ids: Names the user with the most rows.
    """
    used = rows.take(rows.parts != Part.UNUSED)
    lengths = np.bincount(used.users)
    longest = int(lengths.argmax())
    had_before = pd.Series(used.users * (int(used.items.max()) + 1) + used.items).duplicated().to_numpy()
    return {
        "histories": {
            "median": float(np.median(lengths[lengths > 0])),
            "largest": int(lengths[longest]),
            "largest_user": user_ids[longest].as_py(),
        },
        "repeats": {
            part.name.lower(): int((had_before & (used.parts == part)).sum())
            for part in (Part.TRAIN, Part.VAL, Part.TEST)
        },
    }


def count_tied_targets(rows: Rows) -> int:
    """Count the test targets that share their time with a row of their user: the order of the file made them targets.

    >>> last = Rows(*map(np.array, ([0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3], [5, 6, 6, 5, 6, 7], [0, 1, 2, 0, 1, 2])))
    >>> count_tied_targets(last)
    1
    """
    is_tied = (np.diff(rows.users) == 0) & (np.diff(rows.timestamps) == 0)
    in_tie = np.append(is_tied, False) | np.append(False, is_tied)
    return int((in_tie & (rows.parts == Part.TEST)).sum())


def measure_scripts(titles: Sequence[str]) -> dict[str, float]:
    """Return script → its share of the letters, the largest first; what is in one script may be in many languages.

    >>> measure_scripts(["Brat", "Брат 2", "千と千尋"])
    {'Latin': 0.3333, 'Cyrillic': 0.3333, 'Han': 0.25, 'Hiragana': 0.0833}
    """
    letters: Counter[str] = Counter()
    for character, count in Counter("".join(titles[:: 1 + len(titles) // SAMPLED_TITLES])).items():
        letters[_name_script(character)] += count
    del letters[""]
    shares = {script: round(count / letters.total(), 4) for script, count in letters.most_common()}
    return {script: share for script, share in shares.items() if share >= LEAST_SHARE}


def _name_script(character: str) -> str:
    """Return the script of a letter, by its Unicode name; empty for what is no letter."""
    letter = unicodedata.normalize("NFKC", character)[:1]
    if unicodedata.category(letter) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    script = unicodedata.name(letter, "").partition(" ")[0].capitalize()
    return SCRIPT_OF_NAME.get(script, script)
