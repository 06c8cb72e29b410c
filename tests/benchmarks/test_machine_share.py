from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.machine_share import (
    Cost,
    Share,
    count_flops,
    count_positions,
    measure_ceiling,
    measure_epoch,
    open_workload,
    profile_evaluation,
)
from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import CooccurrenceScorer, NeighborTables
from ur4rec.storage.artifacts import ArtifactError, write_artifact
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import write_embeddings
from ur4rec.training.config import StageConfig
from ur4rec.training.losses import catalogue_cross_entropy, scored_cross_entropy

POSITIONS, WIDTH, ITEMS = 6, 5, 11
USERS, CATALOGUE = 20, 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`sequences/` and `embeddings/` of users who go round the catalogue."""
    rows = [(f"u{user}", f"i{(user + step) % CATALOGUE}", step) for user in range(USERS) for step in range(8)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(tmp_path / "plays.csv", index=False)
    sequences = tmp_path / "sequences"
    preprocess_sequences(tmp_path / "plays.csv", sequences, DataConfig(dataset_name="plays"))
    vectors = np.random.default_rng(0).normal(size=(CATALOGUE, 6)).astype(np.float32)
    first = {"items": np.arange(CATALOGUE), "sentences": np.array([0, 1]), "offsets": np.array([0, 2])}
    with write_artifact(tmp_path / "embeddings", "encode_text", EncodeConfig(), {"sequences": sequences}) as writer:
        write_embeddings(writer.folder, vectors, **first, snapshots=np.array([[1, 2]]))
    return tmp_path


@pytest.fixture
def users() -> torch.Tensor:
    return torch.randn(2, 3, WIDTH, requires_grad=True)


@pytest.fixture
def items() -> torch.Tensor:
    return torch.randn(ITEMS + 1, WIDTH, requires_grad=True)


def test_a_product_counts_twice_its_multiplications() -> None:
    left, right = torch.randn(3, 4), torch.randn(4, 5)
    assert count_flops(lambda: left @ right) == 2 * 3 * 4 * 5
    assert count_flops(lambda: torch.zeros(3, 5).addmm_(left, right)) == 2 * 3 * 4 * 5
    assert count_flops(lambda: left + left) == 0


def test_products_inside_the_losses_are_counted(users: torch.Tensor, items: torch.Tensor) -> None:
    """Logits, and the gradients of both sides: three products of the same size."""
    three_products = 3 * 2 * POSITIONS * WIDTH * (ITEMS + 1)
    targets, padding = torch.arange(1, POSITIONS + 1), torch.tensor([0])
    loss = catalogue_cross_entropy
    assert count_flops(lambda: loss(users.flatten(0, 1), items, targets, padding).backward()) == three_products

    scorer = CooccurrenceScorer(ITEMS, CooccurrenceConfig())
    scorer.fill(NeighborTables(torch.ones(1, ITEMS + 1, 2, dtype=torch.int32), torch.ones(1, ITEMS + 1, 2)))
    factors, rows = torch.ones(2, 3, requires_grad=True), targets.view(2, 3)
    scored = scored_cross_entropy
    assert count_flops(lambda: scored(users, items, factors, rows, padding, scorer.scan(rows)).backward()) == (
        three_products
    )


def test_the_ceiling_counts_one_product() -> None:
    ceiling = measure_ceiling(size=64, repeats=2)
    assert ceiling.flops == 2 * 64**3
    assert ceiling.gflops_per_s > 0


def test_a_share_is_the_ratio_of_the_rates() -> None:
    share = Share("shipped", "end_to_end", 8, 900, Cost(3_000_000_000, 2.0, 1.0), Cost(10_000_000_000, 1.0, 1.0))
    assert share.epoch.gflops_per_s == pytest.approx(1.5)
    assert share.by_clock == pytest.approx(0.15)
    assert share.by_cpu == pytest.approx(0.3)
    assert share.positions_per_s == 450


@pytest.mark.parametrize(("windows", "length", "expected"), [("one", 50, 5), ("one", 3, 3), ("all", 3, 5)])
def test_every_target_of_an_epoch_is_a_position(folder: Path, windows: str, length: int, expected: int) -> None:
    """Of eight interactions two are held out, and the first is no target."""
    config = load_config("toy", {"windows_per_user": windows, "max_seq_len": length}).narrow(StageConfig)
    assert count_positions(open_workload(folder).histories(), config) == USERS * expected


def test_an_epoch_costs_more_with_a_wider_model(folder: Path) -> None:
    workload = open_workload(folder)
    config = load_config("toy", {"epochs_per_stage": 1, "batch_size": 16}).narrow(StageConfig)
    wide = config.model_copy(update={"sasrec_hidden_dim": 64})
    (cost, steps), (wider, _) = (measure_epoch(workload, one, "pretrain_sasrec") for one in (config, wide))
    assert steps == np.ceil(USERS / 16)
    assert 4 * cost.flops < wider.flops < 16 * cost.flops  # the width is four times as large
    assert cost.seconds > 0


def test_an_evaluation_is_profiled_by_function_and_by_tensor_operation(folder: Path) -> None:
    workload = open_workload(folder)
    cost, profiles = profile_evaluation(workload, load_config("toy").narrow(StageConfig))
    functions, operations = profiles.values()
    assert cost.flops > 0
    assert len(functions) == len(operations) == 10
    assert all(one.own_s <= one.total_s for one in functions)
    assert all(one.function.startswith("aten::") for one in operations)


def test_a_folder_without_texts_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="text_embeddings: not found"):
        open_workload(tmp_path)
