"""How much more often texts name what is held out than what is as popular and never touched.

Letters: U users with a text, X texts, S resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import BaseModel, ConfigDict, FiniteFloat

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.text.leaks.title_mentions import TitleIndex

THRESHOLD = 0.05
"""Largest difference in naming rates that honest texts may show.

An honest text may guess what comes next. Texts that named the first place of recency-weighted EASE fitted on the
training prefixes, the strongest closed-form recommender at hand, differed by 0.036 on MovieLens-100K, the first two
places by 0.060, [0.049, 0.071]; both pass. Texts that were shown the held-out items differed by 0.166.
"""
MIN_USERS = 20
"""With fewer users an interval says nothing, and the check does not judge."""
CONTROLS = 20
"""Items that stand beside each held-out item: the nearest in popularity that the user never touched."""
FOLLOWING = 2
"""Interactions right after `as_of` that count as held out beside the validation and test items."""
RESAMPLES = 2000
RESAMPLES_AT_ONCE = 200
SEED = 0


class NamingEffect(BaseModel):
    """Naming rates and their difference, each a mean over users.

    Rates are shares of items: a rate of 0.1 means that a text names one in ten of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_users: int
    num_texts: int
    num_held_out: int
    """Pairs of a text and an item that was held out from it."""
    held_out_rate: FiniteFloat
    validation_rate: FiniteFloat | None
    """Of the validation items alone; none if no text has one."""
    test_rate: FiniteFloat | None
    control_rate: FiniteFloat
    seen_rate: FiniteFloat | None
    """Of the last interactions before `as_of`, for comparison: honest texts name these far more often."""
    difference: FiniteFloat
    """`held_out_rate − control_rate`: the effect that is judged."""
    difference_ci95: tuple[FiniteFloat, FiniteFloat]
    ratio: FiniteFloat | None
    """`held_out_rate / control_rate`; none if no text names a control."""
    ratio_ci95: tuple[FiniteFloat, FiniteFloat] | None

    @property
    def is_conclusive(self) -> bool:
        """Whether there are enough users to judge."""
        return self.num_users >= MIN_USERS

    @property
    def is_leak(self) -> bool:
        """Whether the whole interval of the difference lies above the threshold."""
        return self.is_conclusive and self.difference_ci95[0] > THRESHOLD


@dataclass(frozen=True)
class _Rates:
    """Naming rates of one text, or of one user's texts on average; none where there is nothing to name."""

    held_out: float
    control: float
    validation: float | None
    test: float | None
    seen: float | None
    num_held_out: int


def measure_naming(
    sequences: Sequences, titles: TitleIndex, points: Int64[np.ndarray, "X 2"], texts: Sequence[str]
) -> NamingEffect | None:
    """Compares how often texts name held-out items and controls.

    Held out from a text are the user's validation and test items and the two interactions after `as_of`, as far as
    the user did not choose the same item before. A control is as popular (interactions of all users' training
    prefixes) and untouched by the user at any time. Items whose title cannot be recognised are left out. A user's
    texts are averaged, then users; the interval is the percentile bootstrap over users.

    Args:
        sequences: The data the texts are about.
        titles: The titles of its catalogue.
        points: User index and `as_of` of each text, sorted by user.
        texts: Beside `points`.

    Returns:
        The effect, or none if no text has a held-out item that could be named.
    """
    measured = list(_measure_users(_Data(sequences, titles), points, texts))
    if not measured:
        return None
    held_out = np.array([user.held_out for user, _ in measured])
    control = np.array([user.control for user, _ in measured])
    difference = float((held_out - control).mean())
    return NamingEffect(
        num_users=len(measured),
        num_texts=sum(num_texts for _, num_texts in measured),
        num_held_out=sum(user.num_held_out for user, _ in measured),
        held_out_rate=float(held_out.mean()),
        validation_rate=_average(user.validation for user, _ in measured),
        test_rate=_average(user.test for user, _ in measured),
        control_rate=float(control.mean()),
        seen_rate=_average(user.seen for user, _ in measured),
        difference=difference,
        difference_ci95=_resample(held_out - control, np.ones_like(control)) or (difference, difference),
        ratio=float(held_out.mean() / control.mean()) if control.any() else None,
        ratio_ci95=_resample(held_out, control),
    )


