"""A Kubeflow Pipelines server for the tests that talk to one; everything is compiled and digested once."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from kfp_server import KfpServer, running_kfp_server

from pipelines import compilation
from pipelines.compilation import NAMED_BY_VERSION
from pipelines.options import ImageOptions
from ur4rec.storage.code_digest import code_digest

compile_anew = compilation.compile_training
digest_once = cache(code_digest)
"""The sources do not change while the tests run."""
compiled: dict[str, bytes] = {}


def compile_once(options: ImageOptions = NAMED_BY_VERSION) -> bytes:
    """Under pytest kfp needs seconds: for every setting of a task it looks at the whole stack."""
    profile = options.profile
    key = repr((options, Path(profile).read_bytes() if profile and Path(profile).is_file() else b""))
    if key not in compiled:
        compiled[key] = compile_anew(options)
    return compiled[key]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.arguments.code_digest", digest_once)
    for module in ("compilation", "cluster.package", "cluster.schedule_update"):
        monkeypatch.setattr(f"pipelines.{module}.compile_training", compile_once)


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
