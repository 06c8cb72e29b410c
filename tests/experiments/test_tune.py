import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from toy_experiments import STAGE

from ur4rec.config import Config, load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.sequences import PRODUCER, TEST, load_sequences
from ur4rec.experiments.search_space import Choices
from ur4rec.experiments.stage_cache import StageInputs, plan_stages
from ur4rec.experiments.study import open_study, rank_trials
from ur4rec.experiments.tune import Search, TrialRunner, Tuning, tune
from ur4rec.experiments.workers import Failure
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.artifacts import MANIFEST, read_artifact, write_artifact
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_names import STAGES


@pytest.fixture
def copy(tuned: tuple[Path, Tuning], tmp_path: Path) -> Path:
    shutil.copytree(tuned[0], tmp_path / "tuning")
    return tmp_path / "tuning"


@pytest.fixture(scope="module")
def without_test(sequences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sequences without any test row."""
    folder = tmp_path_factory.mktemp("tune") / "sequences"
    with write_artifact(folder, PRODUCER, DataConfig()) as writer:
        shutil.copytree(sequences, writer.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, TEST))
        np.save(writer.folder / TEST, np.empty((0, 3), dtype=np.int64))
        writer.details |= read_artifact(sequences).details
    return folder


def test_the_best_trial_has_the_highest_validation_of_the_last_stage(
    tuned: tuple[Path, Tuning], config: Config, inputs: StageInputs
) -> None:
    folder, tuning = tuned
    assert tuning.failures == {}
    values = {trial.number: trial.value for trial in tuning.trials}
    assert sorted(values) == [0, 1]
    assert tuning.trials[0].value == max(values.values())
    for trial in tuning.trials:
        changed = Config.parse(config.to_dict() | trial.settings)
        stages = plan_stages(folder / "stages", inputs, changed.narrow(StageConfig), STAGE)
        assert stages[-1].validation()["ndcg@10"] == trial.value
    assert len(list(folder.glob("stages/*/key.json"))) == 3  # the first stage is shared


def test_best_yaml_is_a_configuration(tuned: tuple[Path, Tuning], config: Config) -> None:
    folder, tuning = tuned
    assert load_config(folder / "best.yaml") == tuning.best
    assert tuning.best == Config.parse(config.to_dict() | tuning.trials[0].settings)
    head = (folder / "best.yaml").read_text().splitlines()[0]
    assert f"validation ndcg@10 {tuning.trials[0].value:.4f} after {STAGE}" in head


def test_the_base_configuration_is_among_the_trials(tuned: tuple[Path, Tuning], config: Config) -> None:
    first = next(trial for trial in tuned[1].trials if trial.number == 0)
    assert first.settings == {"interaction_threshold": 4, "decay_factor": config.decay_factor}


def test_it_goes_on_and_earlier_trials_count(
    tuned: tuple[Path, Tuning], copy: Path, sequences: Path, embeddings: Path, config: Config, search: Search
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.glob("stages/*/checkpoint/*")}
    ended = []
    longer = replace(search, num_trials=3)
    tuning = tune(sequences, embeddings, copy, config, longer, 1, "cpu", lambda *trial: ended.append(trial))
    assert [(number, done) for number, _, done in ended] == [(2, 3)]
    assert len(tuning.trials) == 3
    assert {trial.number: trial for trial in tuning.trials}.items() >= {t.number: t for t in tuned[1].trials}.items()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_no_test_target_is_read(
    tuned: tuple[Path, Tuning], without_test: Path, embeddings: Path, config: Config, search: Search, tmp_path: Path
) -> None:
    assert len(load_sequences(without_test).test) == 0
    tuning = tune(without_test, embeddings, tmp_path, config, search, device="cpu")
    assert tuning == tuned[1]


def test_after_the_time_limit_no_trial_begins(
    sequences: Path, embeddings: Path, config: Config, search: Search, tmp_path: Path
) -> None:
    tuning = tune(sequences, embeddings, tmp_path, config, replace(search, timeout_s=0.0), device="cpu")
    assert (tuning.trials, tuning.best, tuning.failures) == ([], None, {})
    assert not (tmp_path / "best.yaml").exists()


def test_other_settings_belong_to_another_folder(
    copy: Path, sequences: Path, embeddings: Path, config: Config, search: Search
) -> None:
    other = Config.parse(config.to_dict() | {"retriever_lr": 0.5, "decay_factor": 0.91})
    with pytest.raises(ExperimentError, match="another retriever_lr; choose another --output"):
        tune(sequences, embeddings, copy, other, search, device="cpu")


def test_one_process_at_a_time(copy: Path, sequences: Path, embeddings: Path, config: Config, search: Search) -> None:
    with FileLock(copy / "tune.lock"), pytest.raises(ExperimentError, match="another process is tuning there"):
        tune(sequences, embeddings, copy, config, search, device="cpu")


def test_an_unknown_metric_is_refused(
    sequences: Path, embeddings: Path, config: Config, search: Search, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError, match="--metric auc"):
        tune(sequences, embeddings, tmp_path, config, replace(search, metric="auc"), device="cpu")


def run_by_hand(
    config: Config, search: Search, inputs: StageInputs, folder: Path, scores: list[Any]
) -> list[tuple[int, float, int]]:
    """A runner whose stages come to the given metrics; returns what it reports."""
    folder.mkdir(exist_ok=True)
    ended = []
    study = open_study(folder, {}, search.prune)
    runner = TrialRunner(study, search, config, inputs, folder, lambda *trial: ended.append(trial))
    for stages in scores:
        runner._begin()
        for score in stages:
            if runner._ready:
                runner._follow(runner._ready.popleft(), {"ndcg@10": score})
    return ended


@pytest.mark.parametrize(("prune", "last"), [(True, (5, None, 6)), (False, (5, 0.9, 6))])
def test_pruning_ends_a_trial_below_the_median(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path, prune: bool, last: tuple[Any, ...]
) -> None:
    scores = [(0.5, 0.6)] * 5 + [(0.4, 0.9)]
    ended = run_by_hand(config, replace(search, prune=prune), inputs, tmp_path, scores)
    assert ended[:5] == [(number, 0.6, number + 1) for number in range(5)]
    assert ended[5] == last


def test_a_stage_is_compared_with_the_same_stage(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    """Stage 1 is far better than stage 2 here; what counts after stage 2 is stage 2 alone."""
    scores = [(0.13, 0.108, 0.14, 0.15)] * 5 + [(0.13, 0.0911, 0.2, 0.2)] * 3 + [(0.13, 0.108, 0.14, 0.16)]
    ended = run_by_hand(config, replace(search, prune=True, stage="end_to_end"), inputs, tmp_path, scores)
    assert [value for _, value, _ in ended] == [0.15] * 5 + [None] * 3 + [0.16]
    study = open_study(tmp_path, {}, prune=True)
    assert [len(trial.intermediate_values) for trial in study.trials] == [4] * 5 + [2] * 3 + [4]


def test_a_lower_stage_is_no_reason_where_it_is_above_its_own_median(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    scores = [(0.13, 0.05 + number / 100, 0.14, 0.15) for number in range(5)] + [(0.13, 0.08, 0.14, 0.15)]
    ended = run_by_hand(config, replace(search, prune=True, stage="end_to_end"), inputs, tmp_path, scores)
    assert [value for _, value, _ in ended] == [0.15] * 6


def test_a_median_needs_five_trials_that_finished_the_stage(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    """The fifth trial's low stage 2 has four before it; two of the first six never came there."""
    scores = [(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.1), (0.4,), (0.4,), (0.5, 0.4)]
    chosen = replace(search, prune=True, stage="end_to_end")
    ended = run_by_hand(config, chosen, inputs, tmp_path, [(*stages, 0.6, 0.6)[:4] for stages in scores])
    assert [value for _, value, _ in ended] == [0.6] * 5 + [None] * 3


def test_trials_that_were_given_up_count_in_the_median(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    """Five of .5 and six of .1: the median is .1 then."""
    ended = run_by_hand(config, replace(search, prune=True), inputs, tmp_path, [(0.5, 0.6)] * 5 + [(0.1, 0.9)] * 7)
    assert [value for _, value, _ in ended] == [0.6] * 5 + [None] * 6 + [0.9]


def test_every_trial_goes_through_the_stages_of_its_own_system(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    space = {"system": Choices(choices=("UR4RecV2MoE", "UR4RecMoEMemory"))}
    study = open_study(tmp_path, {}, prune=False)
    runner = TrialRunner(study, replace(search, space=space, stage="end_to_end"), config, inputs, tmp_path, print)
    trained: dict[str, list[str]] = {}
    for system in ("UR4RecV2MoE", "UR4RecMoEMemory"):
        study.enqueue_trial({"system": system})
        runner._begin()
        trained[system] = []
        while runner._ready:
            step = runner._ready.popleft()
            trained[system].append(step.stage)
            runner._follow(step, {"ndcg@10": 0.5})
    assert trained == {"UR4RecV2MoE": list(STAGES), "UR4RecMoEMemory": ["pretrain_retriever", "end_to_end"]}


def test_a_trial_whose_system_lacks_the_last_stage_fails(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    space = {"system": Choices(choices=("UR4RecMoEMemory",))}
    chosen = replace(search, space=space, stage="joint_finetune")
    runner = TrialRunner(open_study(tmp_path, {}, prune=False), chosen, config, inputs, tmp_path, print)
    runner._begin()
    assert not runner._ready
    expected = "trial 0: stage joint_finetune: system UR4RecMoEMemory has pretrain_retriever, end_to_end only"
    assert runner.failures == {"trial 0": expected}


def test_a_failing_trial_is_named_and_the_next_one_runs(
    config: Config, search: Search, inputs: StageInputs, tmp_path: Path
) -> None:
    study = open_study(tmp_path, {}, prune=False)
    runner = TrialRunner(study, replace(search, stage="pretrain_sasrec"), config, inputs, tmp_path, lambda *trial: None)
    for outcome in (Failure("OSError: disk full"), {"ndcg@10": 0.5}):
        runner._begin()
        runner._follow(runner._ready.popleft(), outcome)
    assert runner.failures == {"trial 0": "OSError: disk full"}
    assert [trial.number for trial in rank_trials(study)] == [1]
    assert study.trials[0].user_attrs == {"error": "OSError: disk full"}
