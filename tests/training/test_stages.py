import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import NUM_ITEMS, NUM_USERS, make_embeddings, write_sequences

from ur4rec.config import load_config
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import load_results
from ur4rec.local import TrainingRun, train_all
from ur4rec.models.config import CooccurrenceConfig, ModelConfig
from ur4rec.models.sasrec import EMBEDDING_STD
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.storage.artifacts import REASONS, ArtifactError, read_artifact
from ur4rec.text.embeddings import load_embeddings
from ur4rec.training.checkpoints import CheckpointError, load_model
from ur4rec.training.config import StageConfig
from ur4rec.training.cooccurrence import count_pairs, item_factors
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import run_stage, stages_of
from ur4rec.training.start import begin
from ur4rec.training.trainer import StageRecord, Trainer

FOUR = ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end")
TWO = ("pretrain_retriever", "end_to_end")
TOY = {
    "system": "UR4RecMoEMemory",
    "sasrec_hidden_dim": 8,
    "retriever_output_dim": 16,
    "memory_dim": 4,
    "interaction_threshold": 3,
    "max_seq_len": 8,
    "moe_dropout": 0,
    "batch_size": 8,
    "epochs_per_stage": 4,
    "patience": 4,
    "bootstrap_samples": 100,
}


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequences(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def embeddings(sequences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_embeddings(tmp_path_factory.mktemp("stages") / "embeddings", sequences)


def test_a_stage_settles_what_is_left_to_the_data(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the value had been given, for caches and resumed runs as well."""
    fields = TOY | {"system": "UR4RecV2MoE", "epochs_per_stage": 1, "max_seq_len": "auto", "snapshot_base": "auto"}
    details = []
    for name, given in (("left", {}), ("given", {"max_seq_len": 10})):
        config, folders = (
            load_config(None, fields | given).narrow(StageConfig),
            (tmp_path / name, tmp_path / f"{name}_m"),
        )
        run_stage(FOUR[0], sequences, *folders, config, device="cpu")
        manifests = [read_artifact(folder) for folder in folders]
        assert [manifest.config["max_seq_len"] for manifest in manifests] == [10, 10]
        details.append([manifest.details for manifest in manifests])
    (left, left_memories), (given, given_memories) = details
    reasons = {"max_seq_len": "90 % of the histories are at most 10 long; 10 to 100"}
    assert left.pop(REASONS) == left_memories.pop(REASONS) == reasons
    assert (left, left_memories) == (given, given_memories)
    told = f"pretrain_sasrec: settings from the data\n  max_seq_len  10  {reasons['max_seq_len']}\n"
    assert capsys.readouterr().out.count(told) == 1


@pytest.fixture(scope="module")
def trained(sequences: Path, embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRun, Path]:
    """A run of the system without SASRec, and its folder; not to be altered."""
    folder = tmp_path_factory.mktemp("stages") / "outputs"
    return train_all(sequences, embeddings, folder, load_config("toy", TOY), "cpu"), folder


def make_config(**fields: Any) -> StageConfig:
    return load_config("toy", TOY | fields).narrow(StageConfig)


def run(stage: str, sequences: Path, folder: Path, config: StageConfig, *inputs: Any) -> StageRecord:
    run_on_cpu = partial(run_stage, device="cpu")
    return run_on_cpu(stage, sequences, folder / "checkpoint", folder / "memories", config, *inputs)


@pytest.mark.parametrize(
    ("system", "stages"), [("UR4RecV2MoE", FOUR), ("UR4RecV2", FOUR), ("UR4RecMoEMemory", TWO)], ids=str
)
def test_a_system_has_the_stages_that_train_something_of_it(system: str, stages: tuple[str, ...]) -> None:
    assert stages_of(make_config(system=system)) == stages


@pytest.mark.parametrize(
    ("stage", "system", "message"),
    [
        ("end", "UR4RecV2", f"stage end: expected a stage of system UR4RecV2: {', '.join(FOUR)}"),
        ("joint_finetune", "UR4RecMoEMemory", f"joint_finetune: .*UR4RecMoEMemory: {', '.join(TWO)}$"),
        ("pretrain_sasrec", "UR4RecMoEMemory", "stage pretrain_sasrec: expected a stage of"),
        ("pretrain_retriever", "UR4RecV2MoE", "expected the checkpoint of pretrain_sasrec to begin with"),
        ("end_to_end", "UR4RecV2MoE", "expected the checkpoint of joint_finetune to begin with"),
        ("end_to_end", "UR4RecMoEMemory", "expected the checkpoint of pretrain_retriever to begin with"),
        ("pretrain_retriever", "UR4RecMoEMemory", "expected text embeddings"),
    ],
)
def test_a_stage_that_cannot_begin_is_refused(
    sequences: Path, tmp_path: Path, stage: str, system: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        run(stage, sequences, tmp_path, make_config(system=system))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stage", "system"), [(FOUR[0], "UR4RecV2MoE"), (TWO[0], "UR4RecMoEMemory")])
def test_the_first_stage_of_a_system_takes_no_checkpoint(
    sequences: Path, trained: tuple[TrainingRun, Path], tmp_path: Path, stage: str, system: str
) -> None:
    with pytest.raises(CheckpointError, match=f"stage {stage}: expected no checkpoint to begin with"):
        run(stage, sequences, tmp_path, make_config(system=system), None, trained[0].checkpoint)


@pytest.mark.parametrize(
    ("stage", "fields", "tensor"),
    [
        (
            "end_to_end",
            {"retriever_output_dim": 8},
            r"retriever\.\S+: expected float32 \(21, 8\), found float32 \(21, 16\)",
        ),
        ("end_to_end", {"moe_num_proxies": 0}, r"retriever\.encoder\.mixture\.\S+: this model has no such tensor"),
        ("joint_finetune", {"system": "UR4RecV2MoE"}, r"sasrec\.\S+: missing"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_shape_is_named_with_a_tensor(
    sequences: Path, trained: tuple[TrainingRun, Path], tmp_path: Path, stage: str, fields: dict[str, Any], tensor: str
) -> None:
    checkpoint = trained[1] / "stages/pretrain_retriever/checkpoint"
    message = f"^{checkpoint}/pretrain_retriever_best.pt: {tensor}; use the configuration of the stages before"
    with pytest.raises(CheckpointError, match=message):
        run(stage, sequences, tmp_path, make_config(**fields), None, checkpoint)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of as many users and items as the first ones."""
    return write_sequences(tmp_path_factory.mktemp("others"), first_time=2_000)


def test_a_checkpoint_of_other_sequences_is_refused(
    others: Path, trained: tuple[TrainingRun, Path], tmp_path: Path
) -> None:
    checkpoint = trained[1] / "stages/pretrain_retriever/checkpoint"
    with pytest.raises(CheckpointError, match=f"{checkpoint}: was not trained on {others}: dataset_digest is "):
        run("end_to_end", others, tmp_path, make_config(), None, checkpoint)
    assert not list(tmp_path.iterdir())


def test_embeddings_are_checked_before_the_first_stage(sequences: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=f"{sequences}: written by .*expected a folder of 'encode_text'"):
        train_all(sequences, sequences, tmp_path / "outputs", load_config("toy", TOY), "cpu")
    assert not list(tmp_path.iterdir())


def test_without_sasrec_the_item_embeddings_begin_with_the_item_factors(sequences: Path, embeddings: Path) -> None:
    data, config = load_sequences(sequences), make_config().narrow(ModelConfig)
    model = begin("pretrain_retriever", data, config, 3, None, load_embeddings(embeddings, data))
    counts = count_pairs(data.histories("validation"), NUM_ITEMS, config.narrow(CooccurrenceConfig))
    expected = torch.from_numpy(item_factors(counts, 16, 3)) * EMBEDDING_STD
    weight = model.retriever.encoder.item_embedding.weight.detach()
    torch.testing.assert_close(weight, expected)
    assert float(weight[1:].std()) == pytest.approx(EMBEDDING_STD, rel=0.2)
    assert len(model.retriever.encoder.text.item_text) == NUM_ITEMS + 1


def test_without_sasrec_two_stages_learn_and_the_second_never_loses(trained: tuple[TrainingRun, Path]) -> None:
    outcome, folder = trained
    assert tuple(outcome.summaries) == TWO
    first, second = json.loads((folder / "history.json").read_text())["stages"]
    assert first["validation"]["ndcg@10"] > first["series"][0]["ndcg@10"] + 0.1
    assert second["series"][0]["ndcg@10"] == pytest.approx(first["validation"]["ndcg@10"])
    assert second["validation"]["ndcg@10"] >= first["validation"]["ndcg@10"]


def test_the_second_stage_trains_the_whole_retriever_and_its_temperature(
    sequences: Path, trained: tuple[TrainingRun, Path], tmp_path: Path
) -> None:
    checkpoint = trained[1] / "stages/pretrain_retriever/checkpoint"
    before = torch.load(checkpoint / "pretrain_retriever_best.pt", weights_only=True)
    config = make_config(ema_decay=0, epochs_per_stage=6, finetune_lr_scale=1.0, seed=11)
    run("end_to_end", sequences, tmp_path, config, None, checkpoint)
    after = torch.load(tmp_path / "checkpoint/end_to_end_best.pt", weights_only=True)
    record = json.loads((tmp_path / "checkpoint/history.json").read_text())["stages"][1]
    assert record["best_epoch"] >= 1, "the toy no longer improves: nothing to see"
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"fusion.retriever_log_temperature", "retriever.encoder.item_embedding.weight"} < moved
    assert any(name.startswith("retriever.memory.") for name in moved)
    assert not any(name.startswith(("sasrec.", "fusion.gate", "fusion.log_weights")) for name in moved)


def test_without_sasrec_there_are_the_files_of_two_stages(trained: tuple[TrainingRun, Path]) -> None:
    outcome, folder = trained
    files = {path.name for path in folder.glob("*.pt")}
    assert files == {f"{stage}_{kind}.pt" for stage in TWO for kind in ("best", "memories")} | {
        "final_model.pt",
        "final_memories.pt",
    }
    assert {path.name for path in (folder / "logs").iterdir()} == set(TWO)
    assert {path.name for path in outcome.checkpoint.glob("*.pt")} == {
        "pretrain_retriever_best.pt",
        "end_to_end_best.pt",
        "final_model.pt",
    }


def test_without_sasrec_the_results_and_the_report_have_no_row_of_it(trained: tuple[TrainingRun, Path]) -> None:
    outcome, folder = trained
    results = load_results(folder / "results.json")
    assert results == outcome.results
    assert list(results.test) == ["UR4RecMoEMemory", "recency_ease", "popularity"]
    assert results.expert_weights["user_preference"] == 0
    assert results.memory["users_with_memory"] == NUM_USERS
    report = (folder / "report.html").read_text()
    assert "on what the stage trains: the retriever." in report
    assert "SASRec alone" not in report


def test_the_exported_weights_and_memories_give_the_scores_of_the_checkpoint(
    sequences: Path, trained: tuple[TrainingRun, Path]
) -> None:
    outcome, folder = trained
    content = json.loads((folder / "model_config.json").read_text())
    model = UR4RecV2MoE(NUM_ITEMS, NUM_USERS, **content["config"]).eval()
    model.load_state_dict(torch.load(folder / "final_model.pt", weights_only=True))
    model.load_memories(folder / "final_memories.pt")
    histories = load_sequences(sequences).histories("validation")
    users = np.arange(1, NUM_USERS + 1)
    expected = ModelScorer(load_model(outcome.checkpoint), histories)(users)
    items = torch.from_numpy(histories.items.reshape(NUM_USERS, -1).astype(np.int64))
    with torch.no_grad():
        scores, info = model(torch.from_numpy(users), items)
    torch.testing.assert_close(scores, expected)
    assert (info["expert_weights"][:, 0] == 0).all()


def test_a_run_that_was_stopped_goes_on_to_the_same_result(
    sequences: Path,
    embeddings: Path,
    trained: tuple[TrainingRun, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed in the last stage: the first is not trained again, and nothing of the state stays."""
    expected, _ = trained
    config = load_config("toy", TOY)
    steps = Trainer._train_step
    last = expected.summaries["end_to_end"].epochs

    def die_late(self: Trainer, *arguments: Any) -> float:
        if self.plan.name == "end_to_end" and len(self.record.series) == last:
            raise KeyboardInterrupt
        return steps(self, *arguments)

    monkeypatch.setattr(Trainer, "_train_step", die_late)
    with pytest.raises(KeyboardInterrupt):
        train_all(sequences, embeddings, tmp_path, config, "cpu")
    monkeypatch.undo()
    first = tmp_path / "stages" / TWO[0] / "checkpoint" / "manifest.json"
    before = first.stat().st_mtime_ns
    capsys.readouterr()
    run = train_all(sequences, embeddings, tmp_path, config, "cpu", resume=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("progress")]
    epochs = run.summaries[TWO[0]].epochs
    assert lines[:2] == [
        f"resume: {TWO[0]} is finished, {epochs} epochs",
        f"resume: end_to_end goes on after epoch {last - 1}",
    ]
    assert first.stat().st_mtime_ns == before
    assert run.results.test == expected.results.test
    assert not (tmp_path / "resume").exists()
    finished = train_all(sequences, embeddings, tmp_path, config, "cpu", resume=True).summaries
    assert finished == run.summaries


def test_other_settings_are_trained_again(
    sequences: Path, embeddings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = TWO[0], sequences, tmp_path / "checkpoint", tmp_path / "memories"
    for seed in (1, 2):
        run_stage(*arguments, make_config(seed=seed), embeddings, device="cpu", state=tmp_path / "state", resume=True)
        config = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())["config"]
        assert config["seed"] == seed
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resume:")]
    assert told == [f"resume: {TWO[0]} starts from scratch: what an earlier run left has other settings (seed)"]


def test_a_state_of_other_settings_is_ignored_aloud(
    sequences: Path,
    embeddings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = TWO[0], sequences, tmp_path / "checkpoint", tmp_path / "memories"
    options: dict[str, Any] = {"embeddings": embeddings, "device": "cpu", "state": tmp_path / "state", "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_stage(*arguments, make_config(patience=1), **options)
    assert "resume:" not in capsys.readouterr().out
    run_stage(*arguments, make_config(patience=2), **options)
    told = f"resume: {TWO[0]} starts from scratch: what an earlier run left has other settings (patience)\n"
    assert told in capsys.readouterr().out


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
