"""The benchmark of data sets as toy runs: what it trains, what it keeps, what it tells."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from toy_plays import NUM_ITEMS, NUM_USERS, make_embeddings, write_plays
from typer.testing import CliRunner, Result

from benchmarks import datasets_systems, peer_stages
from benchmarks.datasets import main
from benchmarks.datasets_inputs import Dataset, prepare_dataset
from benchmarks.datasets_systems import ABLATIONS, PEERS, SYSTEMS, Options, count_trainings, run_system
from benchmarks.peer_exchange import Point, Run, Split
from benchmarks.peer_jobs import ROOT, BenchmarkError, Job
from ur4rec.config import load_config
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.training.config import StageConfig
from ur4rec.training.trainer import Trainer

TOY = load_config("toy", {"epochs_per_stage": 1})
app = typer.Typer()
app.command()(main)


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    return write_plays(tmp_path / "plays.csv")


def run_cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def systems(*names: str) -> list[str]:
    return [part for name in names for part in ("--systems", name)]


def list_results(output: Path) -> dict[str, int]:
    """Result file → when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(output.rglob("run.npz"))}


def test_raw_data_by_a_closed_form_and_our_stages(interactions: Path, tmp_path: Path) -> None:
    """With the toy configuration; a second run trains nothing and says the same."""
    output = tmp_path / "out"
    raw = prepare_dataset(interactions, (), output / "data", TOY, reads_text=False)
    embeddings = make_embeddings(raw.sequences, tmp_path / "embeddings")
    names = ["cooccurrence-text", "ur4rec-stage1", "ur4rec", "ur4rec-no-memory"]
    arguments: list[str | Path] = [
        interactions,
        "--embeddings",
        embeddings,
        "--config",
        "toy",
        "--set",
        "epochs_per_stage=1",
    ]
    arguments += ["--seed", "1", "-o", output, *systems(*names)]
    first = run_cli(*arguments)
    assert first.exit_code == 0, first.output
    (described,) = (report := json.loads((output / "datasets.json").read_text()))["datasets"]
    rows = {row["system"]: row for row in described["systems"]}
    assert list(rows) == names
    assert (described["name"], described["users"], described["targets"]) == ("plays", NUM_USERS, NUM_USERS)
    for row in rows.values():
        assert 0 <= row["test"]["ndcg@10"]["mean"] <= row["test"]["hit@10"]["mean"] <= 1
        assert row["validation"] == [pytest.approx(row["tried"][row["setting"]], abs=1e-4)]
        assert row["peak_memory_mb"] > 0
        assert sum(group["targets"] for group in row["target_count"].values()) == NUM_USERS
    assert rows["cooccurrence-text"]["chosen"][0]["text_weight"] in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
    assert rows["ur4rec"]["cpu_s"] > rows["ur4rec-stage1"]["cpu_s"]  # with the stages before
    assert rows["ur4rec"]["epochs"] == [4]
    assert rows["ur4rec"]["chosen"][0]["batch_size"] == TOY.batch_size
    assert len([path for path in (output / "stages").iterdir() if path.is_dir()]) == 4 + 3
    differences = {each["other"]: each for each in described["differences"]}
    assert list(differences) == ["cooccurrence-text", "ur4rec-no-memory"]
    assert differences["ur4rec-no-memory"]["by_seed"] == [
        pytest.approx(differences["ur4rec-no-memory"]["ndcg@10"]["value"])
    ]
    assert "ur4rec − ur4rec-no-memory" in first.output
    assert "| plays | ur4rec-stage1 | 1 |" in (output / "datasets.md").read_text(encoding="utf-8")
    written = list_results(output)
    assert len(written) == len(names)

    again = run_cli(*arguments)
    assert again.exit_code == 0, again.output
    assert list_results(output) == written
    assert json.loads((output / "datasets.json").read_text())["datasets"] == report["datasets"]


def stage_epochs(output: Path) -> list[int]:
    manifests = (output / "stages").glob("*/checkpoint/manifest.json")
    return [json.loads(path.read_text())["details"]["epochs"] for path in manifests]


def test_a_killed_run_goes_on_and_computes_nothing_twice(interactions: Path, tmp_path: Path) -> None:
    output, environment = tmp_path / "out", os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.datasets", str(interactions), "-o", str(output)]
    command += systems("popularity", "again", "cooccurrence")
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    while not list_results(output) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = list_results(output)
    assert 0 < len(before) < 3
    assert not (output / "datasets.json").exists()
    result = run_cli(*command[3:])
    assert result.exit_code == 0, result.output
    after = list_results(output)
    assert len(after) == 3
    assert before.items() <= after.items()


