import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from toy_experiments import STAGE, VARIANTS, write_yaml
from typer.testing import CliRunner, Result

from ur4rec.cli import app
from ur4rec.commands.console import INTERRUPTED, OptionError
from ur4rec.commands.experiments import read_seeds
from ur4rec.config import Config
from ur4rec.experiments.ablation_table import AblationTable
from ur4rec.experiments.stage_cache import StageInputs, plan_stages
from ur4rec.experiments.tune import Tuning
from ur4rec.training.config import StageConfig

pytest_plugins = ["finished_experiments"]
runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def invoke(*arguments: Any) -> Result:
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folders(
    sequences: Path, embeddings: Path, config: Config, variants_file: Path, space_file: Path, tmp_path: Path
) -> dict[str, Any]:
    return {
        "data": (sequences, embeddings),
        "config": ("--config", write_yaml(tmp_path / "config.yaml", config.to_dict())),
        "variants": ("--variants", variants_file),
        "space": ("--space", space_file, "--stage", STAGE),
    }


@pytest.mark.parametrize("command", ["ablate", "tune"])
def test_help_has_an_example(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"ur4rec {command}" in result.output.partition("For example")[2]


@pytest.mark.parametrize("command", ["ablate", "tune"])
def test_the_data_decide_once_for_all_that_is_compared(
    folders: dict[str, Any], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The base is settled before a variant or a trial differs from it, and keeps what was given."""
    left = write_yaml(tmp_path / "left.yaml", config.to_dict() | {"max_seq_len": "auto", "batch_size": "auto"})
    bases: list[Config] = []

    def stop(*given: Any) -> None:
        bases.append(given[3])
        raise KeyboardInterrupt

    monkeypatch.setattr(f"ur4rec.experiments.{command}.{command}", stop)
    options = folders["space"] if command == "tune" else folders["variants"]
    result = invoke(
        command, *folders["data"], "--config", left, "--set", "batch_size=9", *options, "-o", tmp_path / "o"
    )
    assert result.exit_code == INTERRUPTED
    assert f"{command}: settings from the data\n  max_seq_len  {bases[0].max_seq_len}  90 % of" in result.stdout
    assert not bases[0].left_to_data
    assert bases[0].to_dict() == config.to_dict() | {"max_seq_len": bases[0].max_seq_len, "batch_size": 9}


@pytest.mark.parametrize("seeds", [("--seeds", 1, 2), ("--seeds", "1,2"), ("--seeds", "2")], ids=str)
def test_a_finished_ablation_is_shown_again(
    ablated: tuple[Path, AblationTable], folders: dict[str, Any], tmp_path: Path, seeds: tuple[Any, ...]
) -> None:
    shutil.copytree(ablated[0], tmp_path / "out")
    options = (*folders["config"], *folders["variants"], *seeds, "-o", tmp_path / "out", "--device", "cpu")
    result = invoke("ablate", *folders["data"], *options)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "no_memory" in line)
    assert str(ablated[1].rows[1].validation) in row
    assert "plays: all 24 test targets" in result.stdout
    caution = "a claim needs at least 5 seeds, and there are fewer of full 2, no_memory 2, first_stage 2, sasrec 2"
    assert caution in result.stdout
    assert caution in (tmp_path / "out/ablation.md").read_text()
    assert json.loads((tmp_path / "out/ablation.json").read_text()) == ablated[1].model_dump(mode="json")


def test_a_failing_unit_is_named_and_the_others_finish(
    ablated: tuple[Path, AblationTable], folders: dict[str, Any], config: Config, inputs: StageInputs, tmp_path: Path
) -> None:
    """One unit is missing, and a file stands where a stage of a new variant should go."""
    out = tmp_path / "out"
    shutil.copytree(ablated[0], out)
    unit = json.loads((out / "units/no_memory/seed_2/unit.json").read_text())
    shutil.rmtree(out / "units/no_memory/seed_2")
    fields = {"seed": 1, "moe_num_proxies": 1}
    changed = StageConfig.parse(config.narrow(StageConfig).to_dict() | fields)
    plan_stages(out / "stages", inputs, changed, "pretrain_retriever")[-1].folder.write_text("in the way")
    blocked = {"description": "Fails", "settings": {"moe_num_proxies": 1}, "stage": "pretrain_retriever"}
    variants = write_yaml(tmp_path / "variants.yaml", {"blocked": blocked} | VARIANTS)
    before = {path: path.stat().st_mtime_ns for path in out.glob("stages/*/checkpoint/*")}

    options = (*folders["config"], "--variants", variants, "--seeds", 1, 2, "--jobs", 1, "--device", "cpu", "-o", out)
    result = invoke("ablate", *folders["data"], *options)

    assert result.exit_code == 1
    assert "failed: blocked, seed 1: FileExistsError" in result.stderr
    assert "progress ablate" in result.stdout
    assert "FileExistsError" in (out / "units/blocked/seed_1.log").read_text()
    table = json.loads((out / "ablation.json").read_text())
    assert {row["name"]: row["seeds"] for row in table["rows"]}["blocked"] == [2]
    assert {row["name"]: row["seeds"] for row in table["rows"]}["no_memory"] == [1, 2]
    assert list(table["failures"]) == ["blocked, seed 1"]
    again = json.loads((out / "units/no_memory/seed_2/unit.json").read_text())
    assert {name: again[name] for name in ("test", "stages")} == {name: unit[name] for name in ("test", "stages")}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_finished_tuning_is_shown_again(tuned: tuple[Path, Tuning], folders: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(tuned[0], tmp_path / "out")
    options = (*folders["config"], *folders["space"], "--trials", 2, "-o", tmp_path / "out", "--device", "cpu")
    result = invoke("tune", *folders["data"], *options)
    assert result.exit_code == 0, result.output
    assert "best of 2 trials, 0 more given up early" in result.stdout
    assert f"{tuned[1].trials[0].value:.4f}" in result.stdout
    assert "importance: after 39 more complete trials; of fewer it would be noise" in result.stdout
    assert "the base configuration is no trial" not in result.stdout


def test_a_grid_in_the_form_of_the_guide_is_gone_through(folders: dict[str, Any], tmp_path: Path) -> None:
    space = write_yaml(tmp_path / "grid.yaml", {"sasrec_dropout": [0.1, 0.3], "sasrec_num_blocks": [1, 2]})
    where = (*folders["config"], "--space", space, "--stage", "pretrain_sasrec", "-o", tmp_path / "out")
    result = invoke("tune", *folders["data"], *where, "--device", "cpu", "--grid", "--trials", 3)
    assert "best of 3 trials" in result.stdout, result.output
    result = invoke("tune", *folders["data"], *where, "--device", "cpu", "--grid")
    assert result.exit_code == 0, result.output
    assert "best of 4 trials" in result.stdout
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/out/study.db")
    tried = [tuple(trial.params.values()) for trial in study.trials]
    assert tried == [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2)]
    other = invoke("tune", *folders["data"], *where, "--device", "cpu")
    assert other.exit_code == 2
    assert "holds trials with another way to search, --grid or not" in other.stderr


def test_a_base_configuration_outside_of_the_space_is_told(
    tuned: tuple[Path, Tuning], folders: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(tuned[0], tmp_path / "out")
    options = (*folders["config"], *folders["space"], "--set", "interaction_threshold=20", "--set", "decay_factor=0.9")
    result = invoke("tune", *folders["data"], *options, "--trials", 2, "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "the base configuration is no trial" in line]
    assert line.endswith("outside of the space: interaction_threshold 20")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ablate", "--only", "nothing"), "--only nothing: no such variant; expected one of full"),
        (("ablate", "--seeds", "few"), "--seeds few: expected whole numbers"),
        (("ablate", "--seeds", "0"), "--seeds 0: expected how many, at least 1"),
        (("ablate", "--seeds", "4294967296,"), "--seeds: seed: Input should be less than or equal to 4294967295"),
        (("ablate", "--set", "sasrec_num_heads=3"), "sasrec_hidden_dim 64 is not a multiple of sasrec_num_heads 3"),
        (("tune", "--set", "sasrec_hidden_dim=15"), "sasrec_hidden_dim 15 is not a multiple of sasrec_num_heads 2"),
        (("ablate", "--metric", "auc"), "--metric auc"),
        (("ablate", "--set", "seeds=3"), "did you mean 'seed'?"),
        (("tune", "--metric", "auc"), "--metric auc"),
        (("tune", "--stage", "pretrain_sasrec"), "the stages up to pretrain_sasrec do not read it"),
        (("tune", "--stage", "last"), "'last' is not one of"),
    ],
    ids=str,
)
def test_errors_are_one_line_and_exit_code_2(
    sequences: Path, embeddings: Path, tmp_path: Path, arguments: tuple[str, str, str], message: str
) -> None:
    command, *options = arguments
    result = invoke(command, sequences, embeddings, "-o", tmp_path / "out", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "a", "1 -2", "1.5"])
def test_seeds_are_whole_numbers(text: str) -> None:
    with pytest.raises(OptionError, match="--seeds"):
        read_seeds(text)


def test_one_number_counts_and_several_are_seeds() -> None:
    assert [read_seeds(text) for text in ("3", "4,7", "0,", "5 6")] == [[1, 2, 3], [4, 7], [0], [5, 6]]


def test_more_seeds_than_anybody_trains_are_refused() -> None:
    with pytest.raises(
        OptionError, match=r"--seeds 4294967295: expected how many, at most 1,000; .* is --seeds 4294967295,"
    ):
        read_seeds("4294967295")
    assert read_seeds("4294967295,") == [4294967295]
