import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_loop import data, make  # noqa: F401

from ur4rec.training.checkpoints import CheckpointError
from ur4rec.training.config import TrainingConfig
from ur4rec.training.loop import Trainer
from ur4rec.training.randomness import deterministic
from ur4rec.training.resume import ResumePoint
from ur4rec.training.stage_training import train_stage
from ur4rec.training.stages import PLANS

CONFIG = TrainingConfig(epochs_per_stage=4, patience=4, batch_size=8, adaptive_min_steps=2, adaptive_switch_threshold=9)


class Killed(Exception):
    pass


class Fragile(Trainer):
    """Dies before a step."""

    dies_at = -1

    def _train_step(self, *arguments):
        if self.step == self.dies_at:
            raise Killed
        return super()._train_step(*arguments)


def train(data, stage, logs, resume=None, dies_at=-1):  # noqa: F811
    model = make()
    with deterministic(CONFIG.seed):
        trainer = Fragile(model, *data, PLANS[stage], CONFIG)
        trainer.dies_at = dies_at
        record = train_stage(trainer, logs, resume)
    return record, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("stage", list(PLANS))
@pytest.mark.parametrize("steps", [(2,), (4, 11)], ids=str)
def test_a_killed_stage_goes_on_to_the_same_result(data, tmp_path, stage, steps):  # noqa: F811
    expected, weights = train(data, stage, tmp_path / "whole")
    point = ResumePoint(tmp_path / "resume", stage, "1")
    for step in steps:
        with pytest.raises(Killed):
            train(data, stage, tmp_path / "logs", point, step)
    record, resumed = train(data, stage, tmp_path / "logs", point)
    assert record.series == expected.series
    assert (record.best_epoch, record.epochs) == (expected.best_epoch, expected.epochs)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_the_events_of_all_processes_are_kept(data, tmp_path):  # noqa: F811
    stage = "pretrain_retriever"
    point = ResumePoint(tmp_path / "resume", stage, "1")
    with pytest.raises(Killed):
        train(data, stage, tmp_path / "logs", point, 7)
    train(data, stage, tmp_path / "logs", point)
    events = EventAccumulator(str(tmp_path / "logs"), {"histograms": 0})
    events.Reload()
    assert [event.step for event in events.Scalars(f"{stage}/ndcg@10")] == [0, 1, 2, 3, 4]
    histograms = events.Histograms(f"{stage}/expert_weight/item_embedding")
    assert [event.step for event in histograms] == [0, 1, 2, 3, 4]
    assert histograms[0].histogram_value.num == 24


def test_another_key_is_another_state(data, tmp_path):  # noqa: F811
    one, other = (ResumePoint(tmp_path, "pretrain_sasrec", key) for key in ("1", "2"))
    one.save({"step": 3})
    assert (one.load(), other.load()) == ({"step": 3}, None)
    one.clear()
    assert one.load() is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_named(tmp_path):
    point = ResumePoint(tmp_path, "pretrain_sasrec", "1")
    point.save({"step": 3})
    (point.folder / "state.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged; delete it"):
        point.load()
