"""A Kubeflow Pipelines server for the tests that talk to one; everything is compiled and digested once."""

from collections.abc import Iterator

import pytest
from compiled_once import compile_and_digest_once
from kfp_server import KfpServer, running_kfp_server


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_and_digest_once(monkeypatch)


@pytest.fixture
def kfp_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """An empty server that the environment names; no other variable of it is set."""
    for name in ("TOKEN", "TOKEN_FILE", "COOKIES", "COOKIES_FILE", "NAMESPACE", "UI_ENDPOINT", "SA_TOKEN_PATH"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    for name in ("CA_CERT", "INSECURE_TLS", "TIME_ZONE"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    with running_kfp_server() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
        yield server
