"""Systems that are closed formulas."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ur4rec.data.sequences import Histories
from ur4rec.ranking.ranks import Scorer

NUM_ITEMS = 30


class ToySystems:
    """Scores by the distance from the last item of the history; remembers what it was given."""

    def __init__(self, excludes_seen: bool = True) -> None:
        self.histories: list[Histories] = []
        self.excludes_seen = excludes_seen

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        self.histories.append(histories)

        def near(users: NDArray[Any]) -> torch.Tensor:
            last = torch.from_numpy(histories.items[histories.offsets[users + 1] - 1])
            return -(torch.arange(NUM_ITEMS + 1) - last[:, None]).abs().float()

        return {"UR4RecV2MoE": near, "sasrec": lambda users: -near(users)}

    def expert_weights(self, users: NDArray[Any] | None = None) -> dict[str, float]:
        share = 0.25 if users is None else float(np.mean(users)) / 1000
        return {"user_preference": share, "item_description": 1 - share}

    def memory_stats(self) -> dict[str, float]:
        return {"total_users": float(self.histories[-1].num_users)}
