"""One rank that trains toy models: `python rank_toy.py RANK SIZE PORT RESULT`; the first rank writes the port."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ur4rec.data.sequences import Histories
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.training.config import TrainingConfig
from ur4rec.training.ranks import ALONE, ConnectedRanks, Ranks
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import Trainer, deterministic

NUM_USERS, NUM_ITEMS, NUM_STEPS = 33, 20, 50
Outcome = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    stage: str
    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)


CASES = {
    "pretrain_sasrec": Case("pretrain_sasrec"),
    "pretrain_retriever": Case(
        "pretrain_retriever", {"load_balance_weight": 0.1, "alignment_weight": 0.1, "windows_per_user": "all"}
    ),
    "joint_finetune": Case("joint_finetune", {"finetune_lr_scale": 1.0}, {"content_weight": 0.5}),
    "end_to_end": Case("end_to_end", {"finetune_lr_scale": 1.0}),
    "negatives": Case("end_to_end", {"num_negatives": 6, "finetune_lr_scale": 1.0}),
}


def make_data() -> tuple[Histories, np.ndarray]:
    """Histories of every length from 2 on; no text of a user but for some of the long ones."""
    rng = np.random.default_rng(0)
    lengths = np.arange(NUM_USERS) % 17 + 2
    offsets = np.concatenate([[0, 0], lengths.cumsum()])
    times = np.concatenate([np.arange(length) // 2 * 60 for length in lengths])
    targets = np.stack([np.arange(1, NUM_USERS + 1), rng.integers(1, NUM_ITEMS + 1, NUM_USERS), lengths * 60], axis=1)
    items = np.concatenate([(user * 3 + np.arange(length)) % NUM_ITEMS + 1 for user, length in enumerate(lengths)])
    return Histories(offsets, items, times), targets


def make_model(case: Case) -> UR4RecV2MoE:
    torch.manual_seed(0)
    model = UR4RecV2MoE(
        NUM_ITEMS, NUM_USERS, sasrec_hidden_dim=8, retriever_output_dim=8, max_seq_len=6, interaction_threshold=3,
        max_memory_size=2, sasrec_dropout=0.3, moe_dropout=0.3, **case.model,
    )  # fmt: skip
    snapshots = [(user, as_of) for user in (14, 15, 16, 31, 32) for as_of in (4, 7, 10)]
    sentences = torch.randn(2 * len(snapshots), 4)
    offsets = torch.arange(0, len(sentences) + 1, 2)
    text = torch.randn(NUM_ITEMS + 1, 4), sentences, offsets, torch.tensor(snapshots)
    model.retriever.encoder.text.fill(*text, NUM_USERS)
    return model


def train(case: Case, ranks: Ranks) -> Outcome:
    model, (histories, targets), losses = make_model(case), make_data(), []
    config = TrainingConfig(
        batch_size=8, epochs_per_stage=10, adaptive_min_steps=4, finetune_patience=10, **case.training
    )

    class Recorded(Trainer):
        def _train_step(self, *arguments: Any) -> float:
            losses.append(super()._train_step(*arguments))
            return losses[-1]

    with deterministic(config.seed):
        record = Recorded(model, histories, targets, PLANS[case.stage], config, ranks).run(lambda entry, usage: None)
    ModelScorer(model, histories)
    memories = model.memory_tensors()["history"].flatten().tolist()
    told = [value for entry in record.series for name, value in sorted(entry.items()) if name != "alternation"]
    return {"losses": losses, "memories": memories, "told": told, "best_epoch": [record.best_epoch]}


def main(rank: int, size: int, port: int, result: Path) -> None:
    torch.set_num_threads(1)
    ranks = ALONE if size == 1 else ConnectedRanks(rank, size, port, torch.device("cpu"), 60)
    if isinstance(ranks, ConnectedRanks) and rank == 0:
        print(ranks.port, flush=True)
    outcomes = {name: train(case, ranks) for name, case in CASES.items()}
    if rank == 0:
        result.write_text(json.dumps(outcomes))
    if isinstance(ranks, ConnectedRanks):
        ranks.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