class _Data:
    """Everything that is looked up while texts are read."""

    def __init__(self, sequences: Sequences, titles: TitleIndex) -> None:
        self.titles = titles
        self.prefix_lengths = sequences.histories("validation").lengths
        self._full = sequences.histories("full")
        self._validation = _targets(sequences.val)
        self._test = _targets(sequences.test)
        counts = sequences.training_counts()[1:]
        self._by_popularity = (np.argsort(-counts, kind="stable") + 1).tolist()
        self._place = {item: place for place, item in enumerate(self._by_popularity)}
        self._nearest = lru_cache(maxsize=1 << 16)(self._find_nearest)

    def history(self, user: int) -> list[int]:
        """All items of a user, held out or not."""
        return _items_of(self._full, user)

    def targets(self, user: int) -> tuple[set[int], set[int]]:
        """Validation and test items of a user."""
        return self._validation.get(user, set()), self._test.get(user, set())

    def controls(self, item: int, touched: set[int]) -> list[int]:
        """The nearest in popularity that can be named and are not touched."""
        found = [other for other in self._nearest(item) if other not in touched][:CONTROLS]
        return found if len(found) == CONTROLS else list(islice(self._walk_untouched(item, touched), CONTROLS))

    def _find_nearest(self, item: int) -> tuple[int, ...]:
        """Enough for most users."""
        return tuple(islice(self._walk_untouched(item, set()), 2 * CONTROLS))

    def _walk_untouched(self, item: int, touched: set[int]) -> Iterator[int]:
        for other in _walk_outward(self._by_popularity, self._place[item]):
            if other not in touched and other in self.titles.nameable:
                yield other


def _measure_users(data: _Data, points: Int64[np.ndarray, "X 2"], texts: Sequence[str]) -> Iterator[tuple[_Rates, int]]:
    """Rates of every user whose texts have something held out, and the number of these texts."""
    rows = zip(points.tolist(), texts, strict=True)
    for user, group in groupby(rows, key=lambda row: int(row[0][0])):
        history = data.history(user)
        rates = [_measure_text(data, user, history, as_of, text) for (_, as_of), text in group]
        usable = [rate for rate in rates if rate]
        if usable:
            yield _average_texts(usable), len(usable)


def _measure_text(data: _Data, user: int, history: list[int], as_of: int, text: str) -> _Rates | None:
    nameable = data.titles.nameable
    visible = set(history[:as_of])
    validation, test = ((target - visible) & nameable for target in data.targets(user))
    following = (set(history[as_of : as_of + FOLLOWING]) - visible) & nameable
    held_out = sorted(validation | test | following)
    touched = set(history)
    controls = {item: data.controls(item, touched) for item in held_out}
    pairs = [item for item in held_out if controls[item]]
    if not pairs:
        return None
    named = data.titles.find(text)
    return _Rates(
        held_out=_share(pairs, named) or 0.0,
        control=sum(_share(controls[item], named) or 0.0 for item in pairs) / len(pairs),
        validation=_share(validation, named),
        test=_share(test, named),
        seen=_share(set(history[max(0, as_of - FOLLOWING) : as_of]) & nameable, named),
        num_held_out=len(pairs),
    )


def _average_texts(rates: Sequence[_Rates]) -> _Rates:
    return _Rates(
        held_out=sum(rate.held_out for rate in rates) / len(rates),
        control=sum(rate.control for rate in rates) / len(rates),
        validation=_average(rate.validation for rate in rates),
        test=_average(rate.test for rate in rates),
        seen=_average(rate.seen for rate in rates),
        num_held_out=sum(rate.num_held_out for rate in rates),
    )


def _share(items: Sequence[int] | set[int], named: frozenset[int]) -> float | None:
    return len(named.intersection(items)) / len(items) if items else None


def _average(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _targets(rows: Int64[np.ndarray, "R 3"]) -> dict[int, set[int]]:
    targets: dict[int, set[int]] = {}
    for user, item in rows[:, [USER, ITEM]].tolist():
        targets.setdefault(user, set()).add(item)
    return targets


def _items_of(histories: Histories, user: int) -> list[int]:
    items: list[int] = histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist()
    return items


def _walk_outward(items: Sequence[int], start: int) -> Iterator[int]:
    """Every other item, nearest place first; of two as near the more popular one."""
    for distance in range(1, len(items)):
        for place in (start - distance, start + distance):
            if 0 <= place < len(items):
                yield items[place]


def _resample(numerator: Float64[np.ndarray, "U"], denominator: Float64[np.ndarray, "U"]) -> tuple[float, float] | None:
    """95 % interval of a ratio of means over users, or none where a resample may divide by zero."""
    num_users = len(numerator)
    if num_users < 2:
        return None
    random = np.random.default_rng(SEED)
    ratios = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, RESAMPLES_AT_ONCE):
        drawn = random.integers(num_users, size=(min(RESAMPLES_AT_ONCE, RESAMPLES - start), num_users))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[start : start + len(drawn)] = numerator[drawn].mean(axis=1) / denominator[drawn].mean(axis=1)
    if not np.isfinite(ratios).all():
        return None
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)
