from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from emulators import put_object
from kfp_server import Frame, KfpServer
from typer.testing import CliRunner, Result

from pipelines.__main__ import app
from pipelines.cluster import status as run_status
from ur4rec.registry.gate.rules import load_rules
from ur4rec.storage import inputs as storage_inputs

pytestmark = pytest.mark.server

ALL_DONE = {
    "preprocess-sequences": "SUCCEEDED",
    "pretrain-sasrec": "SUCCEEDED",
    "evaluate": "SUCCEEDED",
    "register-model": "SUCCEEDED",
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def submit(*arguments: str, expected: int = 0) -> Result:
    result = invoke("submit", "--config", "toy", "--data", "gs://bucket/plays", *arguments)
    assert result.exit_code == expected, result.output
    return result


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the bucket holds: name and generation."""
    versions = ["interactions.csv#1", "items.csv#2"]
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: versions)
    return versions


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens between two questions, in order; afterwards nothing does."""
    actions: list[Callable[[], None]] = []
    monkeypatch.setattr(run_status, "pause", lambda seconds: actions.pop(0)() if actions else None)
    return actions


def only_run(server: KfpServer) -> dict[str, object]:
    (run,) = server.runs.values()
    return run


def test_submit_makes_what_is_missing_and_tells_where_the_run_is(kfp_server: KfpServer, objects: list[str]) -> None:
    result = submit("--name", "first", "--pipeline-root", "gs://bucket/root", "--service-account", "runner")
    run = only_run(kfp_server)
    assert f"page:    {kfp_server.address}/#/runs/details/{run['run_id']}" in result.output
    assert "uploaded" in result.output
    assert "ur4rec/python:0.1.0-slim (by tag; pin it with --image-digest)" in result.output
    assert run["display_name"] == "first"
    assert run["service_account"] == "runner"
    (experiment,), (version,) = kfp_server.experiments.values(), kfp_server.versions.values()
    assert experiment["display_name"] == "ur4rec"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert version["description"].startswith("sha256:")
    assert version["name"] in result.output
    config = run["runtime_config"]
    assert isinstance(config, dict)
    assert config["pipeline_root"] == "gs://bucket/root"
    assert config["parameters"]["interactions"] == "gs://bucket/plays"
    assert "dataset_name" not in config["parameters"]["settings"]  # the task takes that of the data
    assert config["parameters"]["tracking_uri"] == "http://mlflow:5000"


def test_without_an_address_the_first_task_asks_the_cluster_for_one(
    kfp_server: KfpServer, objects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    submit()
    parameters = only_run(kfp_server)["runtime_config"]["parameters"]  # type: ignore[index]
    assert parameters["tracking_uri"] == ""
    assert " for " not in parameters["registry_code"]


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ((), ""),
        (("--pipeline-root", "gs://bucket/root/"), "gs://bucket/root/state"),
        (("--pipeline-root", "gs://bucket/root", "--state", "gs://other/state"), "gs://other/state"),
        (("--pipeline-root", "minio://mlpipeline/root"), ""),
        (("--pipeline-root", "s3://bucket/root"), ""),
        (("--pipeline-root", "s3://bucket/root", "--profile", "keys.yaml"), "s3://bucket/root/state"),
        (("--pipeline-root", "minio://mlpipeline/root/", "--profile", "keys.yaml"), ""),
        (("--pipeline-root", "minio://mlpipeline/root/", "--profile", "minio.yaml"), "minio://mlpipeline/root/state"),
    ],
)
def test_unfinished_stages_are_kept_where_a_place_is_known(
    kfp_server: KfpServer,
    objects: list[str],
    options: tuple[str, ...],
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys.yaml").write_text("s3_key_secret: ur4rec-s3")
    Path("minio.yaml").write_text("s3_key_secret: ur4rec-s3\nenvironment: {AWS_ENDPOINT_URL: 'http://minio:9000'}")
    submit(*options)
    assert only_run(kfp_server)["runtime_config"]["parameters"]["state"] == state  # type: ignore[index]


def test_without_the_cache_a_run_has_a_pipeline_of_its_own(kfp_server: KfpServer, objects: list[str]) -> None:
    """The newest version of the usual pipeline stays one that uses the cache: schedules may follow it."""
    submit()
    submit("--no-cache")
    assert [one["display_name"] for one in kfp_server.pipelines.values()] == [
        "ur4rec-training",
        "ur4rec-training-uncached",
    ]
    cached, uncached = (json.dumps(version["pipeline_spec"]) for version in kfp_server.versions.values())
    assert '"enableCache": true' in cached
    assert "enableCache" not in uncached


def test_a_version_is_uploaded_only_when_its_bytes_change(kfp_server: KfpServer, objects: list[str]) -> None:
    submit()
    assert "there already" in submit().output
    assert len(kfp_server.versions) == len(kfp_server.pipelines) == len(kfp_server.experiments) == 1
    digest = "sha256:" + "0" * 64
    other = submit("--image-digest", f"slim={digest}", "--profile", "toy")
    assert f"slim@{digest}\n" in other.output
    assert len(kfp_server.versions) == 2
    first, second = kfp_server.versions.values()
    versions = [run["pipeline_version_reference"]["pipeline_version_id"] for run in kfp_server.runs.values()]
    assert versions == [first["pipeline_version_id"]] * 2 + [second["pipeline_version_id"]]


def test_the_data_are_fixed_to_their_generations_at_submission(kfp_server: KfpServer, objects: list[str]) -> None:
    submit()
    objects[0] = "interactions.csv#7"
    submit()
    digests = [run["runtime_config"]["parameters"]["data_digest"] for run in kfp_server.runs.values()]
    assert all(digests)
    assert len(set(digests)) == 2


def test_the_rules_of_the_gate_travel_with_the_run(
    kfp_server: KfpServer, objects: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text("min_users: 7\nmargin_by_users: {0: 0.5}\ntest_digest: '0012'\n")
    submit("--gate-rules", "rules.yaml")
    own = only_run(kfp_server)["runtime_config"]["parameters"]["gate_rules"]  # type: ignore[index]
    as_tasks_get_it = json.loads(json.dumps(own), parse_int=float)
    changed = {"min_users": 7, "margin_by_users": {0: 0.5}, "test_digest": "0012"}
    assert load_rules(overrides=as_tasks_get_it) == load_rules(overrides=changed) != load_rules()
    kfp_server.runs.clear()
    submit()
    shipped = only_run(kfp_server)["runtime_config"]["parameters"]["gate_rules"]  # type: ignore[index]
    assert load_rules(overrides=shipped) == load_rules()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("min_user: 7\n", "rules.yaml: unknown key 'min_user', did you mean 'min_users'?"),
        ("min_users: few\n", "rules.yaml: min_users: "),
        (None, "rules.yaml: cannot be read as YAML"),
    ],
)
def test_wrong_rules_of_the_gate_are_refused_before_any_server_is_asked(
    kfp_server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content:
        Path("rules.yaml").write_text(content)
    assert message in submit("--gate-rules", "rules.yaml", expected=2).output
    assert not kfp_server.requests


def test_texts_that_exist_are_fixed_to_their_generations_too(kfp_server: KfpServer, objects: list[str]) -> None:
    given = ("--item-text", "gs://bucket/items.json", "--user-text", "gs://bucket/users.parquet")
    for generation in ("1", "2"):
        objects[0] = f"items.json#{generation}"
        submit(*given)
    first, second = (run["runtime_config"]["parameters"] for run in kfp_server.runs.values())
    assert [first["item_text"], first["user_text"]] == [given[1], given[3]]
    assert first["text_digest"] != second["text_digest"] != ""


@pytest.mark.emulator
def test_generations_come_from_the_object_store(kfp_server: KfpServer, bucket: str) -> None:
    put_object(bucket, "plays/interactions.csv", "user_id\n")
    result = invoke("submit", "--config", "toy", "--data", f"gs://{bucket}/plays")
    assert result.exit_code == 0, result.output
    (versions,) = [storage_inputs.list_versions(f"gs://{bucket}/plays")]
    assert versions[0].startswith("interactions.csv#")
    missing = invoke("submit", "--config", "toy", "--data", f"gs://{bucket}/nothing")
    assert missing.exit_code == 2
    assert "nothing is there" in missing.output


def test_a_dry_run_asks_no_server(kfp_server: KfpServer, objects: list[str]) -> None:
    kfp_server.stop()
    answer = json.loads(submit("--dry-run", "--name", "tried").stdout)
    assert answer["run"]["display_name"] == "tried"
    assert answer["run"]["runtime_config"]["parameters"]["interactions"] == "gs://bucket/plays"
    assert answer["images"] == ["ur4rec/python:0.1.0-slim", "ur4rec/python:0.1.0-train-cpu"]
    assert len(answer["sha256"]) == 64


def test_waiting_for_success(kfp_server: KfpServer, objects: list[str], pauses: list[Callable[[], None]]) -> None:
    kfp_server.scripts.append(
        [
            Frame("PENDING"),
            Frame("RUNNING", {"preprocess-sequences": "RUNNING"}),
            Frame("RUNNING", {**ALL_DONE, "evaluate": "RUNNING"}),
            Frame("SUCCEEDED", ALL_DONE),
        ]
    )
    output = submit("--wait").output
    assert output.index("Preprocess sequences: running") < output.index("Preprocess sequences: done in 1 min 05 s")
    assert output.index("Evaluate: running") < output.index("Evaluate: done")
    assert f"run {only_run(kfp_server)['run_id']}: SUCCEEDED" in output


def test_a_failed_run_names_its_tasks_and_their_errors(
    kfp_server: KfpServer, objects: list[str], pauses: list[Callable[[], None]]
) -> None:
    failed = {**ALL_DONE, "evaluate": ("FAILED", "OOMKilled (exit code 137)"), "register-model": "SKIPPED"}
    kfp_server.scripts.append([Frame("RUNNING"), Frame("FAILED", failed)])
    output = submit("--wait", expected=1).output
    assert "failed: Evaluate: OOMKilled (exit code 137)" in output
    assert output.count("failed: ") == 1
    run_id = str(only_run(kfp_server)["run_id"])
    assert f"python -m pipelines logs {run_id}" in output
    later = invoke("status", run_id)
    assert later.exit_code == 1
    assert "failed: Evaluate: OOMKilled" in later.output


def test_a_canceled_run_ends_the_waiting(
    kfp_server: KfpServer, objects: list[str], pauses: list[Callable[[], None]]
) -> None:
    submit()
    run_id = str(only_run(kfp_server)["run_id"])
    frames = [Frame("RUNNING"), Frame("CANCELING"), Frame("CANCELED", {"pretrain-sasrec": "CANCELED"})]
    kfp_server._frames[run_id].clear()
    kfp_server._frames[run_id].extend(frames)
    result = invoke("watch", run_id)
    assert result.exit_code == 1
    assert f"run {run_id}: CANCELED" in result.output
    assert "Stage 1: pretrain SASRec: canceled" in result.output


def test_a_server_that_restarts_is_waited_for(
    kfp_server: KfpServer, objects: list[str], pauses: list[Callable[[], None]]
) -> None:
    kfp_server.scripts.append([Frame("RUNNING"), Frame("RUNNING"), Frame("SUCCEEDED", ALL_DONE)])
    pauses += [kfp_server.stop, lambda: None, kfp_server.start, lambda: kfp_server.faults.append(503)]
    output = submit("--wait").output
    assert output.count("the server is away") == 2
    assert output.count("the server answers again") == 2
    assert "SUCCEEDED" in output


def test_a_server_that_stays_away_is_given_up(
    kfp_server: KfpServer,
    objects: list[str],
    pauses: list[Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_status, "PATIENCE_S", 0.0)
    kfp_server.scripts.append([Frame("RUNNING")])
    pauses.append(kfp_server.stop)
    result = submit("--wait", expected=2)
    assert "no connection" in result.output


def test_interrupting_the_waiting_leaves_the_run(
    kfp_server: KfpServer, objects: list[str], pauses: list[Callable[[], None]]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    kfp_server.scripts.append([Frame("RUNNING")])
    pauses.append(interrupt)
    output = submit("--wait", expected=130).output
    assert f"the run goes on: python -m pipelines status {only_run(kfp_server)['run_id']} --wait" in output


def test_status_without_waiting(kfp_server: KfpServer, objects: list[str]) -> None:
    kfp_server.scripts.append([Frame("RUNNING", {"preprocess-sequences": "SUCCEEDED", "evaluate": "RUNNING"})])
    submit("--name", "mine")
    result = invoke("status", str(only_run(kfp_server)["run_id"]))
    assert result.exit_code == 0
    for text in ("mine", "Preprocess sequences", "1 min 05 s", "waiting", "RUNNING"):
        assert text in result.output


def test_status_without_the_version_tells_what_failed(kfp_server: KfpServer, objects: list[str]) -> None:
    kfp_server.scripts.append([Frame("FAILED", {"evaluate": ("FAILED", "no space left")})])
    submit()
    kfp_server.versions.clear()
    result = invoke("status", str(only_run(kfp_server)["run_id"]))
    assert result.exit_code == 1
    assert "failed: executor: no space left" in result.output


def test_logs_are_left_to_kubectl(kfp_server: KfpServer, objects: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_NAMESPACE", "team")
    kfp_server.scripts.append(
        [Frame("FAILED", {"preprocess-sequences": "SUCCEEDED", "evaluate": ("FAILED", "killed")})]
    )
    submit()
    run_id = str(only_run(kfp_server)["run_id"])
    result = invoke("logs", run_id, "--task", "evaluate")
    assert result.exit_code == 0, result.output
    assert "Evaluate: failed in 1 min 05 s\n  killed\n" in result.output
    pods = f"kubectl get pods --namespace team --selector pipeline/runid={run_id} --output name"
    assert f'kubectl logs --namespace team --container main "$({pods} | grep -- -11$)"' in result.output
    assert f"kubectl logs --namespace team --selector pipeline/runid={run_id}" in result.output
    assert "Preprocess" not in result.output
    unknown = invoke("logs", run_id, "--task", "evaluation")
    assert unknown.exit_code == 2
    assert (
        "the run has no such task; it has preflight, resolve-inputs, resolve-warm-start, preprocess-sequences"
        in unknown.output
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "plays.csv"), "--data plays.csv: expected gs://bucket/…"),
        (("--data", "ml-100k"), "--data ml-100k: expected gs://bucket/…"),
        ((), "--data: missing; expected gs://bucket/…"),
        (("--data", "gs://b/p", "--items", "i.csv"), "--items i.csv: expected gs://"),
        (("--data", "gs://b/p", "--item-text", "i.json"), "--item-text i.json: expected gs://"),
        (("--data", "gs://b/p", "--user-text", "u.json"), "--user-text u.json: expected gs://"),
        (("--data", "gs://b/p", "--state", "/state"), "--state /state: expected gs://"),
        (("--data", "gs://b/p", "--set", "text_cache=~/cache"), "text_cache ~/cache: expected gs://"),
        (("--data", "gs://b/p", "--set", "text_provider=dashscope"), "needs --set text_cache=gs://bucket/…"),
        (("--data", "gs://b/p", "--set", "text_user_prompt=mine.yaml"), "pods do not see this file"),
        (("--data", "gs://b/p", "--set", "text_prices=mine.yaml"), "text_prices mine.yaml: pods do not see this file"),
        (("--data", "gs://b/p", "--set", "epoch=1"), "unknown key 'epoch'"),
        (("--data", "gs://b/p", "--tracking-uri", "sqlite:///mlflow.db"), "expected MLflow's address as pods see it"),
        (("--data", "gs://b/p", "--tracking-uri", "https://me:hunter2@mlflow/"), "into the secret ur4rec-mlflow"),
        (("--data", "gs://b/p", "--image-digest", "slim=1"), "expected slim=sha256:"),
        (("--data", "gs://b/p", "--profile", "huge"), "huge: no such file"),
    ],
)
def test_what_pods_cannot_reach_is_refused_before_any_server_is_asked(
    kfp_server: KfpServer, objects: list[str], arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("submit", "--config", "toy", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "hunter2" not in result.output
    assert not kfp_server.requests


def test_several_users_share_an_installation(
    kfp_server: KfpServer, objects: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kfp_server.multi_user = True
    assert "name your namespace with --namespace" in submit(expected=2).output
    submit("--namespace", "team")
    assert [one["namespace"] for one in (*kfp_server.experiments.values(), *kfp_server.pipelines.values())] == [
        "team",
        "team",
    ]
    assert kfp_server.sent("GET", "/experiments")[0].query["namespace"] == "team"
