from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from vertex_server import PARENT, VertexServer, running_vertex_server, write_service_account

from pipelines.__main__ import app
from pipelines.cluster import status as run_status

pytestmark = pytest.mark.server

GUIDE = Path(__file__).parents[3] / "docs" / "cluster_runs.md"
REPOSITORY = "europe-west4-docker.pkg.dev/me/team/ur4rec"
PLACE = ("--target", "vertex", "--region", "europe-west4")
ALL_DONE = {"preprocess-sequences": "SUCCEEDED", "pretrain-sasrec": "SKIPPED", "evaluate": "SUCCEEDED"}


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VertexServer]:
    """A server that the environment names, with the key of a service account."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: ["interactions.csv#1"])
    monkeypatch.setattr(run_status, "pause", lambda seconds: None)
    with running_vertex_server() as server:
        write_service_account(tmp_path / "key.json", server)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", f"{server.address}/")
        yield server


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def submit(*arguments: str, expected: int = 0) -> Result:
    given = ("--config", "toy", "--data", "gs://bucket/plays", "--image-repository", REPOSITORY)
    places = ("--pipeline-root", "gs://bucket/root", "--tracking-uri", "https://mlflow.example")
    result = invoke("submit", *PLACE, *given, *places, *arguments)
    assert result.exit_code == expected, result.output
    return result


def only_job(server: VertexServer) -> dict[str, Any]:
    (job,) = server.jobs.values()
    return job


def test_submit_sends_the_compiled_pipeline_as_vertex_takes_it(vertex: VertexServer) -> None:
    result = submit("--name", "first", "--service-account", "runner@me.iam.gserviceaccount.com")
    job = only_job(vertex)
    assert job["displayName"] == "first"
    assert job["serviceAccount"] == "runner@me.iam.gserviceaccount.com"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/root"
    parameters = job["runtimeConfig"]["parameterValues"]
    assert parameters["interactions"] == "gs://bucket/plays"
    assert parameters["state"] == "gs://bucket/root/state"
    assert "network" not in job
    assert f"run:     {job['name']}" in result.output
    assert "vertex-ai/locations/europe-west4/pipelines/runs/ur4rec-training-" in result.output
    assert f"follow:  python -m pipelines status {job['name']} --wait" in result.output
    assert "token-" not in result.output


def test_what_vertex_has_not_is_told_in_a_line_each(vertex: VertexServer, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "labels: {team: music}\nimage_pull_secrets: [registry]\n"
        "training: {node_selector: {pool: big}, tolerations: [{key: gpu}], shm_size: 2Gi}\n"
    )
    told = [line for line in submit("--profile", str(profile)).output.splitlines() if line.startswith("without")]
    assert [line.split()[1].rstrip(":,") for line in told] == [
        *("security", "labels", "image_pull_secrets", "timeout_s", "shm_size", "node_selector", "tolerations", "the"),
        "the",
    ]
    assert "ur4rec-mlflow" in told[-2]
    assert "ur4rec-defaults" in told[-1]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("volumes: [{claim: encoders, mount_path: /models}]", "Vertex mounts no persistent volume claims"),
        ("gcs_key_secret: key", "gcs_key_secret: Vertex mounts no secrets; leave it out"),
        ("s3_key_secret: key", "s3_key_secret: Vertex knows no secrets of a namespace"),
        ("ca_config_map: ca", "ca_config_map: Vertex mounts no config maps"),
        ("training: {gpus: 1}", "gpu_type nvidia.com/gpu: expected Vertex's name of a GPU, such as NVIDIA_TESLA_T4"),
    ],
)
def test_a_profile_that_cannot_run_there_is_refused(
    vertex: VertexServer, tmp_path: Path, profile: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(profile)
    result = submit("--profile", str(tmp_path / "mine.yaml"), expected=2)
    assert result.output.startswith("Error: --target vertex: ")
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not vertex.requests


def test_a_gpu_by_its_name_there(vertex: VertexServer, tmp_path: Path) -> None:
    (tmp_path / "gpu.yaml").write_text("training: {gpus: 1, gpu_type: NVIDIA_TESLA_T4}")
    submit("--profile", str(tmp_path / "gpu.yaml"))
    executors = only_job(vertex)["pipelineSpec"]["deploymentSpec"]["executors"]
    container = executors["exec-pretrain-sasrec"]["container"]
    assert container["resources"]["accelerator"]["type"] == "NVIDIA_TESLA_T4"
    assert container["image"] == f"{REPOSITORY}:0.1.0-train-gpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pipeline-root", "s3://bucket/root"), "needs --pipeline-root gs://bucket/root"),
        (("--tracking-uri", ""), "needs --tracking-uri, the address of an MLflow server that tasks can reach"),
        (("--data", "s3://bucket/plays"), "interactions s3://bucket/plays: expected gs://"),
        (("--state", "s3://bucket/state"), "state s3://bucket/state: expected gs://"),
        (("--image-repository", "ur4rec/python"), "expected one of a registry; pass --image-repository REGION-docker"),
        (("--set", "text_provider=dashscope", "--set", "text_cache=gs://b/t"), "tasks have no keys of language models"),
        (("--region", ""), "--region: missing; expected one such as europe-west4"),
    ],
)
def test_what_vertex_cannot_run_is_refused_before_it_is_asked(
    vertex: VertexServer, arguments: tuple[str, ...], message: str
) -> None:
    result = submit(*arguments, expected=2)
    assert message in result.output
    assert not vertex.requests


def test_a_place_on_google_cloud_belongs_to_vertex(vertex: VertexServer) -> None:
    result = invoke("runs", "--project", "me")
    assert result.exit_code == 2
    assert "--project, --region: belong to --target vertex" in result.output


def test_tasks_that_are_never_cached_know_their_run_and_others_keep_their_key(vertex: VertexServer) -> None:
    submit()
    submit()
    first, second = vertex.jobs.values()
    executors = first["pipelineSpec"]["deploymentSpec"]["executors"]
    named = {label for label, one in executors.items() if "env" in one["container"]}
    assert named == {f"exec-{name}" for name in ("preflight", "gate-model", "promote-model", "report-run")} | {
        "exec-resolve-warm-start"
    }
    assert executors["exec-preflight"]["container"]["env"] == [
        {"name": "KFP_RUN_ID", "value": first["name"].rpartition("/")[2]}
    ]
    for label in set(executors) - named:
        assert executors[label] == second["pipelineSpec"]["deploymentSpec"]["executors"][label]


def test_a_dry_run_asks_nothing(vertex: VertexServer) -> None:
    described = json.loads(submit("--dry-run", "--network", "projects/1/global/networks/mine").output)
    assert described["pipelineJob"]["network"] == "projects/1/global/networks/mine"
    assert described["pipelineJob"]["pipelineSpec"].startswith("ur4rec-training 0.1.0-")
    assert described["without"]
    assert not vertex.requests
    assert not vertex.tokens


def test_a_run_is_followed_to_its_end(vertex: VertexServer) -> None:
    vertex.frames += [
        ("RUNNING", {"preprocess-sequences": "RUNNING"}),
        ("RUNNING", {"preprocess-sequences": "SUCCEEDED", "pretrain-sasrec": "SKIPPED", "evaluate": "PENDING"}),
        ("SUCCEEDED", ALL_DONE),
    ]
    output = submit("--wait").output
    assert "Preprocess sequences" in output
    assert "Stage 1: pretrain SASRec: cached" in output
    assert f"run {only_job(vertex)['name']}: SUCCEEDED" in output


def test_a_run_that_fails_tells_which_task_and_where_its_log_is(vertex: VertexServer) -> None:
    vertex.frames.append(("FAILED", {"preprocess-sequences": "SUCCEEDED", "evaluate": ("FAILED", "exit code 1")}))
    output = submit("--wait", expected=1).output
    assert "failed: Evaluate: exit code 1" in output
    assert "reason: The DAG failed because some tasks failed." in output
    name = only_job(vertex)["name"]
    result = invoke("logs", name, "--task", "evaluate")
    assert result.exit_code == 0, result.output
    assert "Evaluate: failed in 1 min 05 s" in result.output
    assert "gcloud ai custom-jobs stream-logs projects/1/locations/europe-west4/customJobs/300" in result.output
    assert invoke("status", name).exit_code == 1


def test_a_service_that_is_in_trouble_is_asked_again(vertex: VertexServer) -> None:
    submit()
    vertex.faults += [(503, "unavailable"), (429, "quota")]
    vertex.frames.append(("SUCCEEDED", ALL_DONE))
    output = invoke("watch", only_job(vertex)["name"]).output
    assert output.count("the server is away") == 1
    assert "SUCCEEDED" in output


def test_a_run_is_canceled_once(vertex: VertexServer) -> None:
    submit("--name", "mine")
    name = only_job(vertex)["name"]
    assert f"canceling: mine; python -m pipelines status {name} --wait" in invoke("cancel", name).output
    again = invoke("cancel", name)
    assert again.exit_code == 2
    assert "has ended, CANCELED; there is nothing to cancel" in again.output
    assert "CANCELED" in invoke("watch", name).output


def test_runs_are_listed_filtered_and_paged(vertex: VertexServer) -> None:
    for name in ("nightly 1", "other", "nightly 2"):
        submit("--name", name)
    next(iter(vertex.jobs.values()))["state"] = "PIPELINE_STATE_FAILED"
    output = invoke("runs", *PLACE, "--limit", "2").output
    assert output.index("nightly 2") < output.index("other")
    assert "nightly 1" not in output
    assert "more: add --page 2" in output
    assert "nightly 1" in invoke("runs", *PLACE, "--limit", "2", "--page", "2").output
    failed = invoke("runs", *PLACE, "--state", "failed", "--name", "night").output
    assert "nightly 1" in failed
    assert "nightly 2" not in failed
    assert "no such runs" in invoke("runs", *PLACE, "--state", "canceled").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", *PLACE, "--experiment", "x"), "--experiment: Vertex AI Pipelines lists runs by --state and --name"),
        (("runs", *PLACE, "--name", 'a"b'), "expected no"),
        (("runs", *PLACE, "--state", "bad"), "--state bad: expected one of PENDING, RUNNING"),
        (("retry", "projects/me/locations/r/pipelineJobs/x"), "retry: Vertex AI has none; submit again"),
        (("clone", "projects/me/locations/r/pipelineJobs/x"), "clone: Vertex AI has none; submit again"),
        (("status", "projects/me"), "expected projects/PROJECT/locations/REGION/pipelineJobs/ID"),
    ],
)
def test_what_vertex_has_not_is_one_line(vertex: VertexServer, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not vertex.requests


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (400, "correct the request"),
        (401, "gcloud auth application-default login"),
        (403, "roles/aiplatform.user, and roles/iam.serviceAccountUser on --service-account"),
        (404, "the API aiplatform.googleapis.com is enabled"),
        (429, "the quota is used up"),
        (500, "try again"),
        (503, "try again"),
        (418, "this may not be the API of Vertex AI"),
    ],
)
def test_every_refusal_is_one_line_with_the_next_step(vertex: VertexServer, status: int, step: str) -> None:
    vertex.faults += [(status, "made to fail")] * 3
    result = invoke("status", f"{PARENT.removeprefix('/v1/')}/x")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert f"made to fail ({status}); " in result.output
    assert step in result.output
    assert "-secret" not in result.output


def test_without_credentials_or_with_a_key_that_is_refused(
    vertex: VertexServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    result = invoke("runs", *PLACE)
    assert result.exit_code == 2
    assert "no usable Google credentials" in result.output
    key = json.loads((tmp_path / "key.json").read_text())
    (tmp_path / "key.json").write_text(json.dumps(key | {"token_uri": f"{vertex.address}/nothing"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    result = invoke("runs", *PLACE)
    assert result.exit_code == 2
    assert "no usable Google credentials" in result.output
    assert "PRIVATE KEY" not in result.output


def test_nobody_answers(vertex: VertexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "http://127.0.0.1:9")
    result = invoke("runs", *PLACE)
    assert result.exit_code == 2
    assert "no connection" in result.output
    assert "object at" not in result.output
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "http://vertex.example.com")
    assert "would be sent in the clear" in invoke("runs", *PLACE).output


def test_the_commands_of_the_guide(vertex: VertexServer) -> None:
    (block,) = re.findall(r"## Vertex AI Pipelines\n\n```\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines():
        known = next(iter(vertex.jobs), "")
        words = shlex.split(line.replace("projects/me/locations/europe-west4/pipelineJobs/ID", known))
        result = invoke(*(word for word in words[3:] if word != "--wait"))
        assert result.exit_code == 0, (line, result.output)
    assert only_job(vertex)["state"] == "PIPELINE_STATE_CANCELLED"
