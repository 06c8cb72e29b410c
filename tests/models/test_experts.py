from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ur4rec.models.config import Expert, RetrieverConfig
from ur4rec.models.experts import EXPERTS, Context, make_experts
from ur4rec.models.tensor_files import TensorFileError
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE

BEFORE = {
    "sentence_norm.weight": "user_preference.norm.weight",
    "sentence_norm.bias": "user_preference.norm.bias",
    "sentence_query.weight": "user_preference.query.weight",
    "sentence_query.bias": "user_preference.query.bias",
    "sentence_key.weight": "user_preference.key.weight",
    "sentence_value.weight": "user_preference.value.weight",
    "sentence_value.bias": "user_preference.value.bias",
    "description_norm.weight": "item_description.norm.weight",
    "description_norm.bias": "item_description.norm.bias",
    "description_expert.distance_bias": "item_description.attention.distance_bias",
    "description_expert.query.weight": "item_description.attention.query.weight",
    "description_expert.query.bias": "item_description.attention.query.bias",
    "description_expert.key.weight": "item_description.attention.key.weight",
    "description_expert.value.weight": "item_description.attention.value.weight",
    "description_expert.value.bias": "item_description.attention.value.bias",
    "description_expert.output.weight": "item_description.attention.output.weight",
    "description_expert.output.bias": "item_description.attention.output.bias",
    "embedding_norm.weight": "item_embedding.norm.weight",
    "embedding_norm.bias": "item_embedding.norm.bias",
    "embedding_expert.distance_bias": "item_embedding.attention.distance_bias",
    "embedding_expert.query.weight": "item_embedding.attention.query.weight",
    "embedding_expert.query.bias": "item_embedding.attention.query.bias",
    "embedding_expert.key.weight": "item_embedding.attention.key.weight",
    "embedding_expert.value.weight": "item_embedding.attention.value.weight",
    "embedding_expert.value.bias": "item_embedding.attention.value.bias",
    "embedding_expert.output.weight": "item_embedding.attention.output.weight",
    "embedding_expert.output.bias": "item_embedding.attention.output.bias",
}
"""Every tensor of the experts in a file from before they had a table → its present name."""
ENCODER = "retriever.encoder."
SMALL = {"sasrec_hidden_dim": 8, "retriever_output_dim": 8, "memory_dim": 4, "max_seq_len": 6, "text_components": 5}
Weights = Mapping[str, Tensor]
Load = Callable[[UR4RecV2MoE, Weights], object]
THREE = (Expert.USER_PREFERENCE, Expert.ITEM_DESCRIPTION, Expert.ITEM_EMBEDDING)
CONFIG = RetrieverConfig(retriever_output_dim=8)


def make(seed: int = 0, **fields: Any) -> UR4RecV2MoE:
    torch.manual_seed(seed)
    model = UR4RecV2MoE(num_items=9, num_users=2, **(SMALL | fields)).eval()
    offsets, snapshots = torch.tensor([0, 2]), torch.tensor([[1, 1]])
    model.retriever.encoder.text.fill(torch.randn(10, 5), torch.randn(2, 5), offsets, snapshots, 2)
    return model


def make_context(**fields: Any) -> Context:
    """One user, four positions; the second sentence exists from position 2 on, the first never."""
    generator = torch.Generator().manual_seed(1)
    is_readable = torch.tensor([[False, step >= 2] for step in range(4)])[None]
    identity, described = torch.randn(2, 1, 4, 8, generator=generator)
    sentences = torch.randn(1, 2, 8, generator=generator)
    given = {"identity": identity, "described": described, "has_text": True, "sentences": sentences}
    return Context(**(given | {"is_readable": is_readable, "last": None} | fields))


def test_every_expert_has_a_class() -> None:
    assert list(EXPERTS) == list(Expert)
    assert list(make_experts(CONFIG, 6)) == list(Expert)


