"""What happens around the epochs of a stage."""

from pathlib import Path

from toy_trainer import Data, make

from ur4rec.training.config import TrainingConfig
from ur4rec.training.events import train_stage
from ur4rec.training.resume import ResumePoint
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import Trainer


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
