from enum import EnumType
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from ur4rec.config import CONFIGS, SHIPPED, Config, load_config
from ur4rec.config_section import ConfigError
from ur4rec.models.config import MemoryConfig, UpdateTrigger


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_files_are_valid(path: Path) -> None:
    assert load_config(path)


def test_toy_goes_by_its_name() -> None:
    assert load_config(SHIPPED.parent / "toy.yaml") == load_config("toy")


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("max_seq_len: 20\nseed: 3\n")
    config = load_config(path, {"seed": "4", "update_trigger": "time_based", "min_rating": "3.5"})
    assert (config.max_seq_len, config.seed, config.min_rating) == (20, 4, 3.5)
    assert config.update_trigger is UpdateTrigger.TIME_BASED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_seq_length: 3", "unknown key 'max_seq_length', did you mean 'max_seq_len'"),
        ("- 3", "expected keys and values, found list"),
        ("a: [", "cannot be read as YAML"),
        ("dataset_name: 2024-13-45", "cannot be read as YAML: month must be in 1..12"),
        (f"seed: {'1' * 5000}", "cannot be read as YAML"),
        ("update_trigger: sometimes", "update_trigger"),
        ("sasrec_hidden_dim: 15", "sasrec_hidden_dim 15 is not a multiple of sasrec_num_heads 2; change one of them"),
        ("retriever_output_dim: 15", "retriever_output_dim 15 is not a multiple of moe_num_heads 2"),
        ("seed: 2\npatience: 4\nseed: 3", "cannot be read as YAML: seed: given in line 1 and again in line 3"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert str(error.value).startswith(str(path))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file.*toy, ur4rec_moe_100k"):
        load_config(tmp_path / "none.yaml")


ORIGINAL_GUIDE = """max_memory_size update_trigger interaction_threshold drift_threshold decay_factor moe_num_heads
moe_dropout moe_num_proxies fusion_method sasrec_weight retriever_weight batch_size epochs_per_stage patience
sasrec_hidden_dim sasrec_num_blocks sasrec_num_heads sasrec_dropout text_model_name retriever_output_dim max_seq_len
sasrec_lr retriever_lr adaptive_switch_threshold adaptive_min_steps num_negatives seed"""


def test_keys_of_the_original_guide_are_accepted() -> None:
    assert set(ORIGINAL_GUIDE.split()) <= set(load_config().to_dict())


def test_a_wrong_override_does_not_blame_the_file() -> None:
    with pytest.raises(ConfigError, match=r"^settings over toy: unknown key 'seeds', did you mean 'seed'"):
        load_config("toy", {"seeds": "3"})


def test_both_keys_of_a_width_may_be_overridden() -> None:
    config = load_config("toy", {"sasrec_hidden_dim": "15", "sasrec_num_heads": "3", "moe_num_heads": "1"})
    assert (config.sasrec_hidden_dim, config.sasrec_num_heads, config.moe_num_heads) == (15, 3, 1)


def list_choices() -> dict[str, tuple[str, ...]]:
    """Return every key whose value is one of some names."""
    choices: dict[str, tuple[str, ...]] = {}
    for key, field in Config.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, EnumType) or get_origin(kind) is Literal:
            choices[key] = tuple(kind) if isinstance(kind, EnumType) else get_args(kind)
    return choices


def test_every_choice_is_taken_in_any_case(tmp_path: Path) -> None:
    choices = list_choices()
    assert {"update_trigger", "fusion_method", "system", "split", "eval_protocol", "text_provider"} <= choices.keys()
    server = {"text_base_url": "http://localhost:8000/v1", "text_model": "toy"}
    for key, name in ((key, name) for key, names in choices.items() for name in names):
        needed = server if name == "openai" else {}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({key: name.upper()} | needed))
        assert getattr(load_config(tmp_path / "run.yaml"), key) == name
        for given in (name.upper(), name.lower(), name.title()):
            assert getattr(load_config("toy", {key: given} | needed), key) == name


@pytest.mark.parametrize("trigger", list(UpdateTrigger))
def test_triggers_are_taken_as_the_guide_spells_them(trigger: UpdateTrigger) -> None:
    assert MemoryConfig(update_trigger=trigger.name).update_trigger is trigger


def test_a_wrong_trigger_is_told_the_four() -> None:
    names = "'interaction_count', 'drift_threshold', 'time_based' or 'explicit'"
    with pytest.raises(ConfigError, match=f"update_trigger: Input should be {names}, got 'SOMETIMES'"):
        load_config("toy", {"update_trigger": "SOMETIMES"})
