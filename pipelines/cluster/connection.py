"""A connection to the API server of Kubeflow Pipelines."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase

from pipelines.cluster.credentials import Credentials, find_credentials, is_in_cluster
from pipelines.cluster.failures import FORWARD, ClusterError, explain_failures

ENDPOINT = "KF_PIPELINES_ENDPOINT"
UI_ENDPOINT = "KF_PIPELINES_UI_ENDPOINT"
NAMESPACE = "KF_PIPELINES_NAMESPACE"
CA_CERTIFICATE = "KF_PIPELINES_CA_CERT"
INSECURE = "KF_PIPELINES_INSECURE_TLS"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "kubeflow"
"""Where an installation for a single user runs its pods."""

REQUEST_TIMEOUT_S = (10.0, 60.0)
"""To connect, and to wait for an answer; the client by itself waits for ever."""


class TokenFile(TokenCredentialsBase):  # type: ignore[misc]  # kfp carries no types
    """Lets the client read a token anew for every request."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def refresh_api_key_hook(self, config: Any) -> None:
        """Called by the client before each request."""
        config.api_key["authorization"] = self._credentials.read_token()


@dataclass(frozen=True)
class Cluster:
    """An installation that has answered.

    Args:
        client: Its generated interfaces are `client.runs`, `client.recurring_runs` and so on.
        endpoint: Address of the API.
        ui_endpoint: Address of the web interface.
        namespace: That of every request; None where the installation is for a single user.
        pod_namespace: Where the pods of runs are.
        credentials: What the server is shown.
    """

    client: Any
    endpoint: str
    ui_endpoint: str
    namespace: str | None
    pod_namespace: str
    credentials: Credentials

    @contextmanager
    def asking(self, subject: str) -> Iterator[None]:
        """For requests about one thing.

        Raises:
            ClusterError: A request fails, or something else than the API answers, such as a login page.
        """
        with explain_failures(subject, self.endpoint, self.credentials.secrets):
            yield
        check_answer(self.client, self.endpoint)

    def run_url(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self.ui_endpoint}/#/runs/details/{run_id}"


def connect(endpoint: str | None = None, namespace: str | None = None) -> Cluster:
    """Finds the server and asks whether it is healthy.

    Args:
        endpoint: Its address; None for that of the environment, or of this cluster.
        namespace: Of an installation for several users; None for that of the environment, or of this pod.

    Raises:
        ClusterError: There is no address, or what is there does not answer as KFP does.
    """
    environment = os.environ
    address = _locate(endpoint or environment.get(ENDPOINT), environment)
    chosen = namespace or environment.get(NAMESPACE)
    credentials = find_credentials(address, environment)
    client = _open_client(address, chosen, credentials, environment)
    with explain_failures("health", address, credentials.secrets):
        health = client.healthzs.healthz_service_get_healthz(_request_timeout=REQUEST_TIMEOUT_S)
    check_answer(client, address)
    if health.multi_user and not chosen:
        chosen = _read_pod_namespace(address)
    return Cluster(
        client=client,
        endpoint=address,
        ui_endpoint=(environment.get(UI_ENDPOINT) or address).rstrip("/"),
        namespace=chosen if health.multi_user else None,
        pod_namespace=chosen or DEFAULT_NAMESPACE,
        credentials=credentials,
    )


def check_answer(client: Any, endpoint: str) -> None:
    """The generated client takes any page for an object without fields.

    Raises:
        ClusterError: The last answer was no JSON.
    """
    response = client.healthzs.healthz_service_get_healthz.__self__.api_client.last_response
    kind = response.getheader("content-type") or "nothing"
    if "json" not in kind:
        raise ClusterError(
            f"{endpoint}: answered with {kind.partition(';')[0]}, probably a login page; log in and set "
            "KF_PIPELINES_COOKIES or KF_PIPELINES_TOKEN, and check that --endpoint is the API (often https://…/pipeline)"
        )


def _locate(endpoint: str | None, environment: Mapping[str, str]) -> str:
    if not endpoint and is_in_cluster(environment):
        return f"http://ml-pipeline.{DEFAULT_NAMESPACE}.svc.cluster.local:8888"
    if not endpoint:
        raise ClusterError(f"no server: pass --endpoint or set {ENDPOINT}; without an ingress, `{FORWARD}` makes one")
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ClusterError(f"--endpoint {parts.hostname or endpoint}: expected http://host:port or https://host/path")
    if "@" in parts.netloc:
        raise ClusterError(f"--endpoint {parts.hostname}: credentials do not belong there; set KF_PIPELINES_TOKEN")
    return endpoint.rstrip("/")


def _open_client(
    endpoint: str, namespace: str | None, credentials: Credentials, environment: Mapping[str, str]
) -> kfp.Client:
    insecure = environment.get(INSECURE, "") not in ("", "0", "false")
    authority = environment.get(CA_CERTIFICATE)
    if authority and not Path(authority).is_file():
        raise ClusterError(f"{CA_CERTIFICATE} {authority}: no such file; expected the certificates in PEM form")
    if insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is for KFP 2
        client = kfp.Client(
            host=endpoint,
            namespace=namespace or "-",  # with an empty one it asks the server first, five times with pauses
            existing_token=credentials.token,
            credentials=TokenFile(credentials) if credentials.token_file else None,
            cookies=credentials.cookies,
            ssl_ca_cert=authority,
            verify_ssl=not insecure,
        )
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it prints a line for every retry; the client resets this
    return client


def _read_pod_namespace(endpoint: str) -> str:
    try:
        return POD_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        raise ClusterError(
            f"{endpoint}: serves several users; name your namespace with --namespace or {NAMESPACE}"
        ) from None
