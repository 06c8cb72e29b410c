"""What a reader must know of a data set before believing a number measured on it.

T targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import ARE_POSITIONS, Histories, Sequences
from ur4rec.data.summary import MANY_TIES
from ur4rec.evaluation.candidates import Candidates
from ur4rec.evaluation.history import TrainingHistory
from ur4rec.storage.artifacts import Manifest
from ur4rec.text.embeddings import PRODUCER
from ur4rec.text.readability import describe_doubts

FEW_USERS = 100
FEW_ITEMS = 20
MANY_REPEATS = 0.05
"""From this share of repeated targets on, hiding what was seen from a ranking hides what users choose."""


def describe_caveats(data: Sequences, excludes_seen: bool = True) -> list[str]:
    """Sentences for the notes of a result; none for a data set without surprises."""
    caveats = []
    if len(data.test) < FEW_USERS:
        caveats.append(
            f"Only {len(data.test):,} users have a test target: the intervals are wide and not to be trusted."
        )
    if data.num_items <= FEW_ITEMS:
        caveats.append(f"The catalogue has only {data.num_items:,} items: high values are easy to reach.")
    if repeats := repeated_targets_share(data):
        caveats.append(_describe_repeats(repeats, excludes_seen))
    return caveats


def _describe_repeats(share: float, excludes_seen: bool) -> str:
    told = f"{share:.1%} of the test targets had been seen by their user before."
    if not excludes_seen:
        return f"{told} Other items seen before compete with them, and are recommended (seen_items: include)."
    told += " They are ranked all the same, but a model is not asked for other items seen before."
    if share < MANY_REPEATS:
        return told
    return (
        f"{told} To know what was seen is enough to rank them first, yet they are never recommended. Train with "
        "seen_items: include if they are to be."
    )


def describe_sample(data: Sequences, candidates: Candidates | None) -> list[str]:
    """Sentences for the notes of a result of the sampled protocol."""
    if candidates is None:
        return []
    num_candidates = candidates.test.shape[1] - 1
    notes = [
        f"Sampled protocol: each target is ranked among itself and {num_candidates:,} items that its user never "
        "touched, not in the whole catalogue. The values are far higher than those of the full ranking, cannot be "
        "compared with them, and may order systems otherwise."
    ]
    num_short = int((candidates.test == 0).any(1).sum())
    if num_short:
        notes.append(
            f"{num_short:,} of {len(data.test):,} test users left fewer than {num_candidates:,} items untouched; "
            "their targets are ranked among those there are."
        )
    if (repeats := repeated_targets_share(data)) >= MANY_REPEATS:
        notes.append(
            f"No item seen before is in the sample but the target itself ({repeats:.1%} of them were), whatever "
            "seen_items says: to know what was seen is enough to rank these first."
        )
    return notes


def describe_stages(history: TrainingHistory) -> list[str]:
    """Return a sentence, for the notes of a result, about each stage whose training bettered nothing."""
    return [
        f"{stage.stage} keeps the weights it began with: none of its {stage.epochs:,} epochs had a higher validation "
        "ndcg@10."
        for stage in history.stages
        if stage.best_epoch == 0
    ]


def describe_times(sequences: Manifest) -> list[str]:
    """Sentences for the notes of a result on imported data without times, or whose times do not tell the target."""
    times, num_targets = sequences.details.get("timestamps", {}), sequences.details.get("rows", {}).get("test", 0)
    if times.get(ARE_POSITIONS):
        return [
            "The data came without times: positions in each user's list stand in for them, so the share of later "
            "interactions means nothing."
        ]
    num_tied = times.get("tied_targets", 0)
    if num_tied <= num_targets * MANY_TIES:
        return []
    return [
        f"{num_tied:,} of {num_targets:,} test targets share their time with another interaction of their user: the "
        "order of the source file made them the targets."
    ]


def describe_texts(manifests: Sequence[Manifest]) -> list[str]:
    """Return sentences about the texts that the encoder could not read, for the notes of a result."""
    details = [manifest.details for manifest in manifests if manifest.producer == PRODUCER]
    return [f"{doubt}: the text says less than it could." for found in details for doubt in describe_doubts(found)]


def repeated_targets_share(data: Sequences) -> float:
    """Share of test targets whose user had interacted with the item before."""
    if not len(data.test):
        return 0.0
    return float(find_repeats(data.test, data.histories("test"), data.num_items).mean())


def find_repeats(targets: Int64[np.ndarray, "T 3"], before: Histories, num_items: int) -> Bool[np.ndarray, "T"]:
    """Return whether each target is an item that its user had before."""
    width = num_items + 1
    return np.isin(targets[:, USER] * width + targets[:, ITEM], before.users * width + before.items)
