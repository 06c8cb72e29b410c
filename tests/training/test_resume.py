import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from present import present
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from toy_trainer import Data, make

from ur4rec.storage.objects import StoreError
from ur4rec.training.checkpoints import CheckpointError
from ur4rec.training.config import TrainingConfig
from ur4rec.training.events import train_stage
from ur4rec.training.resume import CloudResumePoint, ResumePoint, open_resume_point
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import StageRecord, Trainer, deterministic

CONFIG = TrainingConfig(epochs_per_stage=4, patience=4, batch_size=8, adaptive_min_steps=2, adaptive_switch_threshold=9)


class Killed(Exception):
    pass


class Fragile(Trainer):
    """Dies before a step."""

    dies_at = -1

    def _train_step(self, *arguments: Any) -> float:
        if self.step == self.dies_at:
            raise Killed
        return super()._train_step(*arguments)


def train(
    data: Data, stage: str, logs: Path, resume: ResumePoint | None = None, dies_at: int = -1
) -> tuple[StageRecord, dict[str, Tensor]]:
    model = make()
    with deterministic(CONFIG.seed):
        trainer = Fragile(model, *data, PLANS[stage], CONFIG)
        trainer.dies_at = dies_at
        record = train_stage(trainer, logs, resume)
    return record, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("stage", "steps"), [("end_to_end", (2,)), *((stage, (4, 11)) for stage in PLANS)], ids=str)
def test_a_killed_stage_goes_on_to_the_same_result(
    data: Data, tmp_path: Path, stage: str, steps: tuple[int, ...]
) -> None:
    expected, weights = train(data, stage, tmp_path / "whole")
    point = ResumePoint(tmp_path / "resume", stage, "1")
    for step in steps:
        with pytest.raises(Killed):
            train(data, stage, tmp_path / "logs", point, step)
    record, resumed = train(data, stage, tmp_path / "logs", point)
    assert record.series == expected.series
    assert (record.best_epoch, record.epochs) == (expected.best_epoch, expected.epochs)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_the_events_of_all_processes_are_kept(data: Data, tmp_path: Path) -> None:
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


