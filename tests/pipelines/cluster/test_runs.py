"""Runs on the server: listed in pages, canceled, tried again, started once more."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kfp_server import Frame, KfpServer
from typer.testing import CliRunner

from pipelines.__main__ import app
from ur4rec.config import Config
from ur4rec.registry.run_settings import split_settings

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: [f"{location}#1"])


def invoke(*arguments: str, expected: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == expected, result.output
    return result.output


def submit(server: KfpServer, *arguments: str, state: str = "SUCCEEDED", name: str = "mine") -> dict[str, Any]:
    server.scripts.append([Frame(state)])
    invoke("submit", "--config", "toy", "--data", "gs://bucket/plays", "--name", name, *arguments)
    run = list(server.runs.values())[-1]
    run["state"] = state
    return run


def parameters_of(run: dict[str, Any]) -> dict[str, Any]:
    found = run["runtime_config"]["parameters"]
    assert isinstance(found, dict)
    return found


def test_runs_are_listed_by_state_name_and_experiment_the_newest_first(kfp_server: KfpServer) -> None:
    assert "no such runs" in invoke("runs")
    first = submit(kfp_server, name="nightly 1", state="FAILED")["run_id"]
    second = submit(kfp_server, name="nightly 2")["run_id"]
    third = submit(kfp_server, "--experiment", "other", name="by hand", state="FAILED")["run_id"]

    def list_ids(*arguments: str) -> list[str]:
        return re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", invoke("runs", *arguments))

    assert list_ids() == [third, second, first]
    assert list_ids("--state", "failed") == [third, first]
    assert list_ids("--name", "nightly") == [second, first]
    assert list_ids("--name", "nightly", "--state", "FAILED") == [first]
    assert list_ids("--experiment", "other") == [third]
    assert "--experiment nothing: there is none of that name" in invoke("runs", "--experiment", "nothing", expected=2)
    num_asked = len(kfp_server.requests)
    assert "--state done: expected one of PENDING, RUNNING" in invoke("runs", "--state", "done", expected=2)
    assert len(kfp_server.requests) == num_asked


def test_a_page_names_the_next(kfp_server: KfpServer) -> None:
    for number in range(3):
        submit(kfp_server, name=f"run {number}")
    first = invoke("runs", "--limit", "2")
    assert "run 2" in first
    assert "run 0" not in first
    found = re.search(r"more: add --page (\S+)", first)
    assert found
    last = invoke("runs", "--limit", "2", "--page", found[1])
    assert "run 0" in last
    assert "more:" not in last


def test_a_run_is_canceled_once(kfp_server: KfpServer) -> None:
    run_id = submit(kfp_server, state="RUNNING")["run_id"]
    assert "canceling: mine" in invoke("cancel", run_id)
    assert f"run {run_id}: CANCELED" in invoke("status", run_id, expected=1)
    assert f"run {run_id}: has ended, CANCELED" in invoke("cancel", run_id, expected=2)
    assert "expected the id of a run" in invoke("cancel", "a/b", expected=2)


def test_a_failed_run_is_tried_again(kfp_server: KfpServer) -> None:
    run_id = submit(kfp_server, state="FAILED")["run_id"]
    output = invoke("retry", run_id, "--wait")
    assert "again: mine" in output
    assert f"run {run_id}: SUCCEEDED" in output
    assert "is SUCCEEDED; expected FAILED or CANCELED" in invoke("retry", run_id, expected=2)


def test_a_clone_is_the_same_run(kfp_server: KfpServer) -> None:
    place = ("--pipeline-root", "gs://bucket/root", "--service-account", "runner")
    run = submit(kfp_server, *place)
    invoke("clone", run["run_id"], "--name", "twin")
    twin = list(kfp_server.runs.values())[-1]
    for kept in ("pipeline_version_reference", "runtime_config", "experiment_id", "service_account"):
        assert twin[kept] == run[kept]
    assert twin["display_name"] == "twin"
    assert len(kfp_server.versions) == 1


def test_a_clone_with_other_settings_keeps_the_rest(kfp_server: KfpServer) -> None:
    run = submit(kfp_server, "--set", "seed=7")
    invoke("clone", run["run_id"], "--set", "epochs_per_stage=5")
    before, after = parameters_of(run), parameters_of(list(kfp_server.runs.values())[-1])
    assert {name for name in after if after[name] != before[name]} == {"epochs_per_stage"}
    assert (after["epochs_per_stage"], after["seed"]) == ("5", "7")
    assert "unknown key 'epoch'" in invoke("clone", run["run_id"], "--set", "epoch=1", expected=2)


def test_a_clone_with_another_prompt_looks_its_texts_up_anew(kfp_server: KfpServer) -> None:
    asking = ("--set", "text_provider=dashscope", "--set", "text_cache=gs://bucket/texts")
    run = submit(kfp_server, *asking)
    assert parameters_of(run)["text_digest"]
    invoke("clone", run["run_id"], "--set", "text_model=qwen-max")
    after = parameters_of(list(kfp_server.runs.values())[-1])
    assert after["text_digest"] == ""
    assert after["data_digest"] == parameters_of(run)["data_digest"]


def test_a_run_of_the_interface_is_cloned_with_a_setting(kfp_server: KfpServer) -> None:
    run = submit(kfp_server)
    run["runtime_config"]["parameters"] = {"interactions": "gs://bucket/plays"}
    invoke("clone", run["run_id"], "--set", "seed=3")
    after = parameters_of(list(kfp_server.runs.values())[-1])
    assert after["seed"] == "3"
    assert after["interactions"] == "gs://bucket/plays"
    assert after["text_digest"] == ""


def test_a_run_of_an_earlier_release_is_cloned_with_the_groups_that_its_version_takes(kfp_server: KfpServer) -> None:
    run = submit(kfp_server)
    (version,) = kfp_server.versions.values()
    groups = split_settings(Config.parse({"seed": 7, "epochs_per_stage": 2}))
    parameters = {"interactions": "gs://bucket/plays", **groups}
    inputs = version["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    inputs |= {name: {"parameterType": "STRUCT", "isOptional": True} for name in groups}
    run["runtime_config"]["parameters"] = parameters
    invoke("clone", run["run_id"], "--set", "epochs_per_stage=5", "--set", "system=UR4RecMoEMemory")
    after = parameters_of(list(kfp_server.runs.values())[-1])
    assert set(after) == {*parameters, "text_digest"}
    assert after["retriever_config"] == {"seed": 7, "epochs_per_stage": 5, "system": "UR4RecMoEMemory"}
