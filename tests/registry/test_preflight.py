"""What a run needs is checked at once; on a cluster a file in a pod is no registry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ur4rec.registry import preflight
from ur4rec.registry.environment import DEFAULTS, PIPELINE_RUN, STATE
from ur4rec.registry.mlflow_client import TRACKING_URI, RegistryError, open_mlflow, resolve_tracking_uri
from ur4rec.registry.preflight import PreflightError, check_run, find_faults
from ur4rec.registry.run_settings import join_settings, split_settings


@pytest.fixture
def on_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIPELINE_RUN, "run-1")
    monkeypatch.delenv(TRACKING_URI, raising=False)


def find_lines(*arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(PreflightError) as caught:
        check_run(*arguments, **options)
    return str(caught.value).splitlines()[1:]


def test_what_is_there_is_handed_on(tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plays.csv").write_text("user_id,item_id,timestamp\n")
    checked = check_run([str(tmp_path / "plays.csv"), ""], {"seed": "7"}, {"min_rating": 2}, {}, tracking_uri, "")
    assert (checked.tracking_uri, checked.state) == (tracking_uri, "")
    assert checked.groups == split_settings(join_settings({"seed": "7"}, {"min_rating": 2}))
    assert capsys.readouterr().out == f"preflight: all is there; MLflow at {tracking_uri}\n"
    with open_mlflow(tracking_uri) as client:
        assert client.get_experiment_by_name("ur4rec")


def test_on_this_machine_the_address_of_the_environment_stays_there(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold credentials, and parameters are for all to see."""
    monkeypatch.setenv(TRACKING_URI, tracking_uri)
    monkeypatch.setenv(STATE, "gs://bucket/state")
    assert check_run([], {}, {}, {})[:2] == ("", "")


def test_every_fault_is_a_line(tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FREE_BYTES", 1 << 62)
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    lines = find_lines([str(tmp_path / "plays.csv")], {"text_provider": "dashscope"}, {}, {}, tracking_uri)
    assert [line.partition(": ")[0] for line in lines] == [str(tmp_path / "plays.csv"), "texts", "disk"]
    assert lines[1] == "texts: no API key for dashscope; set DASHSCOPE_API_KEY"


def test_wrong_settings_are_told_before_a_server_is_asked() -> None:
    rules, settings = sorted(
        find_lines([], {"seed": "x"}, {"champion_alias": "v1"}, {"min_user": 7}, "http://127.0.0.1:9")
    )
    assert settings.startswith("settings: ")
    assert all(f"{name}: " in settings for name in ("seed", "champion_alias"))
    assert rules == "gate_rules: unknown key 'min_user', did you mean 'min_users'?"


def test_a_setting_given_twice_with_two_values_is_told() -> None:
    (line,) = find_lines([], {"seed": "7"}, {"seed": 9}, {}, "http://127.0.0.1:9")
    assert line == "settings: seed: is 7 and 9; keep one of them"


@pytest.mark.usefixtures("on_cluster")
@pytest.mark.parametrize(
    ("uri", "named", "message"),
    [
        ("", "", f"tracking_uri is empty, and the config map {DEFAULTS} of this namespace names no {TRACKING_URI}"),
        ("sqlite:///mlflow.db", "", "is a file, which every task would have for itself; name a server"),
        ("", "/data/mlruns", "is a file, which every task would have for itself; name a server"),
        ("", "https://me:hunter2@mlflow", "MLflow: https://mlflow: its credentials would be visible to all"),
        ("http://127.0.0.1:9", "", "MLflow at http://127.0.0.1:9: no usable answer"),
    ],
)
def test_no_registry_for_all_tasks(uri: str, named: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    if named:
        monkeypatch.setenv(TRACKING_URI, named)
    (line,) = find_lines([], {}, {}, {}, uri)
    assert message in line
    assert "hunter2" not in line


@pytest.mark.usefixtures("on_cluster")
def test_a_state_in_a_pod_is_none() -> None:
    lines = find_lines([], {}, {}, {}, "http://127.0.0.1:9", "/tmp/state")
    assert "state: /tmp/state: is gone with its pod; expected gs:// or s3://bucket/prefix, or nothing" in lines


@pytest.mark.usefixtures("on_cluster")
def test_no_task_of_a_cluster_makes_a_registry_of_its_own() -> None:
    with pytest.raises(RegistryError, match=rf"tracking_uri: missing; .* config map {DEFAULTS}"):
        resolve_tracking_uri("")


def test_what_does_not_answer_in_time_is_missing() -> None:
    def fail() -> None:
        raise KeyError("key")

    checks: dict[str, Callable[[], object]] = {"slow": threading.Event().wait, "good": lambda: None, "bad": fail}
    assert find_faults(checks, limit_s=0.2) == ["slow: no answer within 0.2 s", "bad: 'key'"]
