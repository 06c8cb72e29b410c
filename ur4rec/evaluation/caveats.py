"""What a reader must know of a data set before believing a number measured on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import ARE_POSITIONS, Sequences
from ur4rec.evaluation.candidates import Candidates
from ur4rec.storage.artifacts import Manifest
from ur4rec.text.embeddings import PRODUCER
from ur4rec.text.readability import describe_doubts

FEW_USERS = 100
FEW_ITEMS = 20


def describe_caveats(data: Sequences) -> list[str]:
    """Sentences for the notes of a result; none for a data set without surprises."""
    caveats = []
    if len(data.test) < FEW_USERS:
        caveats.append(
            f"Only {len(data.test):,} users have a test target: the intervals are wide and not to be trusted."
        )
    if data.num_items <= FEW_ITEMS:
        caveats.append(f"The catalogue has only {data.num_items:,} items: high values are easy to reach.")
    repeats = repeated_targets_share(data)
    if repeats:
        caveats.append(
            f"{repeats:.1%} of the test targets had been seen by their user before. They are ranked all the same, "
            "but a model is not asked for other items seen before."
        )
    return caveats


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
    return notes


def describe_times(sequences: Manifest) -> list[str]:
    """A sentence for the notes of a result on imported data without times."""
    if not sequences.details.get("timestamps", {}).get(ARE_POSITIONS):
        return []
    return [
        "The data came without times: positions in each user's list stand in for them, so the share of later "
        "interactions means nothing."
    ]


def describe_texts(manifests: Sequence[Manifest]) -> list[str]:
    """Return sentences about the texts that the encoder could not read, for the notes of a result."""
    details = [manifest.details for manifest in manifests if manifest.producer == PRODUCER]
    return [f"{doubt}: the text says less than it could." for found in details for doubt in describe_doubts(found)]


def repeated_targets_share(data: Sequences) -> float:
    """Share of test targets whose user had interacted with the item before."""
    if not len(data.test):
        return 0.0
    seen = data.histories("test")
    width = data.num_items + 1
    pairs = seen.users * width + seen.items
    return float(np.isin(data.test[:, USER] * width + data.test[:, ITEM], pairs).mean())
