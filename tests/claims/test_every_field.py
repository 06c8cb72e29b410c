"""Every field of the configuration, changed where it applies, changes something that can be seen.

What is seen never holds the configuration itself: manifests and results are looked at without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from field_effects import (
    DRIFT,
    MODEL,
    OF_MLFLOW,
    SAMPLED,
    TIME,
    TOY,
    World,
    see_address,
    see_damaged_file,
    see_embeddings,
    see_encoded_at_once,
    see_encoded_file,
    see_failures,
    see_first,
    see_limits,
    see_new_items,
    see_opponents,
    see_own_columns,
    see_place_of_answers,
    see_prices,
    see_promotion,
    see_registration,
    see_results,
    see_scored_at_once,
    see_second,
    see_sequences,
    see_service,
    see_shards,
    see_spending,
    see_stages,
    see_start,
    see_texts,
    see_third,
    see_unreadable_texts,
)

from ur4rec.config import Config


@dataclass(frozen=True)
class Change:
    """Another value of a field, where it is seen, and what must be set for it to be read."""

    value: Any
    see: Callable[[World, Config], Any]
    given: dict[str, Any] = field(default_factory=dict)


LONGER = {"epochs_per_stage": 2, "finetune_lr_scale": 1.0, "adaptive_switch_threshold": 9.0}
OWN = {"time_unit": "day_first", "min_seq_len": 3}
CHANGES = {
    # preprocess_sequences
    "dataset_name": Change("another", see_sequences),
    "min_rating": Change(3, see_sequences),
    "min_seq_len": Change(6, see_sequences),
    "k_core": Change(True, see_sequences),
    "split": Change("time", see_sequences),
    "time_split_quantile": Change(0.6, see_sequences, {"split": "time"}),
    "drop_last": Change(1, see_sequences),
    "new_items": Change("include", see_new_items),
    "bad_rows": Change("exclude", see_damaged_file),
    "encoding": Change("cp1252", see_encoded_file),
    "columns": Change({"item_id": "other"}, see_own_columns, OWN),
    "time_unit": Change("month_first", see_own_columns, OWN | {"literal_item_ids": ("NA",)}),
    "events": Change(("buy",), see_own_columns, OWN | {"literal_item_ids": ("NA",)}),
    "literal_item_ids": Change(("NA",), see_own_columns, OWN),
    # generate_text, encode_text
    "snapshot_base": Change(4, see_texts),
    "text_provider": Change("openai", see_service, MODEL | {"text_base_url": "http://127.0.0.1:1"}),
    "text_model": Change("qwen-plus", see_service, MODEL),
    "text_base_url": Change("http://127.0.0.1:2", see_address),
    "text_user_prompt": Change("user.yaml", see_service, MODEL),
    "text_item_prompt": Change("item.yaml", see_service, MODEL),
    "text_temperature": Change(0.5, see_service, MODEL),
    "text_request_fields": Change({"top_p": 0.5}, see_service, MODEL),
    "text_cache": Change("elsewhere", see_place_of_answers, MODEL),
    "text_concurrency": Change(2, see_service, MODEL),
    "text_requests_per_minute": Change(10, see_limits, MODEL),
    "text_tokens_per_minute": Change(10, see_limits, MODEL),
    "text_timeout_s": Change(1.0, see_limits, MODEL),
    "text_max_attempts": Change(1, see_limits, MODEL),
    "text_max_failed_share": Change(1.0, see_failures, MODEL),
    "text_budget": Change(0.0, see_spending, MODEL),
    "text_prices": Change("prices.yaml", see_prices, MODEL),
    "texts_per_shard": Change(20, see_shards, MODEL),
    "text_model_name": Change("encoder_b", see_embeddings),
    "text_batch_size": Change(7, see_encoded_at_once),
    "max_sentences": Change(1, see_embeddings),
    "unreadable_texts": Change("accept", see_unreadable_texts, {"text_model_name": "encoder_of_no_word"}),
    # pretrain_sasrec
    "sasrec_hidden_dim": Change(12, see_first),
    "sasrec_num_blocks": Change(2, see_first),
    "sasrec_num_heads": Change(1, see_first),
    "sasrec_dropout": Change(0, see_first),
    "sasrec_item_factors": Change(3, see_first),
    "max_seq_len": Change(4, see_first),
    "seen_items": Change("include", see_first),
    "num_negatives": Change(5, see_first),
    "batch_size": Change(5, see_first),
    "epochs_per_stage": Change(2, see_first),
    "patience": Change(2, see_first, {"epochs_per_stage": 3, "sasrec_lr": 1e-12, "patience": 1}),
    "sasrec_lr": Change(0.02, see_first),
    "weight_decay": Change(0.5, see_first),
    "warmup_share": Change(0.9, see_first),
    "gradient_clip": Change(1e-5, see_first),
    "ema_decay": Change(0, see_first),
    "windows_per_user": Change("all", see_first),
    "random_window_share": Change(1, see_first),
    "shuffle_ties": Change(False, see_first),
    "precision": Change("bf16", see_stages),
    "seed": Change(43, see_first),
    # pretrain_retriever
    "system": Change("UR4RecV2", see_second),
    "text_control": Change("shuffled", see_second),
    "retriever_output_dim": Change(12, see_second),
    "moe_num_heads": Change(1, see_second),
    "moe_dropout": Change(0, see_second),
    "moe_num_proxies": Change(3, see_second),
    "moe_experts": Change(("item_embedding",), see_second),
    "text_components": Change(3, see_second),
    "text_whitening": Change(0.5, see_second),
    "id_dropout": Change(0.5, see_second),
    "id_bound": Change(0.5, see_second),
    "alignment_weight": Change(0.5, see_second),
    "load_balance_weight": Change(0.5, see_second),
    "retriever_lr": Change(0.02, see_second),
    "memory_dim": Change(5, see_second),
    "max_memory_size": Change(3, see_second),
    "update_trigger": Change("explicit", see_second),
    "interaction_threshold": Change(3, see_second),
    "drift_threshold": Change(1.5, see_second, DRIFT),
    "time_threshold_s": Change(100, see_second, TIME),
    "decay_factor": Change(0.5, see_second),
    # joint_finetune
    "finetune_lr_scale": Change(1, see_third),
    "finetune_patience": Change(
        1, see_third, {"epochs_per_stage": 3, "patience": 3, "finetune_lr_scale": 1e-12, "finetune_patience": 2}
    ),
    "adaptive_switch_threshold": Change(0, see_third, LONGER),
    "adaptive_min_steps": Change(1, see_third, LONGER),
    "fusion_method": Change("weighted", see_third),
    "sasrec_weight": Change(0.9, see_third),
    "retriever_weight": Change(0.9, see_third),
    "cooccurrence_weight": Change(0.9, see_third),
    "content_weight": Change(0.9, see_third),
    "content_age_decay": Change(0.2, see_third, {"content_weight": 0.5}),
    "fusion_start": Change("fitted", see_third),
    "new_item_share": Change(0.5, see_third),
    "cooccurrence_neighbors": Change(3, see_third),
    "cooccurrence_window": Change(1, see_third),
    "cooccurrence_gap_decay": Change(0.5, see_third),
    "cooccurrence_smoothing": Change(1, see_third),
    "cooccurrence_age_decay": Change(0.5, see_third),
    # evaluate
    "eval_protocol": Change("sampled", see_results),
    "num_candidates": Change(2, see_results, SAMPLED),
    "candidate_seed": Change(7, see_results, SAMPLED),
    "baselines": Change(("popularity",), see_results),
    "ease_max_items": Change(3, see_results),
    "eval_batch_size": Change(5, see_scored_at_once),
    "bootstrap_samples": Change(150, see_results),
    # register_model
    "registered_model_name": Change("another", see_registration),
    "experiment_name": Change("another", see_registration),
    "challenger_alias": Change("candidate", see_registration),
    # gate_model
    "champion_alias": Change("another", see_opponents),
    "anchor_alias": Change("another", see_opponents),
    # promote_model
    "promote_automatically": Change(True, see_promotion),
    # resolve_warm_start
    "warm_start": Change("challenger", see_start),
}


OF_REGISTRY = {see_registration, see_opponents, see_promotion, see_start}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def test_no_field_is_left_out() -> None:
    assert CHANGES.keys() == Config.model_fields.keys()


def marks(name: str) -> list[pytest.MarkDecorator]:
    return OF_MLFLOW if CHANGES[name].see in OF_REGISTRY else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in CHANGES])
def test_a_change_is_seen(world: World, name: str) -> None:
    change = CHANGES[name]
    base = Config.parse(TOY | change.given)
    changed = Config.parse(TOY | change.given | {name: change.value})
    assert getattr(base, name) != getattr(changed, name)
    assert change.see(world, changed) != change.see(world, base)


def test_nothing_is_seen_without_a_change(world: World, tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    again = World(tmp_path)
    for see in {change.see for change in CHANGES.values()} - OF_REGISTRY:
        assert str(see(again, again.base)).replace(str(tmp_path), str(world.folder)) == str(see(world, world.base))
