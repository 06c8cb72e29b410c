import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rank_toy
import torch
from numpy.testing import assert_allclose

from ur4rec.models.dropout import BatchShare, Dropout
from ur4rec.training.ranks import ALONE, Ranks

SIZES = (2, 4)
LIMIT_S = 240
Outcomes = dict[int, dict[str, rank_toy.Outcome]]


def start_rank(rank: int, size: int, port: int, result: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, rank_toy.__file__, *map(str, (rank, size, port, result))]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def train_with(size: int, result: Path) -> Any:
    first = start_rank(0, size, 0, result)
    assert first.stdout is not None
    port = int(first.stdout.readline()) if size > 1 else 0
    ranks = [first, *(start_rank(rank, size, port, result) for rank in range(1, size))]
    try:
        assert [rank.wait(LIMIT_S) for rank in ranks] == [0] * size
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    return json.loads(result.read_text())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("ranks")
    return {size: train_with(size, folder / f"{size}.json") for size in (1, *SIZES)}


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", rank_toy.CASES)
def test_ranks_train_as_one_process_does(outcomes: Outcomes, case: str, size: int) -> None:
    """Dropout, negatives, texts of few users, and batches with fewer rows than ranks: only additions differ."""
    alone, together = outcomes[1][case], outcomes[size][case]
    assert len(alone["losses"]) >= rank_toy.NUM_STEPS
    assert_allclose(together["losses"][: rank_toy.NUM_STEPS], alone["losses"][: rank_toy.NUM_STEPS], rtol=1e-4)
    assert together["best_epoch"] == alone["best_epoch"]
    assert_allclose(together["told"], alone["told"], rtol=1e-4, atol=1e-4)
    assert_allclose(together["memories"], alone["memories"], atol=1e-5)


@pytest.mark.slow
def test_the_cases_differ_and_learn(outcomes: Outcomes) -> None:
    losses = {case: outcome["losses"] for case, outcome in outcomes[1].items()}
    assert len({round(series[0], 6) for series in losses.values()}) == len(losses)
    assert all(sum(series[-10:]) < sum(series[:10]) for series in losses.values())


def test_a_row_has_the_same_mask_whoever_computes_it() -> None:
    values, masks = torch.ones(5, 3, 7), []
    for size in (1, 2, 4):
        parts = []
        for rank in range(size):
            dropout = Dropout(0.4)
            dropout.share = BatchShare(rank, size, len(values))
            torch.manual_seed(3)
            parts.append(dropout(dropout.share.of(values)))
        mask = torch.empty_like(values)
        for rank, part in enumerate(parts):
            mask[rank::size] = part
        masks.append(mask)
    torch.manual_seed(3)
    assert 0 < (masks[0] == 0).sum() < values.numel()
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert torch.equal(masks[0], Dropout(0.4)(values))


def test_a_rank_without_a_row_of_a_batch_takes_the_first() -> None:
    class Fourth(Ranks):
        rank, size = 3, 4

    rows = torch.arange(10, 13)
    assert Fourth().share(3).of(rows).tolist() == [10]
    assert ALONE.share(3).of(rows).tolist() == [10, 11, 12]
