"""A lack of memory ends in one line that names what to lower; the limit is the machine's own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ur4rec.experiments.workers import Failure, run_all
from ur4rec.memory_limits import OutOfMemoryError, naming_settings

LIMITED = """
import re, resource, sys
from pathlib import Path
import ur4rec.cli, ur4rec.local, ur4rec.data.preprocess
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (size + (600 << 20),) * 2)
sys.argv[0] = "ur4rec"
ur4rec.cli.app()
"""


def run_limited(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that may take 600 MiB of addresses more than it begins with."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", LIMITED, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_training_names_the_settings_to_lower(tmp_path: Path) -> None:
    rows = [f"u{user},i{(user + step) % 40},{1000 * user + step}" for user in range(60) for step in range(12)]
    (tmp_path / "plays.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    made = run_limited(tmp_path, "data", "preprocess", "plays.csv", "-o", "sequences")
    assert made.returncode == 0, made.stderr
    large = ["--set", "sasrec_hidden_dim=4096", "--set", "epochs_per_stage=1"]
    command = ["train", "sequences", "--stage", "pretrain_sasrec", "-o", "out", "--config", "toy", *large]
    result = run_limited(tmp_path, *command)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2
    assert line.startswith("Error: out of memory (")
    assert line.endswith("lower batch_size or max_seq_len, or give it more memory")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == [".lock"]


def test_every_library_is_understood() -> None:
    def fill_with_torch() -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    def fill_with_numpy() -> None:
        np.empty(1 << 60, dtype=np.uint8)

    def fill_a_gpu() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    for fill in (fill_with_torch, fill_with_numpy, fill_a_gpu):
        with pytest.raises(OutOfMemoryError, match=r"^out of memory .*; lower batch_size or max_seq_len") as failure:
            naming_settings("batch_size", "max_seq_len")(fill)()
        assert "\n" not in str(failure.value)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape") as failure, naming_settings("batch_size"):
        raise RuntimeError("shape mismatch")
    assert not isinstance(failure.value, OutOfMemoryError)


def kill_own_process(_: int) -> None:
    os.kill(os.getpid(), 9)


def test_a_worker_that_the_system_killed_says_what_to_lower() -> None:
    ((_, outcome),) = run_all(kill_own_process, [1], 1)
    assert isinstance(outcome, Failure)
    assert outcome.error == (
        "its process was killed, most likely for lack of memory; lower --jobs, batch_size or max_seq_len"
    )
