"""A registered model on today's data: its users and items are found by their original ids.

Letters: B users in a batch, N items of the data, M items of the model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ur4rec.data.sequences import Histories, Sequences
from ur4rec.data.training_extent import find_indices
from ur4rec.evaluation.ranking import Scorer
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.registry.bundle import Bundle, load_bundle
from ur4rec.registry.recommender import Recommender
from ur4rec.registry.served_model import load_scorer
from ur4rec.training.scoring import ModelScorer

LOAD_ERRORS = (ValueError, RuntimeError, OSError, KeyError)
"""What a model raises whose files are gone, altered, or of a schema that this release does not read."""


class UnscorableError(ValueError):
    """A model that cannot be scored on the data it is given; says why."""


class LoadedModel:
    """A bundle with its model in memory.

    Args:
        path: The bundle folder.
        device: Where to compute.

    Raises:
        UnscorableError: It cannot be loaded.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            self.bundle = load_bundle(path)
            self._scorer = load_scorer(path, self.bundle.histories, device)
            self.bundle.manifest.details["training_cutoff_s"]  # as old bundles have none
        except LOAD_ERRORS as error:
            raise UnscorableError(" ".join(f"{type(error).__name__}: {error}".split())) from None

    @property
    def recommender(self) -> Recommender:
        """As it serves."""
        return Recommender(self.bundle, self._scorer)

    @property
    def size_mb(self) -> float:
        """Of the bundle's files, in MiB."""
        return sum(path.stat().st_size for path in self.bundle.path.iterdir()) / 2**20

    def scorer(self, data: Sequences, histories: Histories) -> CatalogueScorer:
        """Scores the users and items of `data` from `histories`; the model's memories become those of `histories`.

        Raises:
            UnscorableError: It knows no item of the data.
        """
        return CatalogueScorer(self.bundle, self._scorer.model, data, histories)


class CatalogueScorer:
    """A model's scores for the users and items of other data.

    Users are scored from the histories given here, those the model does not know like an inline history. Items that it
    does not know get minus infinity: it cannot recommend them. A user none of whose items it knows gets the model's
    popularity fallback, as when it serves.

    Args:
        bundle: Tables of the model.
        model: The model itself.
        data: Whose indices come in and whose catalogue goes out.
        histories: What each user of `data` did before the target.

    Raises:
        UnscorableError: The catalogues have no item in common.
    """

    def __init__(self, bundle: Bundle, model: UR4RecV2MoE, data: Sequences, histories: Histories) -> None:
        self._bundle = bundle
        self._item_of = find_indices(data.item_ids, bundle.item_index)
        self._user_of = find_indices(data.user_ids, bundle.user_index)
        if not self._item_of.any():
            raise UnscorableError(f"it knows none of the {data.num_items:,} items of the data: the catalogue is new")
        self._mapped = histories.rename_items(self._item_of)  # the others are unknown, as when it serves
        self._scorer = ModelScorer(model, _map_users(self._mapped, self._user_of, len(bundle.user_index)))

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores of the data's catalogue for users of the data; column 0 is padding."""
        scores = torch.empty(len(users), len(self._bundle.item_ids), device=self._scorer.device)
        known = self._user_of[users] > 0
        empty = self._mapped.lengths[users] == 0
        if known.any():
            scores[torch.from_numpy(known)] = self._scorer(self._user_of[users[known]])
        if not known.all():
            histories = [self._history(user) for user in users[~known]]
            scores[torch.from_numpy(~known)] = self._scorer.score_histories(*zip(*histories, strict=True))
        scores[torch.from_numpy(empty)] = torch.from_numpy(self._bundle.popularity).to(scores)
        columns = torch.from_numpy(self._item_of).to(scores.device)
        return scores[:, columns].masked_fill_(columns == 0, float("-inf"))

    def _history(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(*self._mapped.offsets[user : user + 2])
        return self._mapped.items[rows], self._mapped.timestamps[rows]


class ListCounter:
    """A scorer that counts, on its way, how often each item is among a user's best unseen ones.

    Items that tie for the last places of a list share them: each is there with the same probability.

    Attributes:
        counts: Expected number of lists that hold each item, `[N + 1]`.
        missed: Probability that no list holds it, where every user's ties are resolved apart from the others'.

    Args:
        scorer: The scorer.
        seen: What is left out of the lists.
        num_items: N.
        k: Length of a list.
    """

    def __init__(self, scorer: Scorer, seen: Histories, num_items: int, k: int) -> None:
        self._scorer, self._seen, self._k = scorer, seen, min(k, num_items)
        self.counts = np.zeros(num_items + 1)
        self.missed = np.ones(num_items + 1)

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """The scores, untouched."""
        scores = self._scorer(users)
        masked = scores.clone()
        masked[:, 0] = float("-inf")
        rows, positions = self._seen.find_rows(users)
        masked[torch.from_numpy(rows), torch.from_numpy(self._seen.items[positions])] = float("-inf")
        probabilities = _top_probabilities(masked, self._k)
        self.counts += probabilities.sum(0).cpu().numpy()
        self.missed *= (1 - probabilities).prod(0).cpu().numpy()
        return scores


def _top_probabilities(scores: Float[Tensor, "B N1"], k: int) -> Float[Tensor, "B N1"]:
    """How probable each item is among the k best of its row, ties in any order; those of minus infinity never are."""
    lowest = torch.topk(scores, k, dim=1).values[:, -1:]
    higher, equal = scores > lowest, scores == lowest
    share = (k - higher.sum(1, keepdim=True)) / equal.sum(1, keepdim=True)
    return (higher + share * equal).masked_fill_(scores.isneginf(), 0)


def _map_users(histories: Histories, user_of: np.ndarray, num_users: int) -> Histories:
    """The same histories in the order of the model's users; those without one here have done nothing."""
    data_user = np.zeros(num_users + 1, dtype=np.int64)
    data_user[user_of] = np.arange(len(user_of))
    data_user[0] = 0
    lengths = histories.lengths[data_user]
    _, positions = histories.find_rows(data_user[1:])
    offsets = np.concatenate([[0, 0], np.cumsum(lengths[1:])])
    return Histories(offsets, histories.items[positions], histories.timestamps[positions])
