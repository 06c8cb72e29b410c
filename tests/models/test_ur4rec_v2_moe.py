from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from present import present

from ur4rec.config_section import ConfigError
from ur4rec.models import retriever_moe_memory
from ur4rec.models.config import Expert, FusionMethod, ModelConfig, Part, System
from ur4rec.models.content import content_users
from ur4rec.models.cooccurrence import NeighborTables
from ur4rec.models.retriever_moe_memory import MemoryConfig, UpdateTrigger, Window
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import Runs, UserMemory

SMALL = {
    "sasrec_hidden_dim": 8,
    "retriever_output_dim": 8,
    "memory_dim": 6,
    "max_seq_len": 12,
    "interaction_threshold": 3,
    "text_components": 5,
}
LENGTH = 12
THREE = (Expert.USER_PREFERENCE, Expert.ITEM_DESCRIPTION, Expert.ITEM_EMBEDDING)


def make(**fields: Any) -> UR4RecV2MoE:
    torch.manual_seed(0)
    model = UR4RecV2MoE(num_items=30, num_users=4, **(SMALL | fields))
    generator = torch.Generator().manual_seed(1)
    if model.sasrec is not None:
        model.sasrec.start_from(torch.randn(31, 128, generator=generator))
    if model.cooccurrence is not None:
        neighbors = torch.randint(0, 31, (1, 31, 4), generator=generator)
        model.cooccurrence.fill(NeighborTables(neighbors, torch.rand(1, 31, 4, generator=generator)))
    # User 1 has texts as of 2 and 5 interactions, user 3 as of 4; two sentences each.
    model.retriever.encoder.text.fill(
        torch.randn(31, 5, generator=generator),
        torch.randn(6, 5, generator=generator),
        torch.tensor([0, 2, 4, 6]),
        torch.tensor([[1, 2], [1, 5], [3, 4]]),
        num_users=4,
    )
    return model.eval()


def memory_of(model: UR4RecV2MoE) -> UserMemory:
    memory = model.retriever.memory
    assert memory is not None
    return memory


@pytest.fixture
def window() -> Window:
    generator = torch.Generator().manual_seed(2)
    items = torch.randint(1, 31, (3, LENGTH), generator=generator)
    items[2, 7:] = 0
    times = torch.arange(LENGTH).expand(3, -1) * 3600
    return Window(torch.tensor([1, 2, 3]), items, times, torch.zeros(3, dtype=torch.int64))


def vectors(model: UR4RecV2MoE, window: Window, part: Part = Part.FUSED) -> torch.Tensor:
    memory = model.retriever.memory
    state = None if memory is None else memory.empty_state(len(window.items))
    return model.user_vectors(model.encode(window, state, part), part)


@pytest.mark.parametrize("part", list(Part))
@pytest.mark.parametrize("trigger", list(UpdateTrigger))
@pytest.mark.parametrize("slots", [0, 3])
def test_the_future_moves_no_earlier_position(window: Window, part: Part, trigger: UpdateTrigger, slots: int) -> None:
    model = make(update_trigger=trigger, max_memory_size=slots, time_threshold_s=7200)
    before = vectors(model, window, part)
    for position in (1, 4, 8):
        items, times = window.items.clone(), window.timestamps.clone()
        items[:2, position:] = items[:2, position:] % 30 + 1
        times[:, position:] += 10**6
        after = vectors(model, Window(window.user_ids, items, times, window.starts), part)
        assert torch.equal(before[:, :position], after[:, :position])
        assert not torch.allclose(before[:2, position:], after[:2, position:])


def test_texts_are_read_only_by_targets_they_precede(window: Window) -> None:
    model = make()
    before = vectors(model, window, Part.RETRIEVER)
    model.retriever.encoder.text.sentences[2:4] += 3  # user 1's text as of 5 interactions
    moved = (vectors(model, window, Part.RETRIEVER) - before).abs().sum(-1) > 0
    # Position t predicts interaction t + 1; the text is written from interactions 0 to 4.
    assert moved[0].tolist() == [position + 1 >= 5 for position in range(LENGTH)]
    assert not moved[1:].any()


