from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from present import present
from torch.nn import functional
from toy_trainer import Data, make

from ur4rec.data.sequences import Histories
from ur4rec.models.config import Expert
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import rank_users
from ur4rec.training.config import TrainingConfig
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import StageRecord, Trainer, deterministic


def train(model: UR4RecV2MoE, data: Data, stage: str, **fields: Any) -> StageRecord:
    config = TrainingConfig(epochs_per_stage=fields.pop("epochs", 3), batch_size=8, adaptive_min_steps=2, **fields)
    with deterministic(config.seed):
        return Trainer(model, *data, PLANS[stage], config).run(lambda entry, usage: None)


@pytest.mark.parametrize("stage", ["pretrain_sasrec", "pretrain_retriever"])
def test_a_stage_learns_a_rule_that_can_be_learned(data: Data, stage: str) -> None:
    record = train(make(), data, stage, epochs=30, patience=30)
    assert record.series[0]["ndcg@10"] < 0.6
    assert record.validation["ndcg@10"] > 0.9


@pytest.mark.parametrize(
    ("stage", "patience", "epochs"), [("pretrain_sasrec", 5, 5), ("joint_finetune", 5, 3), ("end_to_end", 2, 2)]
)
def test_a_stage_stops_where_nothing_gets_better(data: Data, stage: str, patience: int, epochs: int) -> None:
    """Rates of nothing leave every validation as it was; the last two stages have a patience of their own."""
    record = train(
        make(), data, stage, epochs=9, patience=patience, finetune_patience=3, sasrec_lr=1e-12, retriever_lr=1e-12
    )
    assert (record.best_epoch, record.epochs) == (0, epochs)


def test_joint_finetuning_trains_one_module_from_the_first_step(data: Data) -> None:
    model = make()
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = Trainer(model, *data, PLANS["joint_finetune"], TrainingConfig(batch_size=8, adaptive_min_steps=4))
    trainer._train_epoch()
    moved = {name.split(".")[0] for name, value in model.named_parameters() if not torch.equal(before[name], value)}
    assert moved == {"sasrec"}


@pytest.mark.parametrize("stage", list(PLANS))
def test_a_stage_never_ends_worse_than_it_began(data: Data, stage: str) -> None:
    model = make()
    record = train(model, data, stage, sasrec_lr=5.0, retriever_lr=5.0)
    assert record.validation["ndcg@10"] >= record.series[0]["ndcg@10"]
    trainer = Trainer(model, *data, PLANS[stage], TrainingConfig())
    again = trainer.validate(ModelScorer(model, trainer.histories, PLANS[stage].part.value))
    assert again == record.validation


