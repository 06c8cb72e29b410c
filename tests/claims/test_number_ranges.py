"""Every number that a configuration accepts reaches its task as it is, and is taken by the library that reads it."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from field_effects import (
    MODEL,
    SAMPLED,
    TIME,
    TOY,
    World,
    see_embeddings,
    see_encoded_at_once,
    see_limits,
    see_results,
    see_scored_at_once,
    see_service,
    see_shards,
    see_stages,
    see_texts,
)
from kfp import compiler, dsl
from optuna.samplers import TPESampler
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.local_run import LocalRun, execute
from pipelines.resources import Resources
from ur4rec.config import Config
from ur4rec.config_section import LARGEST_WHOLE, ConfigError, ConfigSection
from ur4rec.models.config import WIDEST, ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.registry.gate.rules import GateRules, load_rules
from ur4rec.terminal import PlainConsole
from ur4rec.training.cooccurrence import item_factors
from ur4rec.training.trainer import deterministic

BASES: dict[type[ConfigSection], dict[str, Any]] = {
    Config: {},
    GateRules: load_rules().to_dict(),
    Resources: {"cpu_request": "1", "cpu_limit": "1", "memory_request": "1Gi", "memory_limit": "1Gi", "timeout_s": 60},
}
FITTING = {
    "sasrec_hidden_dim": {"sasrec_num_heads": 1},
    "sasrec_num_heads": {"sasrec_hidden_dim": WIDEST},
    "retriever_output_dim": {"moe_num_heads": 1},
    "moe_num_heads": {"retriever_output_dim": WIDEST},
}
"""Width or heads → what goes with any value of them."""
DATA = {"min_seq_len", "drop_last"}
"""Of which a large value leaves no user."""
MEMORY = {"num_candidates", "bootstrap_samples", "num_negatives"}
"""Arrays of that length are made whatever the data are; their limits are lower for that."""
UNENDING = {"epochs_per_stage", "patience"}
FLOATS = [0.1, -0.0, 5e-324, 1e-7, 123456789.123456789, sys.float_info.max, sys.float_info.min, float(2**60)]


def is_whole(field: FieldInfo) -> bool:
    return field.annotation in (int, int | None)


def list_limits(section: type[ConfigSection]) -> Iterator[tuple[str, int, int]]:
    """Every field of whole numbers, with the smallest and the largest."""
    for name, field in section.model_fields.items():
        if is_whole(field):
            lows = [limit.ge for limit in field.metadata if hasattr(limit, "ge")]
            highs = [limit.le for limit in field.metadata if hasattr(limit, "le")]
            yield name, lows[0] if lows else -LARGEST_WHOLE, highs[0] if highs else LARGEST_WHOLE


LIMITS = [(section, *limits) for section in BASES for limits in list_limits(section)]


@pytest.mark.parametrize(
    ("section", "name", "low", "high"), LIMITS, ids=lambda value: str(getattr(value, "__name__", value))
)
def test_a_whole_number_is_accepted_within_its_limits_and_refused_beyond(
    section: type[ConfigSection], name: str, low: int, high: int
) -> None:
    base = BASES[section] | FITTING.get(name, {})
    assert [getattr(section.parse(base | {name: value}), name) for value in (low, high)] == [low, high]
    for value, limit in ((low - 1, low), (high + 1, high), (2**64, high), (10**40, high)):
        with pytest.raises(ConfigError) as refused:
            section.parse(base | {name: value})
        assert name in str(refused.value)
        assert str(limit) in str(refused.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, ".nan", ".inf", "1e400"])
def test_every_float_is_finite(value: Any) -> None:
    for section, base in BASES.items():
        for name, field in section.model_fields.items():
            if field.annotation in (float, float | None):
                with pytest.raises(ConfigError, match=name):
                    section.parse(base | {name: value})


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def receive(whole: int, settings: dict[str, Any], received: dsl.Output[dsl.Artifact]) -> None:
    import json
    from pathlib import Path

    Path(received.path).write_text(json.dumps({"whole": whole, "settings": settings}))


@dsl.pipeline(name="numbers")
def numbers(whole: int, settings: dict[str, Any]) -> dsl.Artifact:
    return receive(whole=whole, settings=settings).outputs["received"]


def test_what_is_accepted_arrives_unchanged(tmp_path: Path) -> None:
    """Through kfp itself, as all settings are one parameter of the pipeline."""
    ends = [dict(limits[0:3:2] for limits in list_limits(Config)), dict(limits[:2] for limits in list_limits(Config))]
    sections = [Config.parse(end) for end in ends]
    rules = GateRules.parse(BASES[GateRules] | {name: high for name, _, high in list_limits(GateRules)})
    rules = rules.model_copy(update={"margin_by_users": {0: 0.1, 2**60 + 1: 0.1}})
    settings: dict[str, Any] = {
        "sections": [section.to_dict() for section in sections],
        "rules": rules.model_dump(mode="json"),
    }
    del settings["rules"]["test_digest"]  # kfp carries no None
    for section in settings["sections"]:
        for name in [name for name, value in section.items() if value is None]:
            del section[name]
    compiler.Compiler().compile(numbers, str(tmp_path / "numbers.yaml"))
    run = LocalRun(
        pipeline=tmp_path / "numbers.yaml",
        arguments={"whole": LARGEST_WHOLE, "settings": settings | {"floats": FLOATS}},
        environment={},
        pipeline_root=tmp_path / "root",
        output_dir=tmp_path / "out",
    )
    (output,) = execute(run, PlainConsole(quiet=True)).outputs.values()
    received = json.loads(output.read_bytes())
    assert received["whole"] == LARGEST_WHOLE
    assert list(map(repr, received["settings"]["floats"])) == list(map(repr, FLOATS))
    assert [Config.parse(section) for section in received["settings"]["sections"]] == sections
    assert load_rules(overrides=received["settings"]["rules"]) == rules


@pytest.mark.parametrize(
    "seed", [low_or_high for name, *ends in list_limits(Config) if name == "seed" for low_or_high in ends]
)
def test_every_library_takes_the_seed(seed: int) -> None:
    from scipy.sparse import csr_array

    with deterministic(seed):
        torch.rand(1)
    np.random.default_rng(seed)
    TPESampler(seed=seed)
    assert item_factors(csr_array(np.ones((4, 4))), 2, seed).shape == (4, 2)


def test_the_limit_of_the_seed_is_that_of_the_strictest_library() -> None:
    with pytest.raises(ValueError, match=r"2\*\*32 - 1"):
        np.random.RandomState(2**32)


def test_counts_at_their_limits_end_no_task(tmp_path: Path) -> None:
    world = World(tmp_path)
    counts = {name: high for name, _, high in list_limits(Config) if name not in ModelConfig.model_fields}
    counts |= {
        name: LARGEST_WHOLE for name in ("cooccurrence_neighbors", "cooccurrence_window", "interaction_threshold")
    }
    counts |= {"time_threshold_s": LARGEST_WHOLE}
    settings = {name: high for name, high in counts.items() if name not in DATA | MEMORY | UNENDING}
    for see, given in (
        (see_stages, {"patience": LARGEST_WHOLE}),
        (see_stages, TIME),
        (see_results, SAMPLED),
        (see_scored_at_once, {}),
        (see_texts, {}),
        (see_embeddings, {}),
        (see_encoded_at_once, {}),
        (see_service, MODEL),
        (see_limits, MODEL),
        (see_shards, MODEL),
    ):
        assert see(world, Config.parse(TOY | settings | given)) is not None


@pytest.mark.parametrize("name", [name for name, *_ in list_limits(ModelConfig)])
def test_a_model_can_have_every_shape(name: str) -> None:
    """On torch's device without memory."""
    high = next(high for other, _, high in list_limits(ModelConfig) if other == name)
    with torch.device("meta"):
        UR4RecV2MoE(9, 9, ModelConfig.parse(FITTING.get(name, {}) | {name: high}))


def test_data_whose_name_no_file_takes_are_refused(tmp_path: Path) -> None:
    plays = tmp_path / "pl\udcffays.csv"  # a byte that is no UTF-8
    plays.write_text("user_id,item_id,timestamp\n")
    result = CliRunner().invoke(app, ["run", "--data", str(plays), "--pipeline-root", str(tmp_path / "root")])
    assert result.exit_code == 2
    assert "ays.csv: dataset_name: holds a character that files and databases do not take" in result.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("command", ["run", "submit", "schedule create"])
@pytest.mark.parametrize(("name", "value"), [("candidate_seed", 2**53 + 1), ("seed", 2**32), ("weight_decay", ".inf")])
def test_no_command_starts_with_a_number_out_of_range(
    command: str, name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays.csv").write_text("user_id,item_id,timestamp\n")
    options = ["--data", "plays.csv"] if command == "run" else ["--data", "gs://b/plays", "--tracking-uri", "http://m"]
    options += ["--cron", "@daily", "nightly"] if command.startswith("schedule") else []
    result = CliRunner().invoke(app, [*command.split(), *options, "--set", f"{name}={value}"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert name in line
    assert not (tmp_path / "outputs").exists()
