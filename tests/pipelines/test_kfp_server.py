"""The server of the tests refuses what the models of `kfp_server_api` do not have."""

from __future__ import annotations

from typing import Any

import pytest
from kfp_server import KfpServer, RefusedError

RUN: dict[str, Any] = {"display_name": "mine", "runtime_config": {"parameters": {}}}


@pytest.fixture
def server() -> KfpServer:
    """One that does not listen."""
    server = KfpServer()
    server.experiments["e"] = {}
    server.create_pipeline({"display_name": "toy"})
    (pipeline,) = server.pipelines
    server.upload_version({"pipelineid": pipeline, "name": "1"}, b"root: {inputDefinitions: {parameters: {}}}\n")
    return server


def make_run(server: KfpServer, **changes: Any) -> dict[str, Any]:
    (pipeline,) = server.pipelines
    return {**RUN, "experiment_id": "e", "pipeline_version_reference": {"pipeline_id": pipeline}, **changes}


def test_a_run_of_the_latest_version(server: KfpServer) -> None:
    run = server.create_run(make_run(server))
    (version,) = server.versions
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x"}, "run: unknown field 'name'"),
        ({"display_name": 3}, "run.display_name: expected str, got int"),
        ({"state": "DONE"}, "'DONE' is none of"),
        ({"runtime_config": {"params": {}}}, "run.runtime_config: unknown field 'params'"),
        ({"runtime_config": []}, "run.runtime_config: expected dict, got list"),
        ({"runtime_config": {"parameters": {"x": 1}}}, "parameter x is not an input"),
        ({"experiment_id": "f"}, "Experiment f not found"),
    ],
)
def test_runs_that_do_not_fit(server: KfpServer, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        server.create_run(make_run(server, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_concurrency": 1}, "expected str, got int"),
        ({"max_concurrency": "11"}, "at most 10"),
        ({"mode": "ON"}, "is none of"),
        ({"trigger": {"cron": "0 0 3 * * *"}}, "unknown field 'cron'"),
        ({"trigger": {"cron_schedule": {"cron": "0 3 * *"}}}, "not a supported format"),
    ],
)
def test_schedules_that_do_not_fit(server: KfpServer, changes: dict[str, Any], message: str) -> None:
    trigger = {"cron_schedule": {"cron": "0 0 3 * * *"}}
    body = make_run(server, trigger=trigger, max_concurrency="1", mode="ENABLE")
    assert server.create_schedule(body)["status"] == "ENABLED"
    with pytest.raises(RefusedError, match=message):
        server.create_schedule({**body, **changes})