@pytest.mark.parametrize("stage", list(PLANS))
def test_the_validation_loss_is_the_cross_entropy_of_the_targets(data: Data, stage: str) -> None:
    model, targets = make(), data[1]
    record = train(model, data, stage, epochs=2)
    assert all(entry["validation_loss"] > 0 for entry in record.series)
    scores = ModelScorer(model, data[0], PLANS[stage].part.value)(targets[:, 0])
    expected = functional.cross_entropy(scores[:, 1:].double(), torch.from_numpy(targets[:, 1]) - 1).item()
    assert record.series[record.best_epoch]["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_early_stopping_ranks_by_the_models_rule_for_seen_items(data: tuple[Histories, np.ndarray]) -> None:
    histories, targets = data
    found = []
    for rule, seen in (("exclude", histories), ("include", None)):
        model = make(seen_items=rule)
        trainer = Trainer(model, histories, targets, PLANS["pretrain_sasrec"], TrainingConfig())
        scorer = ModelScorer(model, histories, "sasrec")
        found.append(trainer.validate(scorer))
        assert found[-1] == metrics_from_ranks(rank_users(scorer, targets, seen, 256))
    assert found[0]["mrr"] > found[1]["mrr"]


def test_a_repeated_target_is_learned_like_any_other() -> None:
    """Every user plays two items of their own in turn, so that targets are repeats from the third play on."""
    users = np.repeat(np.arange(1, 25), 12)
    items = (users + np.tile(np.arange(12) % 2 * 10, 24)) % 20 + 1
    histories = Histories(np.concatenate([[0], np.arange(25) * 12]), items, np.tile(np.arange(12), 24))
    targets = np.stack([np.arange(1, 25), items[::12], np.full(24, 12)], axis=1)
    record = train(make(seen_items="include"), (histories, targets), "pretrain_sasrec", epochs=30, patience=30)
    assert record.series[0]["ndcg@10"] < 0.5
    assert record.validation["ndcg@10"] > 0.75


def test_an_epoch_reports_losses_metrics_experts_and_memories(data: Data) -> None:
    first, *_, last = train(make(), data, "joint_finetune", adaptive_switch_threshold=9.0).series
    assert "loss" not in first
    assert last.keys() >= {"loss", "lr", "hit@10", "ndcg@10", "mrr", "alternation", "memory/users_with_memory"}
    assert last["alternation_switches"] >= 1
    assert sum(last[f"expert_weight/{name}"] for name in Expert) == pytest.approx(1)
    assert not any("/" in name for name in train(make(), data, "pretrain_sasrec").series[-1])


@pytest.mark.parametrize("fields", [{"alignment_weight": 0.5}, {"load_balance_weight": 0.5}], ids=str)
@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("stage", ["pretrain_retriever", "end_to_end"])
def test_what_is_added_to_the_loss_changes_it(data: Data, stage: str, negatives: int, fields: dict[str, Any]) -> None:
    standing_still = {"sasrec_lr": 1e-9, "retriever_lr": 1e-9, "num_negatives": negatives, "epochs": 1}
    plain, more = (train(make(), data, stage, **standing_still, **each).series[1] for each in ({}, fields))
    assert more["loss"] > plain["loss"]


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("stage", list(PLANS))
def test_half_precision_changes_the_losses_a_little(data: Data, stage: str, negatives: int) -> None:
    extra = {"alignment_weight": 0.5, "load_balance_weight": 0.5, "num_negatives": negatives, "epochs": 1}
    full, half = (train(make(), data, stage, precision=name, **extra).series[1] for name in ("fp32", "bf16"))
    assert full["loss"] != half["loss"] == pytest.approx(full["loss"], rel=0.02)


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("stage", list(PLANS))
def test_an_item_that_training_does_not_know_is_no_negative(data: Data, stage: str, negatives: int) -> None:
    """Whatever it looks like."""
    losses = []
    for size in (0.0, 100.0):
        model = make()
        model.retriever.encoder.get_buffer("is_trained")[9] = False
        with torch.no_grad():
            present(model.sasrec).item_embedding.weight[9] += size
            model.retriever.encoder.text.get_buffer("item_text")[9] += size
        histories, targets = data
        items = np.where(histories.items == 9, 8, histories.items)
        without = Histories(histories.offsets, items, histories.timestamps)
        losses.append(train(model, (without, targets), stage, epochs=1, num_negatives=negatives).series[1]["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_same_seed_gives_the_same_losses(data: Data) -> None:
    first, second, other = (train(make(), data, "pretrain_retriever", seed=seed).series for seed in (1, 1, 2))
    assert first == second != other


def test_every_parameter_has_the_rate_of_its_module(data: Data) -> None:
    config = TrainingConfig(sasrec_lr=0.1, retriever_lr=0.2)
    trainer = Trainer(make(), *data, PLANS["end_to_end"], config)
    rates, scale = trainer.optimizer.rates, config.finetune_lr_scale
    assert rates.keys() == trainer.trainable.keys()
    of_retriever = ("retriever.", "fusion.retriever_")
    assert rates == {name: scale * (0.2 if name.startswith(of_retriever) else 0.1) for name in trainer.trainable}
    second = Trainer(make(), *data, PLANS["pretrain_retriever"], config).optimizer
    assert set(second.rates.values()) == {0.2}


def test_negatives_change_the_loss(data: Data) -> None:
    full, sampled = (
        train(make(), data, "pretrain_sasrec", epochs=1, num_negatives=count).series[1] for count in (0, 5)
    )
    assert full["loss"] != sampled["loss"]


def test_all_windows_of_a_user_are_trained_on(data: Data) -> None:
    """11 inputs are two windows of 8, so that an epoch has twice the steps, and the schedule knows it."""
    one, all_windows = (
        train(make(), data, "end_to_end", epochs=2, windows_per_user=windows) for windows in ("one", "all")
    )
    assert [entry["step"] for entry in one.series] == [0, 3, 6]
    assert [entry["step"] for entry in all_windows.series] == [0, 6, 12]
    assert all_windows.series[-1]["lr"] == one.series[-1]["lr"] == 0


def test_torch_is_left_as_it_was() -> None:
    memory: Any = torch.utils.deterministic

    def flags() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory

    before, inside = flags(), []
    with suppress(KeyError), deterministic(1):
        inside.append(flags())
        raise KeyError
    assert inside == [(True, False)]
    assert flags() == before
