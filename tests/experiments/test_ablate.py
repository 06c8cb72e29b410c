import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from ur4rec.config import Config
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.baselines import Baselines
from ur4rec.evaluation.comparison import rank_systems
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.experiments.ablate import ablate, gather_units, measure_baselines
from ur4rec.experiments.ablation_table import AblationTable
from ur4rec.experiments.stage_cache import StageInputs
from ur4rec.experiments.units import CODE, Unit, run_unit
from ur4rec.experiments.variants import Ablation, Variant, configure, load_variants
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.code_digest import find_sources
from ur4rec.training.checkpoints import load_model
from ur4rec.training.scoring import ModelScorer

METRIC = "ndcg@10"


@pytest.fixture
def ablation(variants_file: Path) -> Ablation:
    return Ablation(load_variants(variants_file), seeds=[1, 2])


def read_unit(folder: Path, name: str, seed: int) -> dict[str, Any]:
    unit: dict[str, Any] = json.loads((folder / "units" / name / f"seed_{seed}" / "unit.json").read_text())
    return unit


def test_every_unit_has_a_row_in_the_tables(ablated: tuple[Path, AblationTable]) -> None:
    folder, table = ablated
    assert table.failures == {}
    assert [(row.name, row.seeds) for row in table.rows] == [
        ("full", [1, 2]),
        ("no_memory", [1, 2]),
        ("first_stage", [1, 2]),
        ("sasrec", [1, 2]),
        ("recency_ease", []),
        ("popularity", []),
    ]
    assert AblationTable.model_validate_json((folder / "ablation.json").read_bytes()) == table
    text = (folder / "ablation.md").read_text()
    assert f"| no_memory | 2 | {table.rows[1].validation} |" in text
    assert "* `no_memory`: Without memory (`max_memory_size: 0`)." in text


def test_rows_hold_the_metrics_of_the_units(ablated: tuple[Path, AblationTable]) -> None:
    folder, table = ablated
    for row in table.rows[:3]:
        units = [read_unit(folder, row.name, seed) for seed in (1, 2)]
        for horizon, spread in (("validation", row.validation), ("test", row.test[METRIC])):
            values = [unit[horizon][METRIC] for unit in units]
            assert spread.mean == pytest.approx(sum(values) / 2)
            assert spread.std == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


@pytest.mark.parametrize(
    ("name", "stage", "part"), [("full", "end_to_end", "fused"), ("first_stage", "pretrain_sasrec", "sasrec")]
)
def test_ranks_are_those_of_the_trained_stage(
    ablated: tuple[Path, AblationTable], sequences: Path, name: str, stage: str, part: Literal["fused", "sasrec"]
) -> None:
    folder, _ = ablated
    unit = read_unit(folder, name, 2)
    data = load_sequences(sequences)
    seen = data.histories("test")
    model = load_model(folder / "stages" / unit["stages"][stage] / "checkpoint")
    expected = rank_users(ModelScorer(model, seen, part), data.test, seen, 256)
    with np.load(folder / "units" / name / "seed_2" / "ranks.npz") as ranks:
        assert np.array_equal(ranks["test.model"], expected)
    assert unit["test"] == metrics_from_ranks(expected)


def test_the_first_stage_is_trained_once_a_seed(ablated: tuple[Path, AblationTable]) -> None:
    """Both workers need it at once: one trains, the other waits."""
    folder, _ = ablated
    stages = [json.loads(path.read_text())["stage"] for path in folder.glob("stages/*/key.json")]
    assert {stage: stages.count(stage) for stage in stages} == {
        "pretrain_sasrec": 2,
        "pretrain_retriever": 4,
        "joint_finetune": 4,
        "end_to_end": 4,
    }
    logs = [path.read_text() for path in folder.glob("units/*/seed_1.log")]
    assert sum("progress pretrain_sasrec" in log for log in logs) == 1


def test_the_row_sasrec_is_the_first_stage_of_the_reference(ablated: tuple[Path, AblationTable]) -> None:
    folder, table = ablated
    rows = {row.name: row for row in table.rows}
    assert rows["sasrec"].test == rows["first_stage"].test
    assert rows["sasrec"].difference == rows["first_stage"].difference
    assert rows["first_stage"].expert_weights == {}
    assert sum(rows["full"].expert_weights.values()) == pytest.approx(1)
    assert set(read_unit(folder, "first_stage", 1)["stages"]) == {"pretrain_sasrec"}


def test_baselines_are_those_of_the_evaluation(ablated: tuple[Path, AblationTable], sequences: Path) -> None:
    _, table = ablated
    data = load_sequences(sequences)
    ranks = rank_systems(data, Baselines(data, EvaluationConfig()), "test", 256)
    for row in table.rows[-2:]:
        assert row.test[METRIC].mean == pytest.approx(metrics_from_ranks(ranks[row.name])[METRIC])


def test_baselines_follow_the_rule_for_seen_items(sequences: Path) -> None:
    data = load_sequences(sequences)
    measured, _ = measure_baselines(data, EvaluationConfig(), excludes_seen=False)
    assert list(measured) == ["again", "recency_ease", "popularity"]
    ranks = rank_users(Baselines(data, EvaluationConfig())(data.histories("test"))["popularity"], data.test, None, 256)
    assert np.array_equal(measured["popularity"].test[0], ranks)


