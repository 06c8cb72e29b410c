"""The systems that one training left behind."""

from __future__ import annotations

import numpy as np

from ur4rec.data.sequences import Histories
from ur4rec.models.config import Part
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.ranks import Scorer
from ur4rec.training.scoring import ModelScorer

SASREC = "sasrec"


class TrainedSystems:
    """A model's score, and SASRec's with the weights that its own stage left, where there is one.

    Args:
        model: The model to judge.
        sasrec: A model that holds the weights of the first stage; None for a system without SASRec.
        name: What the first system is called.
        part: Whose score the first system is.
    """

    def __init__(self, model: UR4RecV2MoE, sasrec: UR4RecV2MoE | None, name: str, part: Part) -> None:
        self._model, self._sasrec, self._name, self._part = model, sasrec, name, part
        self._scorer: ModelScorer | None = None

    @property
    def excludes_seen(self) -> bool:
        """Whether the model is for what is new to a user alone."""
        return self._model.config.excludes_seen

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        """The systems, the memories replayed over `histories`."""
        self._scorer = ModelScorer(self._model, histories, self._part.value)
        systems: dict[str, Scorer] = {self._name: self._scorer}
        if self._sasrec is not None:
            systems[SASREC] = ModelScorer(self._sasrec, histories, Part.SASREC.value)
        return systems

    def expert_weights(self, users: np.ndarray | None = None) -> dict[str, float]:
        """Mean router weight of each expert for the histories of the last call, over all users or some."""
        assert self._scorer is not None
        return self._scorer.expert_weights(users)

    def memory_stats(self) -> dict[str, int | float]:
        """Statistics of the user memories, for the histories of the last call."""
        assert self._scorer is not None
        return self._scorer.memory_stats()