class Peers:
    """Stands in for the processes of peers: scores by setting and seed, and a list of what was trained."""

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores = scores
        self.trained: list[tuple[str, int]] = []

    def __call__(self, job: Job, split: Path, _folder: Path, *_args: object, **_named: object) -> Run:
        self.trained.append((job.setting.name, job.values["seed"]))
        score = self.scores[job.setting.name]
        ranks = {horizon: np.ones((NUM_USERS, 2), np.int64) for horizon in Split.load(split).targets}
        return Run((Point(1, score, 1.0, 1.0, 0.1),), ranks, 0.1, 1.0, 1.0, {})


@pytest.mark.parametrize("name", ["ur4rec-retriever", "ur4rec-stage3"])
def test_our_stages_are_trained_once_for_all_systems(
    interactions: Path, options: Options, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The point of the last stage has its own validation score, which its ranks give."""
    raw = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    embeddings = make_embeddings(raw.sequences, options.output / "embeddings")
    dataset = prepare_dataset(interactions, [embeddings], options.output / "data", TOY, reads_text=True)
    made = []
    for _ in range(2):
        run = run_ours(name, dataset, options, monkeypatch)
        assert [point.counted for point in run.curve] == [False] * (len(run.curve) - 1) + [True]
        assert metrics_from_ranks(run.ranks["validation"])["ndcg@10"] == pytest.approx(run.best.ndcg, abs=1e-4)
        made.append({path: path.stat().st_mtime_ns for path in (options.output / "stages").glob("*/*/manifest.json")})
    assert len(made[0]) == 2 * len(run.curve) == {"ur4rec-retriever": 4, "ur4rec-stage3": 6}[name]
    assert made[0] == made[1]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "out", TOY, [1, 2, 3])


def run_ours(name: str, dataset: Dataset, options: Options, monkeypatch: pytest.MonkeyPatch) -> Run:
    (job,) = datasets_systems.list_jobs(name, dataset, options, 1)
    arguments = [str(dataset.split), str(options.output / "run.npz"), json.dumps(job.values | job.inputs)]
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    monkeypatch.setattr(Trainer, "validate", Trainer.validate)  # which is observed until the end of this test
    peer_stages.main()
    return Run.load(options.output / "run.npz")


def test_the_system_without_text_knows_nothing_of_the_texts(
    interactions: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other vectors are another system, unless it is the one without text."""
    options = replace(options, config=load_config("auto", {"epochs_per_stage": 1, "text_components": 8}))
    raw = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    ranks: dict[str, list[np.ndarray]] = {"ur4rec": [], "ur4rec-no-text": []}
    for seed in (3, 4):
        embeddings = make_embeddings(raw.sequences, options.output / f"embeddings-{seed}", seed)
        dataset = prepare_dataset(interactions, [embeddings], options.output / "data", TOY, reads_text=True)
        for name, each in ranks.items():
            each.append(run_ours(name, dataset, options, monkeypatch).ranks["test"])
    assert [np.array_equal(each[0], each[1]) for each in ranks.values()] == [False, True]


def test_ablations_differ_from_the_whole_in_what_they_name(interactions: Path, options: Options) -> None:
    """With `auto`, which has no expert that reads IDs here."""
    options = replace(options, config=load_config("auto"))
    dataset = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    dataset = replace(dataset, embeddings=options.output)

    def settings(name: str) -> dict[str, object]:
        (job,) = datasets_systems.list_jobs(name, dataset, options, 1)
        assert (job.values["stage"], job.values["part"]) == ("end_to_end", "fused")
        return dict(StageConfig.parse(job.values["settings"]))

    whole = settings("ur4rec")
    assert whole["content_weight"] == 0.5
    assert "auto" not in whole.values()
    differences = {
        name: {key: value for key, value in settings(name).items() if value != whole[key]} for name in ABLATIONS
    }
    assert differences == {
        "ur4rec-no-text": {"text_control": "absent", "id_bound": 0, "retriever_weight": 0, "content_weight": 0},
        "ur4rec-shuffled-text": {"text_control": "shuffled"},
        "ur4rec-no-retriever": {"retriever_weight": 0},
        "ur4rec-no-content": {"content_weight": 0},
        "ur4rec-no-cooccurrence": {"cooccurrence_neighbors": 0},
        "ur4rec-no-memory": {"max_memory_size": 0},
        "ur4rec-no-user-preference": {"moe_experts": ("item_description",)},
        "ur4rec-no-item-description": {"moe_experts": ("user_preference",)},
        "ur4rec-no-item-embedding": {},
    }
    outcome = run_system(dataset, "ur4rec-no-item-embedding", options, lambda *_: None, print)
    assert outcome.error == "the experts are user_preference, item_description"
    assert count_trainings(dataset, "ur4rec-no-item-embedding", options) == 0


def test_a_peers_setting_is_chosen_on_validation_by_the_first_seed(
    interactions: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    names = [each.name for each in PEERS["rectools-sasrec"].settings if each.mean_lengths[0] == 0]
    assert len(names) >= 4
    peers = Peers({name: float(name == names[2]) for name in names})
    monkeypatch.setattr(datasets_systems, "run_job", peers)
    done: list[str] = []
    outcome = run_system(dataset, "rectools-sasrec", options, lambda job, _seed: done.append(job.name), print)
    assert peers.trained == [*((name, 1) for name in names), (names[2], 2), (names[2], 3)]
    assert [(one.job.setting.name, one.seed) for one in outcome.trained] == [(names[2], seed) for seed in (1, 2, 3)]
    assert [one.job.setting.name for one in outcome.tried] == names
    assert len(done) == count_trainings(dataset, "rectools-sasrec", options)


def test_settings_for_long_histories_are_left_aside_where_they_are_short(interactions: Path, options: Options) -> None:
    dataset = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    for peer in PEERS.values():
        jobs = datasets_systems.list_jobs(peer.name, dataset, options, 1)
        assert jobs
        assert all(job.setting.mean_lengths[1] < 100 for job in jobs)


def test_a_run_that_time_ended_is_made_again_with_more_of_it(
    interactions: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    made: list[float] = []

    def train(job: Job, _split: Path, folder: Path, *_args: object, **_named: object) -> Run:
        if not (folder / "run.npz").is_file():
            made.append(float(job.inputs["limit_s"]))
            ranks = {horizon: np.ones((NUM_USERS, 2), np.int64) for horizon in ("validation", "test")}
            folder.mkdir(parents=True, exist_ok=True)
            Run((Point(1, 0.5, 60.0, 60.0, 0.1),), ranks, 0.1, 1.0, 1.0, {}, cut_short=True).save(folder / "run.npz")
        return Run.load(folder / "run.npz")

    monkeypatch.setattr(datasets_systems, "run_job", train)
    for limit in (60.0, 60.0, 120.0):
        limited = replace(options, seeds=[1], settings=["sparse"], limit_s=limit)
        run_system(dataset, "rectools-sasrec", limited, lambda *_: None, print)
    assert made == [60.0, 120.0]


def test_a_system_that_fails_is_told_and_the_others_are_measured(
    interactions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(job: Job, split: Path, *_args: object, **_named: object) -> Run:
        if job.system == "ease":
            raise BenchmarkError("ease: exit code 1")
        return Peers({"chosen": 0.5})(Job(job.system, job.setting, "", Path(), {"seed": 1}), split, tmp_path)

    monkeypatch.setattr(datasets_systems, "run_job", train)
    result = run_cli(interactions, "-o", tmp_path / "out", *systems("ease", "popularity"))
    assert result.exit_code == 2
    (described,) = json.loads((tmp_path / "out/datasets.json").read_text())["datasets"]
    assert [row["system"] for row in described["systems"]] == ["popularity"]
    assert described["left_out"] == {"ease": "failed: ease: exit code 1"}


def test_a_dense_form_is_left_out_of_a_large_catalogue(interactions: Path, options: Options) -> None:
    dataset = prepare_dataset(interactions, (), options.output / "data", TOY, reads_text=False)
    small = replace(options, config=load_config("toy", {"ease_max_items": 5}))
    assert count_trainings(dataset, "ease", small) == 0
    outcome = run_system(dataset, "ease", small, lambda *_: None, print)
    assert outcome.error == f"{NUM_ITEMS} items are more than ease_max_items (5)"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--systems", "sasrec"], f"--systems sasrec: expected one of {', '.join(SYSTEMS)}"),
        (["--systems", "rectools-hstu", "--peers-python", "nowhere/python"], "--peers-python nowhere/python: no such"),
    ],
)
def test_what_cannot_be_run_is_refused(interactions: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    result = run_cli(interactions, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())
