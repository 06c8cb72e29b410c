from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import CooccurrenceScorer, NeighborTables, to_logits
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.training import cooccurrence
from ur4rec.training.cooccurrence import fit_log_temperature
from ur4rec.training.windows import sample_epoch

CONFIG = CooccurrenceConfig(cooccurrence_window=2, cooccurrence_gap_decay=0.5, cooccurrence_smoothing=1.0)


@pytest.fixture
def histories() -> Histories:
    """Users 1 to 5, in folds 1, 2, 3, 4 and 0."""
    items = np.array([1, 2, 3, 1, 2, 2, 3, 4, 1, 4, 2])
    return Histories(np.array([0, 0, 3, 5, 7, 9, 11]), items, np.arange(11))


def test_pairs_count_less_the_further_apart(histories: Histories) -> None:
    counts = cooccurrence.count_pairs(histories, 4, CONFIG).toarray()[1:, 1:]
    assert counts.tolist() == [[0, 2, 0.5, 1], [2, 0, 2, 1], [0.5, 2, 0, 0], [1, 1, 0, 0]]


def test_an_item_is_its_own_neighbour_only_where_repeats_count() -> None:
    histories, repeats = Histories(np.array([0, 0, 4]), np.array([1, 2, 1, 1]), np.arange(4)), {"seen_items": "include"}
    # The pair (1, 1) stands once at gap 1 and once at gap 2, and counts for both of its ends.
    assert cooccurrence.count_pairs(histories, 2, CONFIG).toarray()[1:, 1:].tolist() == [[0, 2.5], [2.5, 0]]
    config = CONFIG.model_copy(update=repeats)
    counts = cooccurrence.count_pairs(histories, 2, config)
    assert counts.toarray()[1:, 1:].tolist() == [[3, 2.5], [2.5, 0]]
    neighbors, strengths = cooccurrence.neighbor_table(counts, config)
    assert neighbors[1].tolist() == [2, 1]
    assert strengths[1].tolist() == pytest.approx([2.5 / np.sqrt((5.5 + 1) * (2.5 + 1)), 3 / (5.5 + 1)])


def test_a_fold_is_left_out_whole(histories: Histories) -> None:
    without = cooccurrence.count_pairs(histories, 4, CONFIG, without_fold=4).toarray()
    assert without[1, 4] == 0
    assert without[1, 2] == 2


def test_neighbours_are_the_strongest_by_smoothed_cosine(histories: Histories) -> None:
    neighbors, strengths = cooccurrence.neighbor_table(cooccurrence.count_pairs(histories, 4, CONFIG), CONFIG)
    assert neighbors[1].tolist() == [2, 4, 3]
    assert strengths[1, 0] == pytest.approx(2 / np.sqrt((3.5 + 1) * (5 + 1)))
    assert not neighbors[0].any()
    kept = CONFIG.model_copy(update={"cooccurrence_neighbors": 1})
    assert cooccurrence.neighbor_table(cooccurrence.count_pairs(histories, 4, kept), kept)[0].tolist() == [
        [0], [2], [3], [2], [1]
    ]  # fmt: skip


def test_a_users_own_pairs_are_not_in_the_table_of_its_fold(histories: Histories) -> None:
    tables = cooccurrence.fit_fold_tables(histories, 4, CONFIG, torch.device("cpu"))
    fold = int(cooccurrence.user_folds(torch.tensor(4)))
    assert 4 not in tables.neighbors[fold, 1].tolist()
    assert 4 in tables.neighbors[(fold + 1) % 5, 1].tolist()


def test_factors_are_orthogonal_with_unit_variance() -> None:
    generator = np.random.default_rng(0)
    items = generator.integers(1, 31, 600)
    histories = Histories(np.array([0, *range(0, 601, 20)]), items, np.arange(600))
    counts = cooccurrence.count_pairs(histories, 30, CONFIG)
    factors = cooccurrence.item_factors(counts, 8, 1).astype(np.float64)
    assert np.allclose(factors.T @ factors / 31, np.eye(8), atol=1e-4)
    assert not factors[0].any()
    assert np.array_equal(factors, cooccurrence.item_factors(counts, 8, 1))
    assert cooccurrence.item_factors(counts, 64, 1).shape == (31, 64)


def test_the_temperature_is_the_one_that_predicts_best(histories: Histories) -> None:
    tables = cooccurrence.fit_fold_tables(histories, 4, CONFIG, torch.device("cpu"))
    tables = NeighborTables(tables.neighbors, tables.strengths + 0.1 * (tables.neighbors > 0))
    scorer = CooccurrenceScorer(4, CONFIG)
    epoch = sample_epoch(histories, 5, np.random.default_rng(0), 0, False, torch.device("cpu"))

    def scan(window: Window) -> Iterator[Tensor]:
        return map(to_logits, scorer.scan(window.items, tables, cooccurrence.user_folds(window.user_ids)))

    best = fit_log_temperature(scan, epoch)

    def loss(log_temperature: Tensor) -> float:
        window, targets = epoch.window(torch.arange(len(epoch.users)))
        total = torch.zeros(())
        rows = cooccurrence.user_folds(window.user_ids)
        for raw, target in zip(scorer.scan(window.items, tables, rows), targets.T, strict=True):
            logits = (1 + raw[:, 1:] / 0.01).log() / log_temperature.exp()
            total += torch.nn.functional.cross_entropy(logits, target - 1, ignore_index=-1, reduction="sum")
        return float(total)

    assert loss(best) <= min(loss(best - 0.05), loss(best + 0.05)) + 1e-6
