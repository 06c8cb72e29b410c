"""What happens around the epochs of a stage."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_trainer import Data, make

from ur4rec.training.config import TrainingConfig
from ur4rec.training.events import train_stage
from ur4rec.training.resume import ResumePoint
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import Trainer


def read_scalars(folder: Path) -> dict[str, list[int]]:
    """Curve → its steps."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


class Noted(ResumePoint):
    """Notes which epoch is shared."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, "pretrain_sasrec", "1")
        self.shared: list[int | None] = []

    def share(self) -> None:
        self.shared.append(self.epoch)


def test_the_state_is_shared_after_each_epoch_once_it_is_kept(data: Data, tmp_path: Path) -> None:
    """A state that is shared while the stage runs is there for another machine if this one dies."""
    point = Noted(tmp_path / "state")
    config = TrainingConfig(epochs_per_stage=3, batch_size=8)
    record = train_stage(Trainer(make(), *data, PLANS["pretrain_sasrec"], config), tmp_path / "logs", point)
    assert record.epochs == 3
    assert point.shared == [0, 1, 2, 3]


class Watched(Noted):
    """Looks at the curves as they are there after each epoch."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.seen: list[list[int]] = []

    def share(self) -> None:
        self.seen.append(read_scalars(self.logs)["all_stages/validation_loss"])


def test_curves_are_there_while_the_stage_trains(data: Data, tmp_path: Path) -> None:
    config = TrainingConfig(epochs_per_stage=2, batch_size=8)
    point = Watched(tmp_path / "state")
    trainer = Trainer(make(), *data, PLANS["pretrain_sasrec"], config)
    train_stage(trainer, tmp_path / "logs", point)
    assert point.seen == [[0], [0, 1], [0, 1, 2]]
    assert read_scalars(tmp_path / "logs")["all_stages/validation_loss"] == [0, 1, 2]


def test_the_curves_of_all_stages_share_their_names(data: Data, tmp_path: Path) -> None:
    """TensorBoard draws one name in several runs, here a folder for each stage, into one chart."""
    for stage, plan in PLANS.items():
        config = TrainingConfig(epochs_per_stage=1, batch_size=8)
        train_stage(Trainer(make(), *data, plan, config), tmp_path / stage)
        curves = read_scalars(tmp_path / stage)
        assert curves["all_stages/loss"] == curves[f"{stage}/loss"] == [1]
        for name in ("validation_loss", "ndcg@10", "hit@10", "mrr"):
            assert curves[f"all_stages/{name}"] == curves[f"{stage}/{name}"] == [0, 1]
