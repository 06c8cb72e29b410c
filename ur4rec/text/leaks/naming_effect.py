"""The naming effect: texts that leak name held-out items more often than others of the same popularity.

Letters: U users with a text, X texts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from pydantic import BaseModel, FiniteFloat

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences
from ur4rec.text.leaks.title_mentions import TitleIndex
from ur4rec.text.requests import build_item_requests

THRESHOLD = 0.05
"""Honest texts may show at most this difference in naming rates.

An honest text may guess what comes next. Texts that named the first place of recency-weighted EASE fitted on the
training prefixes, the strongest closed-form recommender at hand, differed by 0.036 on MovieLens-100K, the first two
places by 0.060, [0.049, 0.071]; both pass. Texts that were shown the held-out items differed by 0.166.
"""
MIN_USERS = 20
"""With fewer users an interval says nothing, and the check does not judge."""
CONTROLS = 20
"""This many items stand beside each held-out item: the nearest in popularity that the user never touched."""
FOLLOWING = 2
"""This many interactions after `as_of` count as held out, besides the validation and test items."""
RESAMPLES = 2000
RESAMPLES_AT_ONCE = 200
SEED = 0


class NamingEffect(BaseModel, frozen=True, extra="forbid"):
    """Naming rates and their difference, each a mean over users.

    Rates are shares of items: a rate of 0.1 means that a text names one in ten of them. A rate is none where no text
    has such an item.
    """

    num_users: int
    num_texts: int
    num_held_out: int
    """The number of pairs of a text and an item that was held out from it."""
    held_out_rate: FiniteFloat
    validation_rate: FiniteFloat | None
    test_rate: FiniteFloat | None
    control_rate: FiniteFloat
    seen_rate: FiniteFloat | None
    """The rate of the last interactions before `as_of`, for comparison: honest texts name these far more often."""
    difference: FiniteFloat
    """`held_out_rate − control_rate`: the effect that is judged."""
    difference_ci95: tuple[FiniteFloat, FiniteFloat]
    ratio: FiniteFloat | None
    """`held_out_rate / control_rate`, or none if no text names a control."""
    ratio_ci95: tuple[FiniteFloat, FiniteFloat] | None

    @property
    def is_conclusive(self) -> bool:
        """Return whether there are enough users to judge."""
        return self.num_users >= MIN_USERS

    @property
    def is_leak(self) -> bool:
        """Return whether the whole interval of the difference lies above the threshold."""
        return self.is_conclusive and self.difference_ci95[0] > THRESHOLD


def measure_naming(sequences: Sequences, points: Int64[np.ndarray, "X 2"], texts: Sequence[str]) -> NamingEffect | None:
    """Compare how often texts name held-out items and controls.

    The user's validation and test items and the two interactions after `as_of` are held out from a text, unless the
    user chose the same item before. A control has about the same popularity, counted in all training prefixes, and
    the user never touched it. Items whose title cannot be recognised are left out. The texts of a user are averaged
    first, and then the users. The interval is the percentile bootstrap over users.

    Args:
        sequences: The data that the texts are about.
        points: User index and `as_of` of each text.
        texts: The text at each point.

    Returns:
        The effect, or none if no text has a held-out item that could be named.
    """
    measured = pd.DataFrame(_measure_texts(sequences, points, texts) if texts else [])
    if measured.empty:
        return None
    users = measured.drop(columns="num_held_out").groupby("user").mean()
    rates = {str(name): None if math.isnan(rate) else float(rate) for name, rate in users.mean().items()}
    held_out, control = users["held_out_rate"].to_numpy(), users["control_rate"].to_numpy()
    difference = float((held_out - control).mean())
    return NamingEffect(
        num_users=len(users),
        num_texts=len(measured),
        num_held_out=int(measured["num_held_out"].sum()),
        difference=difference,
        difference_ci95=_resample(held_out - control, np.ones_like(control)) or (difference, difference),
        ratio=float(held_out.mean() / control.mean()) if control.any() else None,
        ratio_ci95=_resample(held_out, control),
        **rates,
    )


def _measure_texts(
    sequences: Sequences, points: Int64[np.ndarray, "X 2"], texts: Sequence[str]
) -> Iterator[dict[str, float]]:
    """Yield the rates of every text that has something held out; they are NaN where there is nothing to name."""
    titles = TitleIndex(build_item_requests(sequences.items))
    full, controls = sequences.histories("full"), _Controls(sequences, titles.nameable)
    targets = [dict(rows[:, [USER, ITEM]].tolist()) for rows in (sequences.val, sequences.test)]
    for (user, as_of), text in zip(points.tolist(), texts, strict=True):
        history = full.items[full.offsets[user] : full.offsets[user + 1]].tolist()
        validation, test = (_select(history[:as_of], [of[user]] if user in of else [], titles) for of in targets)
        following = _select(history[:as_of], history[as_of : as_of + FOLLOWING], titles)
        beside = {item: controls.find(item, set(history)) for item in sorted(validation | test | following)}
        held_out = [item for item, others in beside.items() if others]
        if held_out:
            named = titles.find(text)
            yield {
                "user": user,
                "num_held_out": len(held_out),
                "held_out_rate": _share(held_out, named),
                "validation_rate": _share(validation, named),
                "test_rate": _share(test, named),
                "control_rate": sum(_share(beside[item], named) for item in held_out) / len(held_out),
                "seen_rate": _share(_select([], history[max(0, as_of - FOLLOWING) : as_of], titles), named),
            }


def _select(visible: Iterable[int], items: Iterable[int], titles: TitleIndex) -> set[int]:
    """Return the items that can be named and are not visible."""
    return {item for item in items if item in titles.nameable}.difference(visible)


def _share(items: Collection[int], named: frozenset[int]) -> float:
    return len(named.intersection(items)) / len(items) if items else math.nan


class _Controls:
    """The items of a catalogue by popularity, among which the controls of an item are found.

    Args:
        sequences: The data set.
        nameable: Only these items may be controls.
    """

    def __init__(self, sequences: Sequences, nameable: frozenset[int]) -> None:
        self._items: list[int] = (np.argsort(-sequences.training_counts()[1:], kind="stable") + 1).tolist()
        self._place = {item: place for place, item in enumerate(self._items)}
        self._nameable = nameable
        self._find_nearest = lru_cache(maxsize=1 << 16)(self._list_nearest)

    def find(self, item: int, touched: set[int]) -> list[int]:
        """Return the controls of an item: the nearest in popularity that are not touched."""
        found = [other for other in self._find_nearest(item) if other not in touched][:CONTROLS]
        if len(found) < CONTROLS:
            found = list(islice((other for other in self._walk(item) if other not in touched), CONTROLS))
        return found

    def _list_nearest(self, item: int) -> list[int]:
        """List as many items as are enough for most users."""
        return list(islice(self._walk(item), 2 * CONTROLS))

    def _walk(self, item: int) -> Iterator[int]:
        """Yield every other nameable item, the nearest first; of two that are as near, the more popular comes first."""
        start = self._place[item]
        for distance in range(1, len(self._items)):
            for place in (start - distance, start + distance):
                if 0 <= place < len(self._items) and self._items[place] in self._nameable:
                    yield self._items[place]


def _resample(numerator: Float64[np.ndarray, "U"], denominator: Float64[np.ndarray, "U"]) -> tuple[float, float] | None:
    """Return the 95 % interval of a ratio of means over users, or none where a resample divides by zero."""
    num_users, ratios = len(numerator), np.empty(RESAMPLES)
    if num_users < 2:
        return None
    random = np.random.default_rng(SEED)
    for start in range(0, RESAMPLES, RESAMPLES_AT_ONCE):
        drawn = random.integers(num_users, size=(RESAMPLES_AT_ONCE, num_users))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[start : start + len(drawn)] = numerator[drawn].mean(axis=1) / denominator[drawn].mean(axis=1)
    if not np.isfinite(ratios).all():
        return None
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)