def test_the_long_tail_has_a_table_of_its_own(ablated: tuple[Path, AblationTable], sequences: Path) -> None:
    folder, table = ablated
    assert table.dataset.num_long_tail == 24
    assert [row.name for row in table.long_tail] == [row.name for row in table.rows]
    # Every test target is rare, so the test metrics are the same; the validation targets are others.
    assert table.long_tail[0].test == table.rows[0].test
    assert table.long_tail[0].validation != table.rows[0].validation
    assert "the 24 test targets with fewer than 10 training interactions" in (folder / "ablation.md").read_text()


def test_differences_by_target_count_stand_below(ablated: tuple[Path, AblationTable]) -> None:
    folder, table = ablated
    assert [list(row.by_target_count) for row in table.rows] == [["0"]] * len(table.rows)
    for row in table.rows:
        assert row.by_target_count["0"].num_targets == table.dataset.num_targets
        assert row.by_target_count["0"].difference == row.difference
    assert "| variant | 0 (24 targets) |" in (folder / "ablation.md").read_text()


def test_a_finished_ablation_trains_nothing(
    ablated: tuple[Path, AblationTable], sequences: Path, embeddings: Path, config: Config, ablation: Ablation
) -> None:
    folder, table = ablated
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*s/**/*")}
    ended = []
    again = ablate(sequences, embeddings, folder, config, ablation, 2, "cpu", lambda *unit: ended.append(unit))
    assert again == table
    assert ended == []
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*s/**/*")} == before


def test_a_variant_that_is_left_out_keeps_its_row(
    ablated: tuple[Path, AblationTable],
    sequences: Path,
    embeddings: Path,
    config: Config,
    ablation: Ablation,
    tmp_path: Path,
) -> None:
    shutil.copytree(ablated[0], tmp_path / "copy")
    chosen = replace(ablation, only=["no_memory"], reference="no_memory")
    table = ablate(sequences, embeddings, tmp_path / "copy", config, chosen, 1, "cpu")
    rows = {row.name: row for row in table.rows}
    assert rows["no_memory"].difference is None
    expected = {row.name: row for row in ablated[1].rows}["no_memory"].difference
    difference = rows["full"].difference
    assert difference is not None
    assert expected is not None
    assert difference.value == pytest.approx(-expected.value)


def test_a_unit_counts_for_its_settings_and_inputs_only(
    ablated: tuple[Path, AblationTable], config: Config, inputs: StageInputs, ablation: Ablation
) -> None:
    def unit(inputs: StageInputs = inputs, **fields: Any) -> Unit:
        values = config.to_dict() | {"seed": 1} | fields
        return Unit("full", ablation.variants["full"], Config.parse(values), ablated[0], inputs)

    assert unit().record() is not None
    assert unit(eval_batch_size=3).record() is not None
    assert unit(retriever_lr=0.1).record() is None
    assert unit(replace(inputs, code="changed")).record() is None
    assert unit(seed=3).record() is None


def test_other_code_that_ranks_or_measures_makes_units_again() -> None:
    sources = find_sources(CODE)
    assert sources.keys() >= {f"ur4rec/ranking/{name}.py" for name in ("ranks", "metrics")}
    assert sources.keys() >= {f"ur4rec/{name}.py" for name in ("evaluation/comparison", "experiments/units")}


def test_an_altered_unit_is_not_trusted(
    ablated: tuple[Path, AblationTable], config: Config, inputs: StageInputs, ablation: Ablation, tmp_path: Path
) -> None:
    shutil.copytree(ablated[0] / "units", tmp_path / "units")
    unit = Unit("full", ablation.variants["full"], Config.parse(config.to_dict() | {"seed": 1}), tmp_path, inputs)
    assert unit.record() is not None
    (unit.folder / "ranks.npz").write_bytes(b"")
    assert unit.record() is None


def test_another_protocol_is_refused(
    sequences: Path, embeddings: Path, config: Config, ablation: Ablation, tmp_path: Path
) -> None:
    sampled = config.model_copy(update={"eval_protocol": "sampled"})
    with pytest.raises(ExperimentError, match="eval_protocol: sampled"):
        ablate(sequences, embeddings, tmp_path, sampled, ablation)


def test_a_reference_without_sasrec_has_no_row_of_it(
    sequences: Path, config: Config, inputs: StageInputs, tmp_path: Path
) -> None:
    variant = Variant(description="No SASRec", settings={"system": "UR4RecMoEMemory"})
    unit = Unit("full", variant, configure("full", variant, config), tmp_path, inputs)
    record = run_unit(unit)
    assert list(record.stages) == ["pretrain_retriever", "end_to_end"]
    measured = gather_units({unit: record}, Ablation({"full": variant}, [config.seed]))
    assert list(measured) == ["full"]
    data = load_sequences(sequences)
    seen = data.histories("test")
    model = load_model(tmp_path / "stages" / record.stages["end_to_end"] / "checkpoint")
    assert np.array_equal(measured["full"].test[0], rank_users(ModelScorer(model, seen), data.test, seen, 256))
    assert json.loads((unit.folder / "unit.json").read_text())["expert_weights"]["user_preference"] == 0
