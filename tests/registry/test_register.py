"""Real MLflow on sqlite: what is logged, what is registered, what a loaded model answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from present import present
from registry_servers import running_server
from toy_runs import Registered, Trained

from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import load_results
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.model_card import render_card
from ur4rec.registry.register import Registration, register_model
from ur4rec.storage.artifacts import ArtifactError

CHALLENGER = "models:/ur4rec@challenger"
PASSWORD = "pa55-w0rd"
COLUMNS = ["request", "user_id", "rank", "item_id", "title", "score", "source"]


@pytest.fixture
def first(trained: Trained, tracking_uri: str, tmp_path: Path) -> Registration:
    return register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)


def predict(tracking_uri: str, request: dict[str, Any], **params: Any) -> pd.DataFrame:
    with open_mlflow(tracking_uri):
        model = mlflow.pyfunc.load_model(CHALLENGER)
        table: pd.DataFrame = model.predict(pd.DataFrame(request), params=params or None)
        return table


def test_the_alias_serves_known_inline_and_unknown_users(registered: Registered, trained: Trained) -> None:
    request = {"user_id": ["u03", None, "stranger"], "history": [None, ["i05", "i06"], None]}
    table = predict(registered.tracking_uri, request)
    assert list(table.columns) == COLUMNS
    assert table.groupby("request")["source"].unique().map(list).to_dict() == {
        0: ["user"],
        1: ["history"],
        2: ["fallback"],
    }
    sequences = load_sequences(trained.sequences)
    histories = sequences.histories("full")
    user = sequences.user_ids.index("u03")
    seen = {sequences.item_ids[i] for i in histories.items[histories.offsets[user] : histories.offsets[user + 1]]}
    assert seen.isdisjoint(table[table["request"] == 0]["item_id"])
    assert {"i05", "i06"}.isdisjoint(table[table["request"] == 1]["item_id"])
    assert (table.groupby("request").size() == 10).all()
    assert set(table["title"]) <= set(sequences.items["title"])


def test_parameters_and_single_columns_work(registered: Registered) -> None:
    assert predict(registered.tracking_uri, {"user_id": ["u03"]}, k=3)["rank"].tolist() == [1, 2, 3]
    history = {"history": [["i05", "i06"]]}
    unseen = predict(registered.tracking_uri, history, k=24)
    every = predict(registered.tracking_uri, history, k=24, exclude_seen=False)
    assert set(every["item_id"]) - set(unseen["item_id"]) == {"i05", "i06"}


def test_a_request_of_another_shape_is_refused(registered: Registered) -> None:
    with pytest.raises(RegistryError, match="user_id"):
        predict(registered.tracking_uri, {"user_id": [3.5]})


def test_run_and_version_show_the_card_and_name_each_other(registered: Registered, trained: Trained) -> None:
    with open_mlflow(registered.tracking_uri) as client:
        version = client.get_model_version("ur4rec", registered.registration.version)
        run = client.get_run(present(version.run_id))
        stored = Path(client.download_artifacts(run.info.run_id, "model_card.md")).read_text()
    card = render_card(load_results(trained.results), version.tags["ur4rec.code_version"])
    assert version.description == run.data.tags["mlflow.note.content"] == stored == card
    assert run.data.tags["ur4rec.model_version"] == "ur4rec/1"
    assert "ur4rec.kfp_run_id" not in run.data.tags


def test_the_run_of_the_pipeline_is_named_and_a_description_is_kept(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_mlflow(tracking_uri) as client:
        preset = client.create_run(client.create_experiment("kfp"), tags={"mlflow.note.content": "theirs"})
    monkeypatch.setenv("MLFLOW_RUN_ID", preset.info.run_id)
    monkeypatch.setenv("KFP_RUN_ID", "1234-5678")
    card = tmp_path / "out/card.md"
    register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri, card=card)
    with open_mlflow(tracking_uri) as client:
        tags = client.get_run(preset.info.run_id).data.tags
        version = client.get_model_version("ur4rec", "1")
    assert tags["ur4rec.kfp_run_id"] == version.tags["ur4rec.kfp_run_id"] == "1234-5678"
    assert tags["mlflow.note.content"] == "theirs"
    first, _, rest = card.read_text().partition("\n\n")
    assert first == f"In MLflow: ur4rec version 1, run {preset.info.run_id} in {tracking_uri}"
    monkeypatch.setenv("UR4REC_PUBLIC_TRACKING_URL", "https://mlflow.example/")
    register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri, card=card)
    assert "](https://mlflow.example/#/models/ur4rec/versions/1), [run " in card.read_text().partition("\n\n")[0]
    assert rest == version.description


def test_the_run_shows_config_curves_metrics_and_files(registered: Registered, trained: Trained) -> None:
    results = json.loads(trained.results.read_text())
    with open_mlflow(registered.tracking_uri) as client:
        run = client.get_run(registered.registration.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params["sasrec_hidden_dim"] == "16"
        assert run.data.params == {key: str(value) for key, value in results["config"].items()}
        for stage in ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end"):
            curve = client.get_metric_history(run.info.run_id, f"{stage}/ndcg_at_10")
            assert [point.step for point in curve] == [0, 1]
            assert client.get_metric_history(run.info.run_id, f"{stage}/loss")
        estimate = results["test"]["UR4RecV2MoE"]["ndcg@10"]
        assert run.data.metrics["test/UR4RecV2MoE/ndcg_at_10"] == pytest.approx(estimate["value"])
        assert run.data.metrics["test/UR4RecV2MoE/ndcg_at_10_ci95_low"] == pytest.approx(estimate["ci95"][0])
        assert run.data.metrics["test/UR4RecV2MoE/ndcg_at_10_ci95_high"] == pytest.approx(estimate["ci95"][1])
        coverage, novelty = (results["lists"]["UR4RecV2MoE"][name] for name in ("coverage@10", "novelty@10"))
        assert run.data.metrics["test/UR4RecV2MoE/coverage_at_10"] == pytest.approx(coverage["value"])
        assert "test/UR4RecV2MoE/coverage_at_10_ci95_low" not in run.data.metrics
        assert run.data.metrics["test/UR4RecV2MoE/novelty_at_10_ci95_high"] == pytest.approx(novelty["ci95"][1])
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"results.json", "report.html", "model_config.json", "manifests", "model_card.md"}
        manifests = {file.path for file in client.list_artifacts(run.info.run_id, "manifests")}
        assert manifests == {f"manifests/{name}.json" for name in ("sequences", "checkpoint", "memories")}
        models = present(run.outputs).model_outputs
        assert models
        model = client.get_logged_model(models[0].model_id)
        assert "test/UR4RecV2MoE/ndcg_at_10" in {metric.key for metric in present(model.metrics)}


def test_the_version_carries_tags(registered: Registered, trained: Trained) -> None:
    with open_mlflow(registered.tracking_uri) as client:
        tags = client.get_model_version("ur4rec", registered.registration.version).tags
    results = json.loads(trained.results.read_text())
    assert tags["ur4rec.dataset_digest"] == results["dataset"]["digest"]
    assert float(tags["ur4rec.test_ndcg_at_10"]) == pytest.approx(
        results["test"]["UR4RecV2MoE"]["ndcg@10"]["value"], abs=1e-6
    )
    assert tags["ur4rec.protocol"].startswith("leave_one_out, full ranking")
    assert len(tags["ur4rec.config_digest"]) == 64
    assert tags["ur4rec.code_version"].startswith("0.")


def test_registration_is_written(registered: Registered) -> None:
    written = json.loads((registered.folder / "registration.json").read_text())
    assert written == registered.registration.model_dump()
    assert written == {
        "name": "ur4rec",
        "version": "1",
        "alias": "challenger",
        "run_id": registered.registration.run_id,
        "model_uri": "models:/ur4rec/1",
        "tracking_uri": registered.tracking_uri,
    }


def test_artifacts_lie_beside_the_database(registered: Registered) -> None:
    assert {path.name for path in (registered.folder / "mlflow").iterdir()} == {"mlflow.db", "mlartifacts"}
    assert not (registered.folder / "mlruns").exists()


def test_a_retrained_model_is_version_2_and_a_retried_task_makes_none(
    first: Registration, retrained: Trained, trained: Trained, tracking_uri: str, tmp_path: Path
) -> None:
    second = register_model(*retrained.inputs, RegistryConfig(), tmp_path / "second.json", tracking_uri)
    assert second.version == "2"
    assert second.run_id != first.run_id
    with open_mlflow(tracking_uri) as client:
        assert str(client.get_model_version_by_alias("ur4rec", "challenger").version) == "2"
    again = register_model(*trained.inputs, RegistryConfig(), tmp_path / "again.json", tracking_uri)
    assert again == first
    with open_mlflow(tracking_uri) as client:
        assert len(client.search_model_versions("name = 'ur4rec'")) == 2
        assert str(client.get_model_version_by_alias("ur4rec", "challenger").version) == "1"


def test_a_version_whose_files_are_gone_is_made_again(
    first: Registration, trained: Trained, tracking_uri: str, tmp_path: Path
) -> None:
    for path in (tmp_path / "mlflow/mlartifacts").rglob("MLmodel"):
        path.unlink()
    again = register_model(*trained.inputs, RegistryConfig(), tmp_path / "again.json", tracking_uri)
    assert again.version == "2"


def test_a_preset_run_is_used_and_left_open(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_mlflow(tracking_uri) as client:
        preset = client.create_run(client.create_experiment("kfp"))
        client.log_param(preset.info.run_id, "seed", "set by someone else")
    monkeypatch.setenv("MLFLOW_RUN_ID", preset.info.run_id)
    registration = register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    assert registration.run_id == preset.info.run_id
    with open_mlflow(tracking_uri) as client:
        run = client.get_run(preset.info.run_id)
        assert run.info.status == "RUNNING"
        assert run.data.params["seed"] == "set by someone else"
        assert run.data.params["sasrec_hidden_dim"] == "16"
        assert client.get_experiment_by_name("ur4rec") is None


def test_a_preset_run_that_is_not_there_is_named(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(RegistryError, match=r"MLFLOW_RUN_ID=0{32}: no such run"):
        register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)


def test_a_preset_run_of_another_server_is_ignored(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.invalid")
    registration = register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    assert registration.run_id != "0" * 32


def test_a_failure_marks_its_own_run_and_registers_nothing(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise MlflowException("disk full")

    monkeypatch.setattr("ur4rec.registry.register.save_model_package", fail)
    with pytest.raises(RegistryError, match="disk full"):
        register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    with open_mlflow(tracking_uri) as client:
        experiment = present(client.get_experiment_by_name("ur4rec"))
        assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
        assert not client.search_registered_models()
    assert not (tmp_path / "registration.json").exists()


@pytest.mark.parametrize("missing", ["report", "results"])
def test_a_missing_input_is_named_before_anything_is_logged(
    trained: Trained, tracking_uri: str, tmp_path: Path, missing: str
) -> None:
    change: dict[str, Any] = {missing: tmp_path / "nowhere"}
    inputs = replace(trained, **change).inputs
    with pytest.raises((ArtifactError, ValueError), match="nowhere: not found; run the evaluation first"):
        register_model(*inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    assert not (tmp_path / "mlflow/mlartifacts").exists()


def test_names_come_from_the_configuration(trained: Trained, tracking_uri: str, tmp_path: Path) -> None:
    config = RegistryConfig(registered_model_name="films", experiment_name="trial", challenger_alias="next")
    registration = register_model(*trained.inputs, config, tmp_path / "registration.json", tracking_uri)
    assert registration.model_uri == "models:/films/1"
    with open_mlflow(tracking_uri) as client:
        assert str(client.get_model_version_by_alias("films", "next").version) == "1"
        assert client.get_experiment_by_name("trial") is not None


def register(inputs: tuple[Path, Path, Path, Path, Path], tmp_path: Path, tracking_uri: str) -> Registration:
    return register_model(*inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)


def test_results_of_another_training_are_refused(
    trained: Trained, retrained: Trained, tracking_uri: str, tmp_path: Path
) -> None:
    inputs = (*trained.inputs[:3], *retrained.inputs[3:])
    with pytest.raises(ArtifactError, match=r"seed was 11, the checkpoint has 7; name the folder .* with --outputs"):
        register(inputs, tmp_path, tracking_uri)
    assert not (tmp_path / "mlflow/mlartifacts").exists()


def test_an_earlier_stage_has_not_the_results_of_the_last(trained: Trained, tracking_uri: str, tmp_path: Path) -> None:
    earlier = trained.checkpoint.parents[1] / "joint_finetune/checkpoint"
    inputs = (trained.sequences, earlier, *trained.inputs[2:])
    with pytest.raises(ArtifactError, match="validation metrics of its stages are not those of the checkpoint"):
        register(inputs, tmp_path, tracking_uri)


def test_results_on_other_data_are_refused(trained: Trained, tracking_uri: str, tmp_path: Path) -> None:
    altered = json.loads(trained.results.read_text())
    altered["dataset"]["digest"] = "0" * 64
    other = tmp_path / "results.json"
    other.write_text(json.dumps(altered))
    inputs = (*trained.inputs[:3], other, trained.report)
    with pytest.raises(ArtifactError, match="was made on data 000000000000, not on"):
        register(inputs, tmp_path, tracking_uri)


@pytest.fixture
def server(tracking_uri: str, tmp_path: Path, free_port: int) -> Iterator[str]:
    with running_server(tracking_uri, str(tmp_path / "store"), free_port, tmp_path / "server.log") as started:
        yield started.host


@pytest.mark.server
def test_registration_through_a_server(
    server: str, trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://ann:{PASSWORD}@{server}"
    card = tmp_path / "card.md"
    registration = register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", uri, card=card)
    assert f"](http://{server}/#/models/ur4rec/versions/1), [run " in card.read_text()
    assert registration.tracking_uri == f"http://{server}"
    assert capfd.readouterr().out == ""
    again = register_model(*trained.inputs, RegistryConfig(), tmp_path / "again.json", uri)
    assert again == registration
    with open_mlflow(uri):
        model = mlflow.pyfunc.load_model("models:/ur4rec@challenger")
        table = model.predict(pd.DataFrame({"user_id": ["u03", "stranger"]}), params={"k": 2})
    assert table["source"].tolist() == ["user", "user", "fallback", "fallback"]
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert leaks == []
