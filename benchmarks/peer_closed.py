"""Fits baselines and closed forms: `python -m benchmarks.peer_closed SPLIT RUN SETTING`.

A form is fitted on the training prefixes. Each of its parameters is tried in turn, the others as they are best so far,
until a whole round finds nothing better on the validation targets; every trial is a point of the curve.

B users in a batch, N items (N1 = N + 1 columns, column 0 is padding), C components of the texts.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from benchmarks.peer_exchange import Recorder, Run, Split
from ur4rec.data.sequences import Histories
from ur4rec.evaluation.baselines import EASE, Again, Popularity, RecencyEASE, TrainingPrefixes, fit_ease
from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import to_logits
from ur4rec.models.text_table import TextTable
from ur4rec.ranking.ranks import Scorer
from ur4rec.training.cooccurrence import count_pairs, fit_table

PACKAGES = ("ur4rec", "torch", "numpy", "scipy")
NEWEST = 100
"""Items of a history that are read where their weight falls with their age."""
Values = Mapping[str, Any]
Grid = dict[str, tuple[Any, ...]]


class Form(ABC):
    """Scores by what is fitted without training.

    Args:
        split: Its training prefixes are what is fitted on.
        texts: Vectors of the items, `[N1, T]`, for the forms that read them.
    """

    grid: ClassVar[Grid] = {}
    """Parameter → what is tried, the first to begin with."""

    def __init__(self, split: Split, texts: Float[np.ndarray, "N1 T"] | None = None) -> None:
        self.training, self.num_items, self.texts = split.seen["validation"], split.num_items, texts

    @abstractmethod
    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return the scorer with these parameters, for users with these histories."""


class PopularityForm(Form):
    """The same for everyone."""

    def scorer(self, histories: Histories, _values: Values) -> Scorer:
        """Return the scorer, which has nothing to choose."""
        return Popularity(TrainingPrefixes(self.training, self.num_items), histories)


class AgainForm(Form):
    """What a user has had; by popularity where that is no candidate."""

    def scorer(self, histories: Histories, _values: Values) -> Scorer:
        """Return the scorer, which has nothing to choose."""
        return Again(TrainingPrefixes(self.training, self.num_items), histories)


class EASEForm(Form):
    """EASE; the query is the whole history, unweighted."""

    grid: ClassVar[Grid] = {"l2": (300.0, 10.0, 30.0, 100.0, 1000.0, 3000.0)}

    def __init__(self, split: Split, texts: Float[np.ndarray, "N1 T"] | None = None) -> None:
        super().__init__(split, texts)
        self.fit = lru_cache(maxsize=2)(self._fit)

    def _fit(self, l2: float) -> TrainingPrefixes:
        prefixes = TrainingPrefixes(self.training, self.num_items)
        prefixes.ease_weights = fit_ease(self.training, self.num_items, l2)
        return prefixes

    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return EASE with an L2."""
        return EASE(self.fit(values["l2"]), histories)


class RecencyEASEForm(EASEForm):
    """EASE; the query is the newest items, weighted by their age."""

    grid: ClassVar[Grid] = EASEForm.grid | {"decay": (0.9, 0.5, 0.7, 0.8, 0.95)}

    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return EASE with an L2 and a decay."""
        scorer = RecencyEASE(self.fit(values["l2"]), histories)
        scorer.decay = values["decay"]
        return scorer


def weigh_histories(histories: Histories, users: np.ndarray, decay: float, num_items: int) -> csr_array:
    """Return the newest items of every user, each weighted by the decay to the power of its age, `[B, N1]`."""
    rows, positions = histories.find_rows(users, NEWEST)
    ages = histories.offsets[users + 1][rows] - 1 - positions
    weights = (decay**ages).astype(np.float32)
    return csr_array((weights, (rows, histories.items[positions])), shape=(len(users), num_items + 1))


class CooccurrenceForm(Form):
    """What others did beside the items of the history: the logits of the model's own closed-form scorer."""

    grid: ClassVar[Grid] = {
        "cooccurrence_age_decay": (0.8, 0.3, 0.5, 0.65, 0.9, 0.95),
        "cooccurrence_smoothing": (20.0, 0.0, 5.0, 50.0, 100.0, 200.0),
        "cooccurrence_window": (10, 1, 2, 3, 5, 20),
        "cooccurrence_gap_decay": (0.9, 0.5, 0.7, 1.0),
    }

    def __init__(self, split: Split, texts: Float[np.ndarray, "N1 T"] | None = None) -> None:
        super().__init__(split, texts)
        self.count = lru_cache(maxsize=2)(self._count)

    def _count(self, window: int, gap_decay: float) -> Any:
        config = CooccurrenceConfig(cooccurrence_window=window, cooccurrence_gap_decay=gap_decay)
        return count_pairs(self.training, self.num_items, config)

    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return what the model's own scorer with these settings computes, by a sparse product."""
        config = CooccurrenceConfig.parse({name: values[name] for name in CooccurrenceForm.grid})
        table = fit_table(self.count(config.cooccurrence_window, config.cooccurrence_gap_decay), config)
        neighbors, strengths = table.neighbors[0].numpy(), table.strengths[0].numpy()
        starts = np.arange(len(neighbors) + 1) * neighbors.shape[1]
        shape = len(neighbors), len(neighbors)
        beside = csr_array((strengths.ravel(), neighbors.ravel(), starts), shape=shape)

        def score(users: np.ndarray) -> Float[Tensor, "B N1"]:
            query = weigh_histories(histories, users, config.cooccurrence_age_decay, self.num_items)
            return to_logits(torch.from_numpy((query @ beside).toarray()))

        return score


