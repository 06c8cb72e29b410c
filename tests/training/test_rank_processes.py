"""A stage trained by several processes, those that are killed, hang or fail, and training that goes on after them."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_stages import make_embeddings, write_sequences

from ur4rec.config import load_config
from ur4rec.models.tensor_files import read_tensors
from ur4rec.training import rank_processes, ranks
from ur4rec.training.checkpoints import memories_file
from ur4rec.training.config import StageConfig
from ur4rec.training.rank_processes import LeadingRanks, start_ranks
from ur4rec.training.ranks import LostRankError
from ur4rec.training.stages import run_stage
from ur4rec.training.trainer import StageRecord

pytestmark = [pytest.mark.slow, pytest.mark.server]

FIRST, SECOND = "pretrain_sasrec", "pretrain_retriever"
SETTINGS = {
    "sasrec_hidden_dim": 8,
    "retriever_output_dim": 8,
    "memory_dim": 4,
    "interaction_threshold": 3,
    "max_seq_len": 8,
    "batch_size": 8,
    "epochs_per_stage": 4,
    "patience": 4,
}
CONFIG = load_config("toy", SETTINGS).narrow(StageConfig)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequences(tmp_path_factory.mktemp("plays"))


@pytest.fixture(scope="module")
def embeddings(sequences: Path) -> Path:
    return make_embeddings(sequences.with_name("embeddings"), sequences)


def train(stage: str, sequences: Path, folder: Path, processes: int, **given: Any) -> StageRecord:
    folders = folder / "checkpoint", folder / "memories"
    return run_stage(stage, sequences, *folders, CONFIG, device="cpu", processes=processes, **given)


def show(record: StageRecord) -> dict[str, list[float]]:
    return {name: [entry[name] for entry in record.series] for name in ("validation_loss", "ndcg@10")}


def read_history(folder: Path, stage: str) -> torch.Tensor:
    history: torch.Tensor = read_tensors(folder / "memories" / memories_file(stage))["history"]
    return history


def test_processes_write_what_one_does(sequences: Path, embeddings: Path, tmp_path: Path) -> None:
    found = {}
    for processes in (1, 2):
        first, second = tmp_path / f"first{processes}", tmp_path / f"second{processes}"
        previous = {"previous_checkpoint": first / "checkpoint", "previous_memories": first / "memories"}
        found[processes] = [
            show(train(FIRST, sequences, first, processes)),
            show(train(SECOND, sequences, second, processes, embeddings=embeddings, **previous)),
        ]
    for alone, together in zip(found[1], found[2], strict=True):
        assert together["validation_loss"] == pytest.approx(alone["validation_loss"], rel=1e-4)
        assert together["ndcg@10"] == pytest.approx(alone["ndcg@10"], abs=1e-6)
    memories = [read_history(tmp_path / f"second{processes}", SECOND) for processes in (1, 2)]
    assert memories[0].abs().max() > 0
    torch.testing.assert_close(memories[1], memories[0], atol=1e-5, rtol=0)


def disturb(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[LeadingRanks], None], after_epoch: int
) -> Callable[[Any, Any], None]:
    """Has something done to the other ranks once an epoch is kept; returns what `run_stage` is to tell of epochs."""
    started: list[LeadingRanks] = []
    start = LeadingRanks.start

    def remember(self: LeadingRanks) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(LeadingRanks, "start", remember)
    told: list[int] = []

    def observe(settings: Any, series: Any) -> None:
        told.append(len(series) - 1)
        if told[-1] == after_epoch:
            act(started[0])

    return observe


def kill(signal_number: int) -> Callable[[LeadingRanks], None]:
    return lambda ranks: os.kill(ranks.workers[-1].process.pid, signal_number)


def test_training_goes_on_after_a_rank_was_killed(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another number of ranks as well."""
    expected = show(train(FIRST, sequences, tmp_path / "undisturbed", 1))
    with monkeypatch.context() as patch:
        observe = disturb(patch, kill(signal.SIGKILL), after_epoch=2)
        with pytest.raises(LostRankError, match=r"^rank 2 of 3 was ended by signal 9$"):
            train(FIRST, sequences, tmp_path / "killed", 3, observe=observe, state=tmp_path / "state", resume=True)
    assert "stopped: pretrain_sasrec: epoch 2 is kept in" in capsys.readouterr().out
    for processes in (1, 4):
        out, state = tmp_path / f"after{processes}", tmp_path / f"state{processes}"
        shutil.copytree(tmp_path / "state", state)
        record = train(FIRST, sequences, out, processes, state=state, resume=True)
        assert "pretrain_sasrec goes on after epoch 2" in capsys.readouterr().out
        for name, values in expected.items():
            assert show(record)[name] == pytest.approx(values, rel=1e-4)


def test_a_rank_that_hangs_is_named(sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_processes, "TIMEOUT_S", 15.0)
    monkeypatch.setattr(ranks, "GRACE_S", 5.0)
    observe = disturb(monkeypatch, kill(signal.SIGSTOP), after_epoch=1)
    with pytest.raises(LostRankError, match=r"^rank 2 of 3 has died or hangs"):
        train(FIRST, sequences, tmp_path, 3, observe=observe)


def test_a_rank_that_cannot_begin_says_why(tmp_path: Path) -> None:
    task = {"stage": FIRST, "sequences": tmp_path / "nowhere", "config": CONFIG.to_dict(), "device": "cpu"}
    task |= {"embeddings": None, "previous_checkpoint": None}
    with (
        start_ranks(2, torch.device("cpu"), task) as started,
        pytest.raises(LostRankError, match=r"^rank 1 of 2 failed: .*nowhere"),
    ):
        started.start()


def test_no_process_is_left_and_the_threads_are_as_before(sequences: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads(), threading.active_count(), os.environ.get("GLOO_SOCKET_IFNAME")
    task = {"stage": FIRST, "sequences": sequences, "config": CONFIG.to_dict(), "device": "cpu"}
    task |= {"embeddings": None, "previous_checkpoint": None}
    with suppress(KeyboardInterrupt), start_ranks(3, torch.device("cpu"), task) as started:
        assert isinstance(started, LeadingRanks)
        pids = [worker.process.pid for worker in started.workers]
        raise KeyboardInterrupt
    assert (torch.get_num_threads(), threading.active_count(), os.environ.get("GLOO_SOCKET_IFNAME")) == before
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