@pytest.mark.parametrize(
    ("expert", "field", "positions"),
    [
        (Expert.USER_PREFERENCE, "sentences", [2, 3]),
        (Expert.ITEM_DESCRIPTION, "described", [1, 2, 3]),
        (Expert.ITEM_EMBEDDING, "identity", [1, 2, 3]),
    ],
)
def test_an_expert_reads_one_thing_and_never_the_future(expert: Expert, field: str, positions: list[int]) -> None:
    module = make_experts(CONFIG, 6)[expert].eval()
    query, context = torch.randn(1, 4, 8), make_context()
    before, available = module(query, context)
    assert available.shape == (1, 4)
    for other in ("sentences", "described", "identity"):
        changed = getattr(context, other).clone()
        changed[:, 1] += torch.randn(8)  # the second sentence, or the second item
        after, _ = module(query, make_context(**{other: changed}))
        moved = (after != before).any(dim=2)[0].nonzero().squeeze(1).tolist()
        assert moved == (positions if other == field else [])


def test_an_expert_says_where_there_is_something_to_read() -> None:
    experts, query = make_experts(CONFIG, 6), torch.randn(1, 4, 8)

    def available(**fields: Any) -> dict[str, list[bool]]:
        return {name: experts[name](query, make_context(**fields))[1][0].tolist() for name in THREE}

    everywhere, nowhere = [True] * 4, [False] * 4
    expected = {"user_preference": [False, False, True, True]}
    expected |= {"item_description": everywhere, "item_embedding": everywhere}
    assert available() == expected
    assert available(has_text=False) == expected | {"item_description": nowhere}
    unread = torch.zeros(1, 4, 2, dtype=torch.bool)
    assert available(is_readable=unread) == expected | {"user_preference": nowhere}


def test_an_expert_without_anything_to_read_says_nothing() -> None:
    output, _ = make_experts(CONFIG, 6)["user_preference"].eval()(torch.randn(1, 4, 8), make_context())
    assert not output[:, :2].any()
    assert output[:, 2:].all()


def as_before(state: Weights) -> dict[str, Tensor]:
    """The same weights under the names of a file from before, which knows three experts."""
    names = {f"{ENCODER}experts.{after}": f"{ENCODER}{before}" for before, after in BEFORE.items()}
    renamed = {names.get(name, name): tensor for name, tensor in state.items()}
    assert len(renamed.keys() - state.keys()) == len(BEFORE)
    assert not any(f".experts.{expert}." in name for name in renamed for expert in THREE)
    return renamed


def score(model: UR4RecV2MoE) -> Tensor:
    scores: Tensor = model(torch.tensor([1, 2]), torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]))[0]
    return scores


def load_checked(model: UR4RecV2MoE, state: Weights) -> None:
    model.load_weights(Path("weights.pt"), state)


@pytest.mark.parametrize("load", [load_checked, nn.Module.load_state_dict])
def test_weights_from_before_the_table_of_experts_are_read(load: Load) -> None:
    trained, model = make(moe_experts=THREE), make(seed=1, moe_experts=THREE)
    state = as_before(trained.state_dict())
    names = list(state)
    load(model, state)
    assert torch.equal(score(model), score(trained))
    assert list(state) == names  # the caller's dictionary is left as it is


@pytest.mark.parametrize("load", [load_checked, nn.Module.load_state_dict])
@pytest.mark.parametrize("missing", list(Expert))
def test_a_model_from_before_an_expert_was_added_scores_as_it_did(load: Load, missing: Expert) -> None:
    used = tuple(expert for expert in Expert if expert != missing)
    trained = make(moe_experts=used)
    torch.nn.init.normal_(trained.retriever.encoder.mixture.router.bias)
    rows = torch.tensor([place for place, expert in enumerate(Expert) if expert != missing])
    state = {name: tensor for name, tensor in trained.state_dict().items() if f".experts.{missing}." not in name}
    for name in (f"{ENCODER}mixture.router.weight", f"{ENCODER}mixture.router.bias"):
        state[name] = state[name][rows]
    model = make(seed=1, moe_experts=used)
    load(model, state)
    assert torch.equal(score(model), score(trained))


def test_an_expert_that_takes_part_must_be_in_the_file() -> None:
    state = {name: tensor for name, tensor in make().state_dict().items() if ".experts.item_embedding." not in name}
    with pytest.raises(TensorFileError, match=r"experts\.item_embedding\.attention\.distance_bias: missing"):
        make().load_weights(Path("weights.pt"), state)
