"""A rule that can be learned, and a small model to learn it."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ur4rec.data.sequences import Histories
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE

NUM_USERS, NUM_ITEMS, LENGTH = 24, 20, 12
Data = tuple[Histories, NDArray[np.int64]]
"""Histories, and a target of each user."""


@pytest.fixture(scope="module")
def data() -> Data:
    """Every user walks through the items in order, from a place of their own."""
    users = np.repeat(np.arange(1, NUM_USERS + 1), LENGTH)
    items = (users + np.tile(np.arange(LENGTH), NUM_USERS)) % NUM_ITEMS + 1
    times = np.tile(np.arange(LENGTH), NUM_USERS) * 60
    offsets = np.concatenate([[0], np.arange(NUM_USERS + 1) * LENGTH])
    targets = np.stack([np.arange(1, NUM_USERS + 1), np.arange(1, NUM_USERS + 1), np.full(NUM_USERS, 720)], axis=1)
    targets[:, 1] = (targets[:, 0] + LENGTH) % NUM_ITEMS + 1
    return Histories(offsets, items, times), targets


def make(**settings: Any) -> UR4RecV2MoE:
    torch.manual_seed(0)
    model = UR4RecV2MoE(
        NUM_ITEMS, NUM_USERS, sasrec_hidden_dim=16, retriever_output_dim=16, max_seq_len=8, 
        interaction_threshold=3, max_memory_size=2, sasrec_dropout=0.0, moe_dropout=0.0, **settings,
    )  # fmt: skip
    text = torch.randn(NUM_ITEMS + 1, 4), torch.randn(4, 4), torch.tensor([0, 2, 4]), torch.tensor([[1, 5], [2, 5]])
    model.retriever.encoder.text.fill(*text, NUM_USERS)
    return model