def test_the_first_line_of_a_resumed_stage_says_where_it_goes_on(
    data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = ResumePoint(tmp_path / "resume", "pretrain_sasrec", "1")
    with pytest.raises(Killed):
        train(data, "pretrain_sasrec", tmp_path / "logs", point, 7)
    last = len(present(point.load())["record"]["series"]) - 1
    assert last > 0
    assert "resume:" not in capsys.readouterr().out
    train(data, "pretrain_sasrec", tmp_path / "logs", point)
    assert capsys.readouterr().out.splitlines()[0] == f"resume: pretrain_sasrec goes on after epoch {last}"


def test_the_settings_of_a_state_with_another_key_are_known(tmp_path: Path) -> None:
    def make_point(key: str, **settings: Any) -> ResumePoint:
        return ResumePoint(tmp_path, "pretrain_sasrec", key, settings)

    make_point("1", patience=3).save(make_state(3))
    same, other = make_point("1"), make_point("2", patience=4)
    assert (same.has_state(), same.find_other()) == (True, None)
    assert (other.has_state(), other.find_other()) == (False, {"patience": 3})
    assert ResumePoint(tmp_path, "end_to_end", "2").find_other() is None
    for damaged in ("", '{"patience": ', "[3]"):
        (same.folder / "settings.json").write_text(damaged)
        assert other.find_other() is None


def test_another_key_is_another_state(data: Data, tmp_path: Path) -> None:
    one, other = (ResumePoint(tmp_path, "pretrain_sasrec", key) for key in ("1", "2"))
    one.save(make_state(3))
    assert (one.load(), other.load()) == (make_state(3), None)
    one.clear()
    assert one.load() is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    point = ResumePoint(tmp_path, "pretrain_sasrec", "1")
    point.save(make_state(3))
    (point.folder / "state.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged, .*; delete it"):
        point.load()


@contextmanager
def open_point(home: str, stage: str, key: str) -> Iterator[CloudResumePoint]:
    with open_resume_point(home, stage, key) as point:
        assert isinstance(point, CloudResumePoint)
        yield point


def make_state(step: int) -> dict[str, Any]:
    """As far as a point reads it."""
    return {"step": step, "record": {"epochs": step}}


def stop(home: str, error: type[BaseException], *steps: int, before: Callable[[], object] = lambda: None) -> None:
    """Ends a stage with an error after some epochs, of which the first is uploaded at once."""
    with open_point(home, "end_to_end", "1") as point:
        for step in steps:
            point.save(make_state(step))
            if step == steps[0]:
                point.share()
        before()
        raise error


def test_a_state_of_numbers_that_are_none_is_named_with_the_tensor(tmp_path: Path) -> None:
    point = ResumePoint(tmp_path, "pretrain_sasrec", "1")
    point.save({**make_state(1), "weights": {"sasrec.x": torch.tensor([1.0, float("nan")])}})
    with pytest.raises(CheckpointError, match=r"state\.pt: weights\.sasrec\.x: holds NaN or an infinity; delete it"):
        point.load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("optimizer"), "is not the state of this stage"),
        (lambda state: state["weights"].popitem(), "missing"),
        (lambda state: state.update(weights={name: each[:1] for name, each in state["weights"].items()}), "expected"),
        (lambda state: state.update(record={"epochs": 2, "mood": 1}), "is not the state of this stage"),
    ],
    ids=["key", "tensor", "shape", "record"],
)
def test_the_state_of_something_else_is_named(
    data: Data, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    point = ResumePoint(tmp_path / "resume", "end_to_end", "1")
    with pytest.raises(Killed):
        train(data, "end_to_end", tmp_path / "logs", point, 2)
    state = present(point.load())
    change(state)
    point.save(state)
    with pytest.raises(CheckpointError, match=rf"state\.pt: .*{message}.*; delete it to train from the start"):
        train(data, "end_to_end", tmp_path / "logs", point)


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a zip."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive.getvalue()


@pytest.fixture
def home(cloud: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("ur4rec.training.resume.UPLOAD_EVERY_S", 0)
    monkeypatch.setattr("ur4rec.training.resume.LARGEST_SHARE", math.inf)
    return f"{cloud}/state"


@pytest.mark.emulator
@pytest.mark.parametrize("stage", ["pretrain_retriever", "joint_finetune"])
def test_the_next_machine_goes_on_from_cloud_storage(data: Data, tmp_path: Path, home: str, stage: str) -> None:
    expected, weights = train(data, stage, tmp_path / "whole")
    for attempt, step in enumerate((4, 11)):
        with open_point(home, stage, "1") as point, pytest.raises(Killed):
            train(data, stage, tmp_path / f"logs{attempt}", point, step)
    with open_point(home, stage, "1") as point:
        assert len(present(point.load())["record"]["series"]) > 1
        record, resumed = train(data, stage, tmp_path / "logs", point)
        assert len(point._prefix.list_objects()) == 1
        point.clear()
        assert point._prefix.list_objects() == []
    assert record.series == expected.series
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [event.step for event in events.Scalars(f"{stage}/ndcg@10")] == [0, 1, 2, 3, 4]


@pytest.mark.emulator
def test_the_newest_state_counts_and_another_key_is_another_prefix(home: str) -> None:
    with open_point(home, "end_to_end", "1") as one, open_point(home, "end_to_end", "1") as again:
        one.save(make_state(3))
        one.share()
        assert again.load() == make_state(3)
        again.save(make_state(4))
        again.share()
        one.save(make_state(5))
        one.share()  # the first machine was not dead after all: as far as the second one, or nearly
        assert len(one._prefix.list_objects()) == 1
    with open_point(home, "end_to_end", "1") as later, open_point(home, "end_to_end", "2") as other:
        assert later.load() in (make_state(4), make_state(5))
        assert other.load() is None


@pytest.mark.emulator
@pytest.mark.parametrize("error", [KeyboardInterrupt, Killed])
def test_a_stage_that_ends_before_its_time_uploads_its_last_state(
    home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        stop(home, error, 3, 4, 5)
    told = "stopped: end_to_end: epoch 5 is kept in {}/end_to_end-1; the same inputs and settings go on from there\n"
    assert capsys.readouterr().out == (told.format(home) if error is KeyboardInterrupt else "")
    with open_point(home, "end_to_end", "1") as later:
        assert later.load() == make_state(5)


@pytest.mark.emulator
def test_storage_that_fails_as_a_stage_is_stopped_says_what_it_holds(
    home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop(home, KeyboardInterrupt, 3, 4, before=lambda: monkeypatch.setattr(CloudResumePoint, "_upload", _fail))
    failed, told = capsys.readouterr().out.splitlines()
    assert failed == "the state could not be stored, it is left as it was: gs://b: gone"
    assert told.startswith(f"stopped: end_to_end: epoch 3 is kept in {home}/end_to_end-1;")


def test_a_stage_that_keeps_nothing_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for home, told in ((None, "nothing is kept, for no place"), (tmp_path, "no epoch was finished")):
        with pytest.raises(KeyboardInterrupt), open_resume_point(home, "end_to_end", "1"):
            raise KeyboardInterrupt
        assert capsys.readouterr().out.startswith(f"stopped: end_to_end: {told}")


@pytest.mark.emulator
def test_storage_that_fails_does_not_stop_the_training(
    home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_point(home, "end_to_end", "1") as point:
        monkeypatch.setattr(CloudResumePoint, "_upload", _fail)
        point.save(make_state(3))
        point.share()
        assert point.folder.exists()
    assert "the state could not be stored, training goes on: gs://b: gone" in capsys.readouterr().out


@pytest.mark.emulator
def test_storage_that_fails_does_not_spoil_a_finished_stage(
    home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_point(home, "end_to_end", "1") as point:
        monkeypatch.setattr(type(point._prefix), "delete", _fail)
        point.finish()
    assert "the state of the finished stage could not be removed: gs://b: gone" in capsys.readouterr().out


@pytest.mark.emulator
@pytest.mark.parametrize("content", [b"no archive", make_archive({"state.pt": b"damaged"})], ids=["archive", "state"])
def test_a_damaged_state_in_cloud_storage_is_named_as_it_is_there(home: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged").write_bytes(content)
    with open_point(home, "end_to_end", "1") as point:
        point._prefix.upload_new("00000001-ab.zip", tmp_path / "damaged")
        with pytest.raises(CheckpointError, match=rf"{home}/end_to_end-1/00000001-ab\.zip: damaged.*; delete it"):
            point.load()


def _fail(*_: object) -> None:
    raise StoreError("gs://b: gone")


def test_no_home_keeps_nothing() -> None:
    with open_resume_point(None, "end_to_end", "1") as point:
        assert point is None