class TextForm(Form):
    """Cosine of the whitened text of an item with that of the history, newer items weighing more."""

    grid: ClassVar[Grid] = {"text_decay": (0.8, 0.3, 0.5, 0.65, 0.9, 0.95), "text_components": (128, 32, 64, 256, 384)}

    def __init__(self, split: Split, texts: Float[np.ndarray, "N1 T"] | None = None) -> None:
        super().__init__(split, texts)
        self.whiten = lru_cache(maxsize=2)(self._whiten)

    def _whiten(self, components: int) -> Float[Tensor, "N1 C"]:
        assert self.texts is not None
        table, width = TextTable(components), self.texts.shape[1]
        nothing = torch.zeros(0, width), torch.zeros(1, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64)
        table.fill(torch.from_numpy(np.array(self.texts)), *nothing, num_users=0)
        return functional.normalize(table.item_text.float(), dim=1)

    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return the cosine with a decay and a number of components."""
        vectors, decay = self.whiten(values["text_components"]), values["text_decay"]

        def score(users: np.ndarray) -> Float[Tensor, "B N1"]:
            query = torch.from_numpy(weigh_histories(histories, users, decay, self.num_items) @ vectors.numpy())
            return functional.normalize(query, dim=1) @ vectors.T

        return score


class CooccurrenceTextForm(Form):
    """Logits of co-occurrence plus a weight times the cosine of the texts."""

    grid: ClassVar[Grid] = CooccurrenceForm.grid | {"text_weight": (2.0, 0.0, 1.0, 4.0, 8.0, 16.0)} | TextForm.grid

    def __init__(self, split: Split, texts: Float[np.ndarray, "N1 T"] | None = None) -> None:
        super().__init__(split, texts)
        self.beside, self.text = CooccurrenceForm(split), TextForm(split, texts)

    def scorer(self, histories: Histories, values: Values) -> Scorer:
        """Return the sum with the parameters of both, and the weight."""
        beside, text = (form.scorer(histories, values) for form in (self.beside, self.text))
        return lambda users: beside(users) + values["text_weight"] * text(users)


FORMS: dict[str, type[Form]] = {
    "popularity": PopularityForm,
    "again": AgainForm,
    "ease": EASEForm,
    "recency-ease": RecencyEASEForm,
    "cooccurrence": CooccurrenceForm,
    "text": TextForm,
    "cooccurrence-text": CooccurrenceTextForm,
}
DENSE, READS_TEXT = (EASEForm,), (TextForm, CooccurrenceTextForm)


def search(form: Form, recorder: Recorder) -> dict[str, Any]:
    """Return the parameters with the best validation score, by rounds of one parameter after the other."""
    scores: dict[tuple[Any, ...], float] = {}

    def try_values(values: dict[str, Any]) -> float:
        key = tuple(values.values())
        if key not in scores:
            scores[key], _improved = recorder.validate(form.scorer(form.training, values))
        return scores[key]

    best = {name: choices[0] for name, choices in form.grid.items()}
    before = -1.0
    while try_values(best) > before and not recorder.must_stop:
        before = try_values(best)
        for name, choices in form.grid.items():
            best = max((best | {name: choice} for choice in choices), key=try_values)
    return best


def fit(split: Split, name: str, texts: Path | None, limit_s: float) -> Run:
    """Fit a form with the parameters that are best on validation."""
    recorder = Recorder(split, name, limit_s)
    form = FORMS[name](split, None if texts is None else np.load(texts, mmap_mode="r", allow_pickle=False))
    recorder.start()
    best = search(form, recorder)
    return recorder.finish(lambda histories: form.scorer(histories, best), PACKAGES, best)


def main() -> None:
    """Fit one form and write the run."""
    split_path, run_path, setting = sys.argv[1:]
    values = json.loads(setting)
    texts = Path(values["texts"]) if "texts" in values else None
    fit(Split.load(Path(split_path)), values["form"], texts, float(values.get("limit_s", "inf"))).save(Path(run_path))


if __name__ == "__main__":
    main()