def test_expert_weights_leave_out_what_cannot_be_read(window: Window) -> None:
    weights = make().encode(window, memory_of(make()).empty_state(3)).expert_weights
    assert weights is not None
    assert torch.allclose(weights.sum(-1), torch.ones(3, LENGTH))
    assert (weights[0, :, 0] > 0).tolist() == [position + 1 >= 2 for position in range(LENGTH)]
    assert not weights[1, :, 0].any()


def test_no_proxies_is_a_plain_average(window: Window) -> None:
    model = make(moe_num_proxies=0, moe_experts=THREE)
    weights = model.encode(window, memory_of(model).empty_state(3)).expert_weights
    assert weights is not None
    assert torch.allclose(weights[0, 6, :3], torch.full((3,), 1 / 3))
    assert torch.allclose(weights[1, 6, :3], torch.tensor([0, 0.5, 0.5]))
    assert not any("router" in name or "proxies" in name for name in model.state_dict())


@pytest.mark.parametrize("method", list(FusionMethod))
def test_fused_score_is_the_weighted_sum_of_the_parts(window: Window, method: FusionMethod) -> None:
    model = make(fusion_method=method, sasrec_weight=0.7, retriever_weight=0.2)
    with torch.no_grad():
        model.fusion.sasrec_log_temperature.add_(0.3)
    parts = [vectors(model, window, part) @ model.items(part).vectors().T for part in (Part.SASREC, Part.RETRIEVER)]
    fused = vectors(model, window) @ model.items().vectors().T
    assert torch.allclose(fused, 0.7 * parts[0] + 0.2 * parts[1], atol=1e-5)


def test_adaptive_gate_depends_on_the_user(window: Window) -> None:
    model = make(fusion_method="adaptive")
    torch.nn.init.normal_(model.fusion.gate.weight)
    encoded = model.encode(window, memory_of(model).empty_state(3))
    assert encoded.sasrec is not None
    assert encoded.retriever is not None
    assert model.fusion.weigh(encoded.sasrec, encoded.retriever)[:, 5, 0].unique().numel() == 3


def test_gradients_reach_every_parameter(window: Window) -> None:
    model = make(fusion_method="adaptive")
    torch.nn.init.normal_(model.fusion.gate.weight)
    encoded = model.encode(window, memory_of(model).empty_state(3))
    logits = model.user_vectors(encoded)[window.items > 0] @ model.items().vectors().T
    torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 30 + 1).backward()
    dead = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert dead == []


