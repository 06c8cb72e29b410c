"""Processes that are asked to end while they train: they keep the last finished epoch, and say so."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from present import present

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences

PROGRAM = Path(__file__).with_name("stage_process.py")
EPOCH = re.compile(r'progress pretrain_sasrec .*"epoch": (\d+)')


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stop")
    rows = [(f"u{user}", f"i{(user + step) % 9}", step) for user in range(40) for step in range(6)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig())
    return folder / "sequences"


def start(sequences: Path, folder: Path, state: Path | str, step_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, sequences, folder / "checkpoint", folder / "memories", state, step_s]
    words = [str(part) for part in command]
    return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(sequences: Path, folder: Path, state: Path | str) -> tuple[str, bytes]:
    with start(sequences, folder, state, 0) as process:
        output, error = process.communicate()
    assert process.returncode == 0, error
    return output, (folder / "checkpoint/pretrain_sasrec_best.pt").read_bytes()


def stop(
    sequences: Path, folder: Path, state: Path | str, number: signal.Signals, after: int = 3
) -> tuple[int, str, str, int]:
    """Signals a process once it has told an epoch; returns its exit code, all that it said, and the last epoch."""
    with start(sequences, folder, state, 0.1) as process:
        lines = []
        for line in present(process.stdout):
            lines.append(line)
            if (found := EPOCH.match(line)) and int(found[1]) == after:
                process.send_signal(number)
        error = present(process.stderr).read()
    epochs = [int(found[1]) for line in lines if (found := EPOCH.match(line))]
    return process.returncode, "".join(lines), error, epochs[-1]


@pytest.fixture(scope="module")
def expected(sequences: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    return finish(sequences, folder, folder / "state")[1]


def check(sequences: Path, folder: Path, state: Path | str, expected: bytes, number: signal.Signals) -> None:
    code, output, error, last = stop(sequences, folder, state, number)
    assert (code, error) == (128 + number, "")
    assert output.splitlines()[-1].startswith(f"stopped: pretrain_sasrec: epoch {last} is kept in {state}/pretrain_sa")
    assert not list(folder.glob("[!s]*")), "what is not finished is not left"
    output, weights = finish(sequences, folder, state)
    assert output.startswith(f"resume: pretrain_sasrec goes on after epoch {last}\n")
    assert weights == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_stage_goes_on_after_its_last_finished_epoch(
    sequences: Path, tmp_path: Path, expected: bytes, number: signal.Signals
) -> None:
    check(sequences, tmp_path, tmp_path / "state", expected, number)


@pytest.mark.emulator
def test_so_it_does_from_cloud_storage(sequences: Path, tmp_path: Path, expected: bytes, bucket: str) -> None:
    """Most epochs are never uploaded, for uploads are 15 seconds apart; the last one is as the process ends."""
    check(sequences, tmp_path, f"gs://{bucket}/state", expected, signal.SIGTERM)
