from typing import Any

import numpy as np
import pytest
import torch
from toy_trainer import Data, data, make

from ur4rec.columns import USER
from ur4rec.models.config import FusionMethod
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import rank_users
from ur4rec.training.config import TrainingConfig
from ur4rec.training.fusion_fit import OFF, _ascend, _fit_scale, fit_fusion, place_new_items
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import Trainer, deterministic

__all__ = ["data"]


def gain(model: UR4RecV2MoE, data: Data) -> float:
    histories, targets = data
    return metrics_from_ranks(rank_users(ModelScorer(model, histories), targets, histories, 64))["ndcg@10"]


def test_a_scorer_that_only_misleads_is_left_out() -> None:
    # The first scorer ranks every target first, by one; the second, which is wider, ranks it last.
    scores = torch.zeros(4, 2, 5)
    scores[:, 0, 0], scores[:, 1, 1:] = 1.0, 3.0
    assert _ascend(scores, [True, True]).tolist() == [0.0, OFF]


def test_two_scorers_that_each_know_a_half_are_joined() -> None:
    # Targets 0 and 1 are told from the others by the first scorer alone; 2 and 3 by the second, against the first.
    scores = torch.zeros(4, 2, 30)
    scores[:2, 0, 0], scores[2:, 1, 0], scores[2:, 0, 1:] = 1.0, 1.0, 0.4
    powers = _ascend(scores, [True, True])
    assert powers[0] == 0
    assert powers[1] > -1.4


def test_what_is_off_stays_off() -> None:
    scores = torch.zeros(4, 2, 30)
    scores[:, 1, 0] = 1.0
    assert _ascend(scores, [True, False]).tolist() == [0.0, OFF]


def test_the_scale_is_the_likeliest() -> None:
    generator = torch.Generator().manual_seed(0)
    fused = torch.randn(200, 6, generator=generator)
    fused[:, 0] += 1

    def loss(scale: torch.Tensor) -> float:
        return float(-(fused * scale).log_softmax(dim=1)[:, 0].mean())

    best = _fit_scale(fused)
    assert loss(best) <= min(loss(best * 0.97), loss(best * 1.03))


@pytest.mark.parametrize("method", [FusionMethod.LEARNED, FusionMethod.ADAPTIVE])
def test_it_ranks_no_worse_than_the_configured_weights_and_each_scorer_alone(data: Data, method: FusionMethod) -> None:
    alone = {"sasrec_weight": 1e-3, "retriever_weight": 1e-3, "content_weight": 1e-3}
    fields: dict[str, Any] = {"fusion_method": method, "cooccurrence_neighbors": 0}
    fitted = make(**fields, content_weight=0.5)
    fit_fusion(fitted.eval(), *data)
    found = gain(fitted, data)
    assert found >= gain(make(**fields, content_weight=0.5), data)
    for name in alone:
        assert found >= gain(make(**fields, **(alone | {name: 1.0})), data)


def test_fixed_weights_stay(data: Data) -> None:
    model = make(fusion_method="weighted", sasrec_weight=0.7, retriever_weight=0.2).eval()
    before = model.fusion.get_buffer("weights").clone()
    fit_fusion(model, *data)
    assert torch.equal(model.fusion.get_buffer("weights"), before)


def test_joint_finetuning_begins_with_the_fitted_weights(data: Data) -> None:
    starts = []
    for start in ("configured", "fitted"):
        model = make(fusion_start=start, content_weight=0.5)
        config = TrainingConfig(epochs_per_stage=1, batch_size=8)
        with deterministic(1):
            record = Trainer(model, *data, PLANS["joint_finetune"], config).run(lambda entry, usage: None)
        starts.append(record.series[0]["ndcg@10"])
    assert starts[1] >= starts[0]
    assert np.isfinite(model.fusion.log_weights.detach().numpy()).all()


def share_of_places(model: UR4RecV2MoE, data: Data, is_new: torch.Tensor) -> float:
    histories, targets = data
    scores = ModelScorer(model, histories)(targets[:, USER])
    scores[:, 0] = -1e9
    return float(is_new[scores.topk(10).indices].float().mean())


@pytest.mark.parametrize("share", [0.3, 1.0, 2.0])
def test_new_items_get_their_share_of_the_places(data: Data, share: float) -> None:
    model = make(new_item_share=share, seen_items="include").eval()
    is_trained = model.retriever.encoder.get_buffer("is_trained")
    is_trained[[3, 8, 11, 17]] = False
    place_new_items(model, *data)
    wanted = share * 4 / model.num_items
    assert share_of_places(model, data, ~is_trained) == pytest.approx(wanted, abs=0.6 / len(data[1]))


def test_the_offset_moves_new_items_alone(data: Data) -> None:
    model, without = make(new_item_share=0.5).eval(), make().eval()
    without.load_state_dict({name: value for name, value in model.state_dict().items() if "new_item" not in name})
    for each in (model, without):
        each.retriever.encoder.get_buffer("is_trained")[5] = False
    place_new_items(model, *data)
    users = data[1][:, USER]
    difference = ModelScorer(model, data[0])(users) - ModelScorer(without, data[0])(users)
    offset = model.fusion.get_buffer("new_item_offset")
    assert offset != 0
    assert torch.allclose(difference[:, 5], offset.expand(len(users)), atol=1e-4)
    difference[:, 5] = 0
    assert float(difference[:, 1:].abs().max()) < 1e-5


def test_without_new_items_nothing_is_raised(data: Data) -> None:
    model = make(new_item_share=0.5).eval()
    place_new_items(model, *data)
    assert model.fusion.get_buffer("new_item_offset") == 0
