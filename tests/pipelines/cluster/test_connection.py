from __future__ import annotations

import datetime
import ipaddress
import logging
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kfp_server import KfpServer
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.cluster import connection, credentials
from pipelines.cluster.connection import connect
from pipelines.cluster.credentials import find_credentials
from pipelines.cluster.failures import ClusterError

pytestmark = pytest.mark.server

TOKEN = "very-secret-token"
RUN = "5f1c3f8e-0000-4000-8000-000000000000"


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def fail_with(*arguments: str) -> str:
    """The one line of an error."""
    code, output = invoke(*arguments)
    assert code == 2, output
    assert output.startswith("Error: ")
    assert output.count("\n") == 1
    return output


# who asks


def test_a_bearer_token_of_the_environment(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kfp_server.token = TOKEN
    assert "set KF_PIPELINES_TOKEN, KF_PIPELINES_TOKEN_FILE or KF_PIPELINES_COOKIES" in fail_with("schedule", "list")
    monkeypatch.setenv("KF_PIPELINES_TOKEN", TOKEN)
    assert invoke("schedule", "list")[0] == 0
    assert kfp_server.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_token_file_is_read_for_every_request(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    monkeypatch.setenv("KF_PIPELINES_TOKEN_FILE", str(file))
    kfp_server.token = "first"
    cluster = connect()
    file.write_text("second\n")
    kfp_server.token = "second"
    cluster.ask("experiments", cluster.client.experiments.experiment_service_list_experiments)
    assert [request.headers["authorization"] for request in kfp_server.requests] == ["Bearer first", "Bearer second"]


def test_the_token_of_a_pod(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    kfp_server.token = TOKEN
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert invoke("schedule", "list")[0] == 0


def test_the_token_of_a_pod_stays_within_the_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT_TOKEN", tmp_path / "token")
    within = find_credentials("http://ml-pipeline.kubeflow.svc.cluster.local:8888", {})
    assert within.read_token() == TOKEN
    assert find_credentials("https://kubeflow.example.com/pipeline", {}).is_empty
    assert find_credentials("https://[2001:db8::5]/pipeline", {}).is_empty
    assert TOKEN not in repr(within)


def test_in_a_pod_the_server_of_the_cluster_is_asked() -> None:
    address = connection._locate(None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert address == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


def test_cookies(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kfp_server.cookies = "authservice_session=abc; theme=dark"
    assert "(401)" in fail_with("schedule", "list")
    monkeypatch.setenv("KF_PIPELINES_COOKIES", kfp_server.cookies)
    assert invoke("schedule", "list")[0] == 0
    monkeypatch.delenv("KF_PIPELINES_COOKIES")
    (tmp_path / "cookies").write_text(kfp_server.cookies + "\n")
    monkeypatch.setenv("KF_PIPELINES_COOKIES_FILE", str(tmp_path / "cookies"))
    assert invoke("schedule", "list")[0] == 0


@pytest.mark.parametrize("endpoint", ["http://kubeflow.example.com", "http://192.0.2.1:8080"])
def test_credentials_are_not_sent_in_the_clear(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN", TOKEN)
    assert "would be sent in the clear; use https://" in fail_with("schedule", "list", "--endpoint", endpoint)


@pytest.mark.parametrize("value", [f"{TOKEN}\nX-Other: 1", f"{TOKEN} x", f"{TOKEN}é"])
def test_a_token_that_is_no_header_is_refused_unseen(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN", value)
    message = fail_with("schedule", "list")
    assert "KF_PIPELINES_TOKEN: expected one line of printable ASCII characters" in message
    assert TOKEN not in message


def test_a_token_file_that_is_missing(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN_FILE", "/nowhere/token")
    assert "KF_PIPELINES_TOKEN_FILE /nowhere/token: cannot be read: No such file" in fail_with("schedule", "list")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_the_token_is_in_no_output(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The server repeats it in its message."""
    monkeypatch.setenv("KF_PIPELINES_TOKEN", TOKEN)
    kfp_server.token = TOKEN
    for command in (("schedule", "list"), ("schedule", "show", "x"), ("status", RUN), ("--debug", "status", RUN)):
        kfp_server.faults.extend([0, status])
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code != 0
        assert TOKEN not in result.output + repr(result.exception)
        if "--debug" not in command:
            assert "asked by Bearer ***" in result.output


# what goes wrong


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (400, "correct the request"),
        (401, "to fresh credentials"),
        (403, "ask for the role kubeflow-edit in the namespace, or name another one with --namespace"),
        (404, "check the id or name, --namespace and --endpoint"),
        (409, "run the command again, or choose another name"),
        (429, "try again in a minute"),
        (500, "kubectl logs --namespace kubeflow deployment/ml-pipeline"),
        (503, "kubectl logs --namespace kubeflow deployment/ml-pipeline"),
        (418, "this may not be the API of Kubeflow Pipelines"),
    ],
)
def test_every_refusal_is_one_line_with_the_next_step(kfp_server: KfpServer, status: int, step: str) -> None:
    kfp_server.faults.extend([0, status])
    line = fail_with("status", RUN)
    assert f"{kfp_server.address}: run {RUN}: made to fail" in line
    assert f"({status}); " in line
    assert step in line


def test_no_server_is_named(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    line = fail_with("schedule", "list")
    assert "pass --endpoint or set KF_PIPELINES_ENDPOINT" in line
    assert "kubectl port-forward" in line


def test_nobody_listens(kfp_server: KfpServer, caplog: pytest.LogCaptureFixture) -> None:
    kfp_server.stop()
    with caplog.at_level(logging.NOTSET):
        line = fail_with("schedule", "list")
    assert "Connection refused" in line
    assert "kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80" in line
    assert "object at" not in line


def test_no_such_host(kfp_server: KfpServer) -> None:
    line = fail_with("schedule", "list", "--endpoint", "http://no-such-host.invalid:8080")
    assert "no connection" in line
    assert "no-such-host.invalid" in line


def test_a_server_that_does_not_answer(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", (5.0, 0.05))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        line = fail_with("schedule", "list", "--endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "no answer in time" in line


def test_a_connection_that_breaks_off(kfp_server: KfpServer) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    kfp_server.faults.extend([hang_up] * 4)
    assert "the connection broke off" in fail_with("schedule", "list")


def test_a_login_page_is_no_answer(kfp_server: KfpServer) -> None:
    kfp_server.login_page = True
    line = fail_with("schedule", "list")
    assert "answered with text/html, probably a login page; log in and set KF_PIPELINES_COOKIES" in line


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("localhost:8080", "expected http://host:port or https://host/path"),
        ("ftp://localhost", "expected http://host:port"),
        ("https://localhost/?a=b", "expected http://host:port"),
        (f"https://me:{TOKEN}@localhost", "credentials do not belong there"),
    ],
)
def test_an_address_that_is_none(kfp_server: KfpServer, endpoint: str, message: str) -> None:
    line = fail_with("schedule", "list", "--endpoint", endpoint)
    assert message in line
    assert TOKEN not in line


def test_an_id_that_is_none(kfp_server: KfpServer) -> None:
    assert "expected the id of a run" in fail_with("status", "../healthz")


def test_an_installation_for_several_users_asks_for_the_namespace_of_a_pod(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kfp_server.multi_user = True
    monkeypatch.setattr(connection, "POD_NAMESPACE", tmp_path / "namespace")
    with pytest.raises(ClusterError, match="name your namespace with --namespace or KF_PIPELINES_NAMESPACE"):
        connect()
    (tmp_path / "namespace").write_text("team\n")
    assert connect().namespace == "team"
    assert connect(namespace="mine").namespace == "mine"


# encryption


@pytest.fixture
def authority(kfp_server: KfpServer, tmp_path: Path) -> Path:
    """The server speaks TLS; its certificate is signed by itself, and is the only authority to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(addresses, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    kfp_server.stop()
    kfp_server.start((certificate, private))
    return certificate


def test_certificates_are_verified(
    kfp_server: KfpServer, authority: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.address)
    line = fail_with("schedule", "list")
    assert "its TLS certificate is not accepted" in line
    assert "KF_PIPELINES_CA_CERT=ca.pem" in line
    assert not kfp_server.requests
    monkeypatch.setenv("KF_PIPELINES_CA_CERT", str(authority))
    assert invoke("schedule", "list")[0] == 0
    monkeypatch.setenv("KF_PIPELINES_CA_CERT", str(tmp_path / "other.pem"))
    assert "other.pem: no such file" in fail_with("schedule", "list")
    monkeypatch.delenv("KF_PIPELINES_CA_CERT")
    monkeypatch.setenv("KF_PIPELINES_INSECURE_TLS", "1")
    assert invoke("schedule", "list")[0] == 0
