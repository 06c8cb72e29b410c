from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dex_proxy import DexProxy, running_dex_proxy
from kfp_server import KfpServer
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.cluster.connection import connect

pytestmark = pytest.mark.server

USER, PASSWORD = "user@example.com", "12 34&ä"


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def fail() -> str:
    """The one line of an error, in which no password is."""
    code, output = invoke("runs")
    assert code == 2, output
    assert output.startswith("Error: ")
    assert output.count("\n") == 1
    assert PASSWORD not in output
    return output


@pytest.fixture
def proxy(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[DexProxy]:
    """Kubeflow for several users; the environment names a user of it."""
    kfp_server.multi_user = True
    for name in ("PASSWORD_FILE", "DEX_CONNECTOR"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    with running_dex_proxy(kfp_server.address) as running:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"{running.address}/pipeline")
        monkeypatch.setenv("KF_PIPELINES_NAMESPACE", "team")
        monkeypatch.setenv("KF_PIPELINES_USERNAME", USER)
        monkeypatch.setenv("KF_PIPELINES_PASSWORD", PASSWORD)
        yield running


def test_a_login_with_the_form_of_static_passwords(proxy: DexProxy, kfp_server: KfpServer) -> None:
    code, output = invoke("runs")
    assert code == 0, output
    assert proxy.logins == 1
    assert proxy.posted == [{"login": USER, "password": PASSWORD}]
    assert kfp_server.sent("GET", "/runs")[0].query["namespace"] == "team"


def test_a_password_in_a_file(proxy: DexProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    monkeypatch.delenv("KF_PIPELINES_PASSWORD")
    monkeypatch.setenv("KF_PIPELINES_PASSWORD_FILE", str(tmp_path / "password"))
    assert invoke("runs")[0] == 0


@pytest.mark.parametrize("shows_button", [False, True])
@pytest.mark.parametrize("skips_approval", [False, True])
def test_a_page_of_connectors_a_page_of_approval_and_a_button(
    proxy: DexProxy, shows_button: bool, skips_approval: bool
) -> None:
    proxy.connectors = ["github", "ldap", "local"]
    proxy.shows_button, proxy.skips_approval = shows_button, skips_approval
    code, output = invoke("runs")
    assert code == 0, output
    assert proxy.paths.count("POST /dex/approval") == (not skips_approval)


def test_the_form_of_ldap(proxy: DexProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.connectors = ["local", "ldap"]
    monkeypatch.setenv("KF_PIPELINES_USERNAME", "jane")
    monkeypatch.setenv("KF_PIPELINES_PASSWORD", "ldap-password")
    monkeypatch.setenv("KF_PIPELINES_DEX_CONNECTOR", "ldap")
    assert invoke("runs")[0] == 0
    monkeypatch.delenv("KF_PIPELINES_DEX_CONNECTOR")
    proxy.connectors = ["ldap", "github"]
    assert invoke("runs")[0] == 0


def test_a_connector_that_has_to_be_named(proxy: DexProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.connectors = ["corporate", "partners"]
    assert "which connector? set KF_PIPELINES_DEX_CONNECTOR to one of corporate, partners" in fail()
    monkeypatch.setenv("KF_PIPELINES_DEX_CONNECTOR", "ldap")
    assert "ldap? set KF_PIPELINES_DEX_CONNECTOR to one of corporate, partners" in fail()


@pytest.mark.parametrize("redirects_api", [False, True])
def test_a_session_that_has_ended_is_renewed(proxy: DexProxy, kfp_server: KfpServer, redirects_api: bool) -> None:
    """Whether the proxy answers 401 or leads to Dex's page."""
    proxy.redirects_api = redirects_api
    cluster = connect()
    proxy.sessions.clear()
    proxy.connectors = ["local", "ldap"]
    cluster.ask("experiments", cluster.client.experiments.experiment_service_list_experiments, namespace="team")
    assert proxy.logins == 2
    cluster.ask("experiments", cluster.client.experiments.experiment_service_list_experiments, namespace="team")
    assert proxy.logins == 2


def test_a_post_is_repeated_after_a_new_login_and_done_once(proxy: DexProxy, kfp_server: KfpServer) -> None:
    from kfp_server_api import V2beta1Experiment

    cluster = connect()
    proxy.sessions.clear()
    body = V2beta1Experiment(display_name="mine", namespace="team")
    cluster.ask("experiment", cluster.client.experiments.experiment_service_create_experiment, body)
    assert [one["display_name"] for one in kfp_server.experiments.values()] == ["mine"]


def test_a_wrong_password_is_one_line_and_is_tried_once(proxy: DexProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_PASSWORD", "wrong-password")
    line = fail()
    assert "/dex/auth/local/login: user name or password is wrong; correct KF_PIPELINES_USERNAME and" in line
    assert "wrong-password" not in line
    assert len(proxy.posted) == 1  # a second try may lock the account


def test_another_login_form_is_one_line(proxy: DexProxy) -> None:
    proxy.other_form = True
    line = fail()
    assert "expected Dex's form for a user name and a password, found another page" in line
    assert "set KF_PIPELINES_COOKIES, or use a token" in line
    assert not proxy.posted


def test_a_login_that_leaves_encryption_is_not_followed(proxy: DexProxy) -> None:
    proxy.leads_to = "http://dex.example.com"
    line = fail()
    assert "leads to http://dex.example.com/dex/auth, which is not encrypted" in line
    assert not proxy.posted


def test_the_api_itself_asks_for_no_login(
    proxy: DexProxy, kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no page at its root."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.address)
    assert invoke("runs")[0] == 0
    assert not proxy.posted


def test_a_server_without_a_login_needs_none(
    proxy: DexProxy, kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port-forward that goes past the proxy."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.address)
    kfp_server.faults.append(lambda handler: handler._send(200, b"<html>Kubeflow</html>", "text/html"))  # type: ignore[attr-defined]
    assert invoke("runs")[0] == 0
    assert not proxy.posted


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PASSWORD": ""}, "needs a password in KF_PIPELINES_PASSWORD or in the file that KF_PIPELINES_PASSWORD_FILE"),
        ({"PASSWORD": f"{PASSWORD}\nb"}, "KF_PIPELINES_PASSWORD: expected one line of text"),
        ({"PASSWORD_FILE": "/nowhere/password"}, "KF_PIPELINES_PASSWORD_FILE /nowhere/password: cannot be read"),
        ({"TOKEN": "abc"}, "KF_PIPELINES_USERNAME and KF_PIPELINES_TOKEN: both are set; unset one of them"),
        ({"COOKIES": "a=b"}, "KF_PIPELINES_USERNAME and KF_PIPELINES_COOKIES: both are set; unset one of them"),
        ({"ENDPOINT": "http://kubeflow.example.com"}, "would be sent in the clear; use https://"),
    ],
)
def test_what_the_environment_says_is_checked_first(
    proxy: DexProxy, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"KF_PIPELINES_{name}", value)
    assert message in fail()
    assert not proxy.paths


def test_nobody_answers_a_login(proxy: DexProxy) -> None:
    proxy.server.shutdown()
    proxy.server.server_close()
    line = fail()
    assert "/pipeline: no connection: " in line
    assert "object at" not in line


def test_neither_password_nor_cookie_is_shown(proxy: DexProxy, kfp_server: KfpServer) -> None:
    cluster = connect()
    (session,) = proxy.sessions
    assert {PASSWORD, session} <= set(cluster.session.secrets if cluster.session else ())
    assert PASSWORD not in repr(cluster)
    assert session not in repr(cluster)