def replayed(model: UR4RecV2MoE, items: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    lengths = (items > 0).sum(1)
    starts = lengths.cumsum(0) - lengths
    flat = items > 0
    state = model.retriever.replay(Runs(items[flat], times[flat], starts, lengths))
    assert state is not None
    memory_of(model).store(torch.tensor([1, 2, 3]), state)
    return lengths


def test_stored_memory_scores_like_a_fresh_scan(window: Window) -> None:
    model = make(cooccurrence_neighbors=0)
    fresh = vectors(model, window)
    lengths = replayed(model, window.items, window.timestamps)
    scores, _ = model(window.user_ids, window.items, timestamps=window.timestamps)
    expected = fresh[torch.arange(3), lengths - 1] @ model.items().vectors().T
    assert torch.allclose(scores, expected, atol=1e-5)


def test_nothing_is_absorbed_twice_and_reading_changes_nothing(window: Window) -> None:
    model = make()
    replayed(model, window.items, window.timestamps)
    before = {name: tensor.clone() for name, tensor in model.memory_tensors().items()}
    read = memory_of(model).absorbed[window.user_ids]
    again = {"timestamps": window.timestamps, "seq_end": read, "update_memory": True}
    first, _ = model(window.user_ids, window.items, **again)
    second, _ = model(window.user_ids, window.items, **again)
    without, _ = model(window.user_ids, window.items, timestamps=window.timestamps)
    assert torch.equal(first, second)
    assert torch.equal(first, without)
    later = torch.tensor([20, 20, 20])
    model(window.user_ids, window.items, timestamps=window.timestamps, seq_end=later, update_memory=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.memory_tensors().items())
    model(window.user_ids, window.items, timestamps=window.timestamps, seq_end=later, update_memory=True)
    assert memory_of(model).absorbed[1:].tolist() == [20, 20, 20, 0]


def test_a_memory_is_not_updated_by_a_sequence_that_nothing_places(window: Window) -> None:
    model = make()
    nobody = torch.tensor([0, 99, -1])
    for users in (window.user_ids, nobody, nobody):  # who has no memory yet needs no seq_end
        model(users, window.items, timestamps=window.timestamps, update_memory=True)
    user = int(window.user_ids[0])
    before = {name: tensor.clone() for name, tensor in model.memory_tensors().items()}
    message = rf"update_memory: the memory of user {user} has read \d+ interactions; expected seq_end"
    with pytest.raises(ValueError, match=message):
        model(window.user_ids, window.items, timestamps=window.timestamps, update_memory=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.memory_tensors().items())


def test_the_memory_may_come_as_a_configuration_of_its_own() -> None:
    memory = MemoryConfig(memory_dim=6, max_memory_size=3, update_trigger=UpdateTrigger.DRIFT_THRESHOLD)
    model = UR4RecV2MoE(num_items=5, num_users=4, memory_config=memory, decay_factor=0.5, sasrec_hidden_dim=8)
    assert model.config.narrow(MemoryConfig) == memory.model_copy(update={"decay_factor": 0.5})
    assert memory_of(model).history.shape == (5, 3, 6)
    other = UR4RecV2MoE(5, 4, ModelConfig(sasrec_hidden_dim=16), memory_config=memory)
    assert (other.config.sasrec_hidden_dim, memory_of(other).history.shape) == (16, (5, 3, 6))


def test_counts_are_whole_numbers() -> None:
    model = make()
    model.update_memory(torch.tensor([1, 3]), torch.randn(2, 8), force=True)
    stats = model.get_memory_stats()
    assert stats == {"total_users": 4, "users_with_memory": 2, "avg_memory_size": 1, "avg_interaction_count": 0}
    assert [type(stats[name]) for name in ("total_users", "users_with_memory")] == [int, int]


def test_the_names_of_the_original_code_update_one_user() -> None:
    models = [make(), make()]
    given = torch.randn(8)
    models[0].update_memory(torch.tensor([3]), given[None], force=True)
    retriever = models[1].preference_retriever.moe_retriever
    row = retriever.get_user_memory(3)
    assert not row.memory_vector.any()
    retriever._update_memory(user_memory=row, current_repr=given, force=True)
    for name, tensor in models[0].memory_tensors().items():
        assert torch.equal(tensor, models[1].memory_tensors()[name])
    assert row.memory_vector.any()  # a view: it was there before
    assert row.memory_history.shape == (1, 6)
    assert row.memory_vector.data_ptr() == memory_of(models[1]).history[3].data_ptr()
    assert row.interaction_count == 0


def test_who_has_no_stored_memory_has_no_view() -> None:
    retriever = make().preference_retriever.moe_retriever
    with pytest.raises(ValueError, match="user_id 9: expected 1 to 4"):
        retriever.get_user_memory(9)
    with pytest.raises(ValueError, match="the model has no memory"):
        make(max_memory_size=0).preference_retriever.moe_retriever.get_user_memory(1)


def test_unknown_users_get_their_own_ephemeral_memory(window: Window) -> None:
    model = make(cooccurrence_neighbors=0)
    scores, _ = model(torch.tensor([0, 99, -1]), window.items, timestamps=window.timestamps, update_memory=True)
    assert model.get_memory_stats()["users_with_memory"] == 0
    nobody = Window(torch.zeros(3, dtype=torch.int64), window.items, window.timestamps, window.starts)
    expected = vectors(model, nobody)[torch.arange(3), (window.items > 0).sum(1) - 1]
    assert torch.allclose(scores, expected @ model.items().vectors().T, atol=1e-5)


def test_padding_side_and_overlong_histories(window: Window) -> None:
    model = make()
    padded = torch.cat([torch.zeros(3, 5, dtype=torch.int64), window.items], dim=1)
    assert torch.equal(model(window.user_ids, padded)[0], model(window.user_ids, window.items)[0])
    longer = torch.cat([torch.full((3, 5), 7), window.items], dim=1)
    longer[2] = 0
    assert model(torch.tensor([2, 2, 2]), longer)[0].shape == (3, 31)


def test_candidates_are_columns_of_the_catalogue(window: Window) -> None:
    model = make()
    everything, _ = model(window.user_ids, window.items)
    some, _ = model(window.user_ids, window.items, torch.tensor([[4, 9], [1, 2], [30, 5]]))
    assert torch.allclose(some[2], everything[2, [30, 5]], atol=1e-6)


def test_public_interface(tmp_path: Path, window: Window) -> None:
    trained = UR4RecV2MoE(num_items=1682, num_users=943, fusion_method="adaptive")
    trained.retriever.encoder.text.fill(
        torch.randn(1683, 384), torch.randn(6, 384), torch.tensor([0, 4, 6]), torch.tensor([[1, 2], [9, 5]]), 943
    )
    trained.update_memory(torch.tensor([1, 9]), torch.randn(2, 64), force=True)
    torch.save(trained.state_dict(), tmp_path / "final_model.pt")
    trained.save_memories(tmp_path / "final_memories.pt")

    model = UR4RecV2MoE(num_items=1682, num_users=943, fusion_method="adaptive")
    model.load_state_dict(torch.load(tmp_path / "final_model.pt"))
    model.load_memories(tmp_path / "final_memories.pt")
    arguments = {"user_ids": window.user_ids, "input_seq": window.items, "target_items": window.items}
    scores, info = model.eval()(**arguments, update_memory=False)
    expected, _ = trained.eval()(**arguments)
    assert torch.equal(scores, expected)
    assert info["expert_weights"].shape == (3, len(Expert))
    assert model.get_memory_stats()["users_with_memory"] == 2
    config = MemoryConfig(
        memory_dim=256,
        max_memory_size=15,
        update_trigger=UpdateTrigger.DRIFT_THRESHOLD,
        drift_threshold=0.25,
        decay_factor=0.9,
    )
    assert config.max_memory_size == 15


def test_many_users_are_updated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [make(), make()]
    users, given = torch.tensor([4, 1, 3]), torch.randn(3, 8)
    models[0].update_memory(users, given, force=True)
    monkeypatch.setattr(retriever_moe_memory, "USERS_AT_ONCE", 2)
    models[1].update_memory(users, given, force=True)
    assert memory_of(models[0]).memory_size.tolist() == [0, 1, 0, 1, 1]
    first, second = (memory_of(model).history for model in models)
    assert torch.allclose(first, second, atol=1e-6)


def test_memories_of_another_shape_are_refused(tmp_path: Path) -> None:
    make().save_memories(tmp_path / "memories.pt")
    with pytest.raises(
        ValueError, match=r"memories\.pt: history: expected float32 \(5, 2, 6\), found float32 \(5, 10, 6\)"
    ):
        make(max_memory_size=2).load_memories(tmp_path / "memories.pt")


def test_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'fusion_method'"):
        UR4RecV2MoE(num_items=3, num_users=2, fusion_methods="adaptive")


@pytest.mark.parametrize("trigger", list(UpdateTrigger))
@pytest.mark.parametrize("slots", [0, 3])
@pytest.mark.parametrize("part", list(Part))
def test_the_last_position_alone_is_what_all_positions_say_there(
    window: Window, part: Part, slots: int, trigger: UpdateTrigger
) -> None:
    model = make(max_memory_size=slots, update_trigger=trigger, time_threshold_s=7200)
    state = None if slots == 0 else memory_of(model).empty_state(3)
    last = torch.tensor([11, 4, 6])
    items = window.items.clone()
    items[1, 5:] = 0
    window = replace(window, items=items)
    every, one = model.encode(window, state, part), model.encode(window, state, part, last=last)
    expected, found = model.user_vectors(every, part), model.user_vectors(one, part)
    assert torch.allclose(expected[torch.arange(3), last], found[:, 0], atol=1e-6)
    if part is not Part.SASREC:
        assert every.expert_weights is not None
        assert one.expert_weights is not None
        assert torch.allclose(every.expert_weights[torch.arange(3), last], one.expert_weights[:, 0], atol=1e-6)
    if slots and part is not Part.SASREC:
        assert every.state is not None
        assert one.state is not None
        for whole, alone in zip(every.state.tensors(), one.state.tensors(), strict=True):
            assert torch.allclose(whole.double(), alone.double(), atol=1e-6)


@pytest.mark.parametrize("method", list(FusionMethod))
def test_the_co_occurrence_scorer_adds_its_weighted_logits(window: Window, method: FusionMethod) -> None:
    model = make(fusion_method=method, cooccurrence_weight=0.4)
    items = model.items().vectors()
    encoded = model.encode(window, memory_of(model).empty_state(3), last=torch.tensor([11, 11, 6]))
    alone = model.user_vectors(encoded)[:, 0] @ items.T
    fused = model.score_last(encoded, window, items)
    assert model.cooccurrence is not None
    assert torch.allclose(fused, alone + 0.4 * model.cooccurrence.last(window.items), atol=1e-5)


def test_a_co_occurrence_weight_of_zero_is_the_system_without_it(window: Window) -> None:
    with_scorer = make(fusion_method="weighted", cooccurrence_weight=0.0)
    without = make(fusion_method="weighted", cooccurrence_neighbors=0)
    without.load_state_dict({name: with_scorer.state_dict()[name] for name in without.state_dict()} | {
        "fusion.weights": with_scorer.fusion.get_buffer("weights")[:2]
    })  # fmt: skip
    scores = [model(window.user_ids, window.items)[0] for model in (with_scorer, without)]
    assert torch.equal(*scores)


@pytest.mark.parametrize("method", list(FusionMethod))
def test_the_content_scorer_adds_its_weighted_cosine(window: Window, method: FusionMethod) -> None:
    fields: dict[str, Any] = {"fusion_method": method, "cooccurrence_neighbors": 0}
    model, without = make(content_weight=0.4, **fields), make(**fields)
    model.load_state_dict(without.state_dict() | {
        name: value for name, value in model.state_dict().items() if name.startswith("fusion")
    })  # fmt: skip
    model.fusion.get_buffer("content_log_temperature").fill_(0.5)
    scores = [each(window.user_ids, window.items)[0] for each in (model, without)]
    texts = model.items().content
    assert texts is not None
    users = content_users(window.items, texts, 0.7, torch.tensor([11, 11, 6]))[:, 0]
    assert torch.allclose(scores[0], scores[1] + 0.4 * torch.tensor(-0.5).exp() * users @ texts.T, atol=1e-5)


def test_without_texts_the_content_scorer_says_nothing(window: Window) -> None:
    config = ModelConfig.parse(SMALL | {"content_weight": 0.4})
    model = UR4RecV2MoE(num_items=30, num_users=4, config=config).eval()
    assert model.items().content is None
    assert model(window.user_ids, window.items)[0].isfinite().all()


@pytest.mark.parametrize("method", list(FusionMethod))
@pytest.mark.parametrize("content", [0.0, 0.3])
def test_the_parts_add_up_to_the_fused_score(window: Window, method: FusionMethod, content: float) -> None:
    weights = {"sasrec_weight": 0.7, "retriever_weight": 0.2, "cooccurrence_weight": 0.4}
    model = make(fusion_method=method, content_weight=content, **weights)
    items, last = model.items(), torch.tensor([11, 11, 6])
    encoded = model.encode(window, memory_of(model).empty_state(3), items=items, last=last)
    parts = model.score_parts(encoded, window, items)
    expected = torch.tensor([*weights.values(), *([content] if content else [])])
    fused = model.score_last(encoded, window, items.vectors())
    assert torch.allclose(torch.einsum("s,bsn->bn", expected, parts), fused, atol=1e-5)


def test_a_bounded_id_vector_is_no_longer_than_its_share_of_the_text(window: Window) -> None:
    model, free = make(id_bound=0.5), make()
    with torch.no_grad():
        free.retriever.encoder.item_embedding.weight[1] = 0.001
    model.load_state_dict(free.state_dict())
    side, whole = (each.items(Part.RETRIEVER).retriever for each in (model, free))
    assert side is not None
    assert side.description is not None
    assert whole is not None
    assert torch.equal(side.identity[1], whole.identity[1])
    limits = 0.5 * side.description.norm(dim=1)
    assert (side.identity.norm(dim=1) <= limits * (1 + 1e-6)).all()
    is_short = whole.identity.norm(dim=1) < limits
    assert torch.equal(side.identity[is_short], whole.identity[is_short])
    assert torch.allclose(side.identity.norm(dim=1)[~is_short], limits[~is_short])
    assert (~is_short).any()


@pytest.mark.parametrize("system", list(System))
def test_every_system_scores_and_has_its_parts_only(window: Window, system: System) -> None:
    model = make(system=system)
    scores, info = model(window.user_ids, window.items, update_memory=True)
    assert scores.shape == (3, 31)
    assert (model.sasrec is None) == (system == "UR4RecMoEMemory")
    assert (model.retriever.memory is None) == (system == "UR4RecV2")
    assert (model.cooccurrence is None) == (system != "UR4RecV2MoE")
    first, second, third = THREE
    used = {"UR4RecV2MoE": set(Expert), "UR4RecV2": {first, second}, "UR4RecMoEMemory": {second, third}}[system]
    weights = dict(zip(Expert, info["expert_weights"][0].tolist(), strict=True))
    assert {name for name, weight in weights.items() if weight > 0} == used


def test_an_item_without_training_has_no_id_vector(window: Window) -> None:
    model = make()
    model.retriever.encoder.get_buffer("is_trained")[7] = False
    side = model.items(Part.RETRIEVER).retriever
    assert side is not None
    assert side.description is not None
    assert not side.identity[7].any()
    assert torch.equal(side.vectors()[7], side.description[7])


def test_dropped_ids_leave_the_text(window: Window) -> None:
    model = make(id_dropout=0.5)
    side = model.items(Part.RETRIEVER, drop_ids=True).retriever
    whole = model.items(Part.RETRIEVER).retriever
    assert side is not None
    assert whole is not None
    dropped = ~side.identity[1:].any(dim=1)
    assert 5 < dropped.sum() < 25
    assert torch.equal(whole.identity, model.retriever.encoder.item_embedding.weight)


def test_text_is_whitened() -> None:
    model = make()
    text = present(model.retriever.encoder.text.items())[1:].double()
    assert torch.allclose(text.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-2)
    assert torch.allclose(text.T @ text / 30, torch.eye(5, dtype=torch.float64), atol=1e-2)


def test_a_model_is_made_of_values() -> None:
    with pytest.raises(ConfigError, match=r"^max_seq_len, memory_dim: auto: a model needs values"):
        make(max_seq_len="auto", memory_dim="auto")
