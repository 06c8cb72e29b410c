from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_experiments import VARIANTS, write_yaml

from ur4rec.config import load_config
from ur4rec.config_section import ConfigError
from ur4rec.experiments.variants import Ablation, Variant, configure, load_variants
from ur4rec.experiments.yaml_files import ExperimentError


def test_the_shipped_variants_change_what_they_name() -> None:
    variants, base = load_variants(), load_config()
    configs = {name: configure(name, variant, base) for name, variant in variants.items()}
    assert [name for name, config in configs.items() if config == base] == ["full", "fusion_adaptive"]
    assert configs["ur4rec_moe_memory"].system == "UR4RecMoEMemory"
    assert configs["retriever_off"].retriever_weight == 0
    for expert in ("user_preference", "item_description", "item_embedding"):
        assert configs[f"expert_{expert}"].moe_experts == (expert,)
    for control in ("shuffled", "random", "absent"):
        assert configs[f"text_{control}"].text_control == control
    alone = variants["tuned_sasrec"]
    assert (alone.part, alone.stage, alone.settings) == ("sasrec", "pretrain_sasrec", {"sasrec_item_factors": 0})
    assert configs["full"] == base
    assert configs["no_moe"].moe_num_proxies == 0
    assert configs["no_memory"].max_memory_size == 0
    assert {name: str(config.fusion_method) for name, config in configs.items() if name.startswith("fusion")} == {
        f"fusion_{method}": method for method in ("weighted", "learned", "adaptive")
    }


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"moe_num_proxy": 0}, ConfigError, "variant v: unknown key 'moe_num_proxy', did you mean 'moe_num_proxies'"),
        ({"decay_factor": 7}, ConfigError, "variant v: decay_factor"),
        ({"moe_num_heads": 3}, ConfigError, "variant v: retriever_output_dim 64 is not a multiple of moe_num_heads 3"),
        ({"min_rating": 3}, ExperimentError, "variant v: min_rating: no training stage reads it"),
        ({"seed": 3}, ExperimentError, "variant v: seed: .*--seeds"),
        ({"seen_items": "include"}, ExperimentError, "variant v: seen_items: is what all are measured by"),
    ],
)
def test_settings_that_change_nothing_or_are_wrong_are_refused(
    settings: dict[str, int], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        configure("v", Variant(description="", settings=settings), load_config())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": {"settings": {}}}, "a.description"),
        ({"a": {"description": "", "part": "some"}}, "a.part.*'fused'"),
        ({"a": {"description": "", "stage": "end"}}, "a.stage.*'end_to_end'"),
        ({"a": {"description": "", "setings": {}}}, "a.setings"),
        ({"a/b": {"description": ""}}, "a/b"),
        ({"sasrec": {"description": ""}}, "sasrec: is the name of a row"),
        (["a"], "valid dictionary"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, values: dict[str, Any] | list[str], message: str) -> None:
    path = write_yaml(tmp_path / "v.yaml", values)
    with pytest.raises(ExperimentError, match=message) as error:
        load_variants(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stage": "joint_finetune"}, "variant v: stage joint_finetune: system UR4RecMoEMemory has pretrain_"),
        ({"part": "sasrec"}, "variant v: part sasrec: system UR4RecMoEMemory has no SASRec"),
    ],
)
def test_a_stage_or_part_that_the_system_lacks_is_refused(fields: dict[str, str], message: str) -> None:
    variant = Variant(description="", settings={"system": "UR4RecMoEMemory"}, **fields)
    with pytest.raises(ExperimentError, match=message):
        configure("v", variant, load_config())


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("a: [")
    with pytest.raises(ExperimentError, match=r"v\.yaml: cannot be read as YAML"):
        load_variants(tmp_path / "v.yaml")


def test_a_variant_given_twice_is_named_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("a:\n  description: one\na:\n  description: two\n")
    with pytest.raises(ExperimentError, match=r"v\.yaml: .*: a: given in line 1 and again in line 3"):
        load_variants(tmp_path / "v.yaml")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"only": ["ful"]}, "--only ful: no such variant; expected one of full, no_memory, first_stage"),
        ({"reference": "all"}, "--reference all: no such variant"),
        ({"metric": "ndcg"}, "--metric ndcg: expected one of hit@1"),
        ({"seeds": [1, 1]}, "--seeds 1 1: expected"),
        ({"seeds": []}, "--seeds none: expected at least one"),
    ],
)
def test_a_wrong_choice_is_named(choice: dict[str, Any], message: str) -> None:
    variants = {name: Variant(**values) for name, values in VARIANTS.items()}
    with pytest.raises(ExperimentError, match=message):
        replace(Ablation(variants, seeds=[1]), **choice).check()


def test_the_reference_is_always_trained() -> None:
    ablation = Ablation({}, [1], only=["b"], reference="a")
    assert [ablation.is_selected(name) for name in "abc"] == [True, True, False]
    assert Ablation({}, [1]).is_selected("c")
