"""A small bundle with an untrained model, and the command in a process of its own."""

import subprocess
import sys
from pathlib import Path

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
COMMAND = [sys.executable, "-c", "from ur4rec.cli import app; app()"]


def start_server(bundle: Path) -> tuple[subprocess.Popen[str], str]:
    """The process and its address."""
    command = [*COMMAND, "serve", "--model", str(bundle), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()  # comes once the server listens, or empty where it has ended
    assert line.startswith("serving "), process.communicate()
    return process, line.split()[-1]
