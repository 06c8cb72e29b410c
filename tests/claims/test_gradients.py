"""In every stage exactly the intended parameters get gradients and move; none of them is dead."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from present import present
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.models.config import Expert, FusionMethod, System, UpdateTrigger
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.training.config import TrainingConfig
from ur4rec.training.stages import plans_of
from ur4rec.training.trainer import Trainer

NUM_USERS, NUM_ITEMS, LENGTH = 16, 20, 12
FIRING = tuple(trigger for trigger in UpdateTrigger if trigger is not UpdateTrigger.EXPLICIT)
FUSION = {
    FusionMethod.WEIGHTED: (),
    FusionMethod.LEARNED: ("fusion.log_weights",),
    FusionMethod.ADAPTIVE: ("fusion.log_weights", "fusion.gate."),
}
FUSED = [(method, FIRING[0]) for method in FUSION] + [(FusionMethod.ADAPTIVE, trigger) for trigger in FIRING[1:]]
"""Neither reads the other."""
ENCODERS = ("sasrec.", "retriever.")
SENTENCES = ("sentence_projection.", "experts.user_preference.")
LATER = tuple(f"experts.{expert}." for expert in list(Expert)[3:])
"""Experts that were added after the smaller systems, which have none of them."""
SWITCHED_OFF = {
    System.V2: ("experts.item_embedding.", *LATER),
    System.MOE_MEMORY: (*SENTENCES, *LATER),
}
"""Parts of the experts that a system leaves out."""


@pytest.fixture(scope="module")
def histories() -> Histories:
    """Every user walks through the items in order, with a step aside now and then, an hour an item."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 1, 1, 2, 5], (NUM_USERS, LENGTH)).cumsum(1)
    items = (np.arange(NUM_USERS)[:, None] + steps) % NUM_ITEMS + 1
    times = np.tile(np.arange(LENGTH) * 3600, NUM_USERS)
    offsets = np.concatenate([[0], np.arange(NUM_USERS + 1) * LENGTH])
    return Histories(offsets, items.ravel(), times)


def make(**fields: Any) -> UR4RecV2MoE:
    torch.manual_seed(0)
    sizes = {"sasrec_hidden_dim": 8, "retriever_output_dim": 8, "memory_dim": 6, "max_seq_len": 8, "text_components": 4}
    memory = {"max_memory_size": 2, "interaction_threshold": 2, "time_threshold_s": 7200, "drift_threshold": 0.5}
    model = UR4RecV2MoE(NUM_ITEMS, NUM_USERS, sasrec_item_factors=6, **(sizes | memory | fields))
    if model.sasrec is not None:
        model.sasrec.start_from(torch.randn(NUM_ITEMS + 1, 8))
    snapshots = torch.tensor([[user, 4] for user in range(1, NUM_USERS + 1)])
    offsets = 2 * torch.arange(NUM_USERS + 1)
    text = torch.randn(NUM_ITEMS + 1, 6), torch.randn(2 * NUM_USERS, 6), offsets, snapshots
    model.retriever.encoder.text.fill(*text, NUM_USERS)
    return model


def train(histories: Histories, model: UR4RecV2MoE, stage: str, **fields: Any) -> tuple[list[set[str]], set[str]]:
    """Names of the parameters with a non-zero gradient in each step, and of those that have moved in the end."""
    # The weights decay wherever there is a gradient, a zero one too, so what moves without decay has learned.
    fields = {"adaptive_min_steps": 2, "adaptive_switch_threshold": 9.0, "weight_decay": 0.0} | fields
    config = TrainingConfig(batch_size=8, epochs_per_stage=5 if stage == "joint_finetune" else 2, **fields)
    trainer = Trainer(model, histories, np.empty((0, 3), np.int64), plans_of(model.config)[stage], config)
    steps: defaultdict[int, set[str]] = defaultdict(set)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for name, value in model.named_parameters():

        def note(value: Tensor, name: str = name) -> None:
            if present(value.grad).any():
                steps[trainer.step].add(name)

        is_active = value.requires_grad
        value.requires_grad_(True).register_post_accumulate_grad_hook(note)
        value.requires_grad_(is_active)
    for _ in range(config.epochs_per_stage):
        trainer._train_epoch()
    moved = {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}
    return [steps[step] for step in range(trainer.step)], moved


def intended(model: UR4RecV2MoE, prefixes: tuple[str, ...]) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


def assert_trained(model: UR4RecV2MoE, steps: list[set[str]], moved: set[str], prefixes: tuple[str, ...]) -> None:
    expected = intended(model, prefixes)
    alive = set().union(*steps)
    assert sorted(expected - alive) == []  # the dead
    assert sorted(alive - expected) == []
    assert sorted(moved ^ expected) == []


def test_the_first_stage_trains_sasrec(histories: Histories) -> None:
    model = make()
    assert_trained(model, *train(histories, model, "pretrain_sasrec"), ("sasrec.", "fusion.sasrec_log_temperature"))


@pytest.mark.parametrize("num_negatives", [0, 5])
@pytest.mark.parametrize("trigger", FIRING)
def test_the_second_stage_trains_the_retriever_and_its_memory(
    histories: Histories, trigger: UpdateTrigger, num_negatives: int
) -> None:
    model = make(update_trigger=trigger)
    steps, moved = train(histories, model, "pretrain_retriever", num_negatives=num_negatives)
    assert_trained(model, steps, moved, ("retriever.", "fusion.retriever_log_temperature"))


@pytest.mark.parametrize(("method", "trigger"), FUSED)
def test_the_third_stage_trains_both_encoders_in_turn(
    histories: Histories, method: FusionMethod, trigger: UpdateTrigger
) -> None:
    model = make(fusion_method=method, update_trigger=trigger)
    steps, moved = train(histories, model, "joint_finetune")
    assert_trained(model, steps, moved, ENCODERS)
    active = [{name.split(".")[0] for name in names} for names in steps]
    # Two means of two losses each, then it is the other's turn.
    assert active == [{("sasrec", "retriever")[step // 4 % 2]} for step in range(len(steps))]


@pytest.mark.parametrize(("method", "trigger"), FUSED)
def test_the_fourth_stage_trains_everything_that_is_fused(
    histories: Histories, method: FusionMethod, trigger: UpdateTrigger
) -> None:
    model = make(fusion_method=method, update_trigger=trigger)
    assert_trained(model, *train(histories, model, "end_to_end"), (*ENCODERS, *FUSION[method]))


@pytest.mark.parametrize("stage", ["joint_finetune", "end_to_end"])
def test_a_sample_of_the_catalogue_trains_the_same(histories: Histories, stage: str) -> None:
    model = make()
    extra = FUSION[FusionMethod.ADAPTIVE] if stage == "end_to_end" else ()
    assert_trained(model, *train(histories, model, stage, num_negatives=5), (*ENCODERS, *extra))


@pytest.mark.parametrize("system", list(SWITCHED_OFF))
def test_of_a_smaller_system_only_the_experts_it_leaves_out_are_dead(histories: Histories, system: System) -> None:
    model = make(system=system)
    steps, _ = train(histories, model, "end_to_end")
    fusion = FUSION[FusionMethod.ADAPTIVE] if model.sasrec is not None else ("fusion.retriever_log_temperature",)
    off = tuple(f"retriever.encoder.{name}" for name in SWITCHED_OFF[system])
    expected = intended(model, (*ENCODERS, *fusion))
    assert sorted(expected - set().union(*steps)) == sorted(intended(model, off))
