"""A small bundle with an untrained model, and the command in a process of its own."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from ur4rec.models.config import ModelConfig

NUM_USERS, NUM_ITEMS, LENGTH = 30, 40, 12
CONFIG = ModelConfig(
    sasrec_hidden_dim=8,
    sasrec_item_factors=8,
    retriever_output_dim=8,
    memory_dim=8,
    text_components=8,
    max_seq_len=6,
    interaction_threshold=3,
    cooccurrence_neighbors=4,
)
RUN = "from ur4rec.cli import app; app()"


def spawn_server(bundle: Path, setup: str = "", limit: tuple[int, int] | None = None) -> subprocess.Popen[str]:
    """The process.

    Args:
        bundle: What it serves.
        setup: Python that runs before the command.
        limit: Of open files, soft and hard.
    """
    command = [sys.executable, "-c", f"{setup}\n{RUN}", "serve", "--model", str(bundle), "--port", "0"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)) if limit else None,
    )


def start_server(
    bundle: Path, setup: str = "", limit: tuple[int, int] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """The process and its address."""
    process = spawn_server(bundle, setup, limit)
    assert process.stdout is not None
    line = process.stdout.readline()  # comes once the server listens, or empty where it has ended
    assert line.startswith("serving "), process.communicate()
    return process, line.split()[-1]


def stop_server(process: subprocess.Popen[str]) -> str:
    """Ends it, which it has to do well; returns its log."""
    process.terminate()
    output, log = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "stopped\n"), log
    return log


def ask(client: httpx.Client, **call: Any) -> list[dict[str, Any]]:
    """Answers to the requests of a call."""
    response = client.post("/recommend", json=call)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results
