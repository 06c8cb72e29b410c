"""A connection to the API server of Kubeflow Pipelines: where it is, and how it is asked."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
import urllib3
from kfp_server_api import ApiException, V2beta1PipelineVersionReference, V2beta1Run
from urllib3.exceptions import HTTPError

from pipelines.cluster.credentials import Credentials, TokenFile, find_credentials
from pipelines.cluster.dex import DexSession
from pipelines.cluster.failures import FORWARD, ClusterError, UnauthenticatedError, explain_answer, explain_connection

ENDPOINT = "KF_PIPELINES_ENDPOINT"
UI_ENDPOINT = "KF_PIPELINES_UI_ENDPOINT"
NAMESPACE = "KF_PIPELINES_NAMESPACE"
CA_CERTIFICATE = "KF_PIPELINES_CA_CERT"
INSECURE = "KF_PIPELINES_INSECURE_TLS"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "kubeflow"
"""Where an installation for a single user runs its pods."""

REQUEST_TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect, and to wait for an answer; the client by itself waits for ever."""
NO_DATE = 1971
"""Before that year lies the zero that some servers send for a time that is not known."""


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
        session: Cookies after a login at Dex, which is repeated when the server no longer takes them.
    """

    client: Any
    endpoint: str
    ui_endpoint: str
    namespace: str | None
    pod_namespace: str
    credentials: Credentials
    session: DexSession | None = None

    def ask(self, subject: str, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return the answer to one request.

        Args:
            subject: What the request is about, such as `run 1f…`.
            question: The method of the client that makes it.
            arguments: By position.
            options: By name.

        Raises:
            ClusterError: The request fails, or something else than the API answers, such as a login page.
        """
        try:
            return self._ask_once(subject, question, *arguments, **options)
        except UnauthenticatedError:
            if self.session is None:
                raise
            self._log_in(self.session)
            return self._ask_once(subject, question, *arguments, **options)

    def read_run(self, run_id: str) -> V2beta1Run:
        """Ask for a run.

        Raises:
            ClusterError: The id cannot be that of a run.
        """
        if not run_id.strip() or set(run_id) & set("/?#% "):
            raise ClusterError(f"run {run_id!r}: expected the id of a run, as `submit` prints it")
        return self.ask(f"run {run_id}", self.client.runs.run_service_get_run, run_id)

    def read_version(self, reference: V2beta1PipelineVersionReference) -> Any:
        """Ask for the compiled pipeline of a run."""
        name, get = reference.pipeline_version_id, self.client.pipelines.pipeline_service_get_pipeline_version
        return self.ask(f"version {name}", get, reference.pipeline_id, name).pipeline_spec

    def stop_run(self, run_id: str) -> None:
        """Stop a run."""
        self.ask(f"run {run_id}", self.client.runs.run_service_terminate_run, run_id)

    def run_url(self, run_id: str) -> str:
        """Return the address of the page of a run."""
        return f"{self.ui_endpoint}/#/runs/details/{run_id}"

    def write_log_command(self, run_id: str, node: str) -> str:
        """Return the command that prints the log of one pod, whose name ends in the number of its node."""
        number, namespace = node.rpartition("-")[2], self.pod_namespace
        pods = f"kubectl get pods --namespace {namespace} --selector pipeline/runid={run_id} --output name"
        return f'kubectl logs --namespace {namespace} --container main "$({pods} | grep -- -{number}$)"'

    def describe_logs(self, run_id: str) -> tuple[str, ...]:
        """Tell where the logs of a whole run are."""
        pods = f"--namespace {self.pod_namespace} --selector pipeline/runid={run_id}"
        return (
            "the API of Kubeflow Pipelines has no logs; those of all pods, as long as these exist:",
            f"  kubectl logs {pods} --container main --prefix --tail=-1",
        )

    def _ask_once(self, subject: str, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            answer = question(*arguments, _request_timeout=REQUEST_TIMEOUT_S, **options)
        except (ApiException, HTTPError) as error:
            raise self._explain(error, subject) from None
        self._check_answer()
        return answer

    def _log_in(self, session: DexSession) -> None:
        session.log_in()
        self._api_client.cookie = session.cookies

    @property
    def _api_client(self) -> Any:
        """What all generated interfaces share."""
        return self.client.healthzs.healthz_service_get_healthz.__self__.api_client

    def _explain(self, error: ApiException | HTTPError, subject: str) -> ClusterError:
        """Return an exception of the client as one line that holds no secret, even where the server repeats it."""
        if isinstance(error, ApiException):
            failure = explain_answer(error, f"{self.endpoint}: {subject}")
        else:
            failure = explain_connection(error, self.endpoint, subject)
        message = str(failure)
        for secret in [*self.credentials.secrets, *(self.session.secrets if self.session else ())]:
            message = message.replace(secret, "***")
        return type(failure)(message)

    def _check_answer(self) -> None:
        """Find a page that is no answer: the generated client takes any for an object without fields."""
        response = self._api_client.last_response
        kind = response.getheader("content-type") or "nothing"
        if "json" not in kind:
            raise UnauthenticatedError(
                f"{self.endpoint}: answered with {kind.partition(';')[0]}, probably a login page; log in and set "
                "KF_PIPELINES_COOKIES or KF_PIPELINES_TOKEN, and check that --endpoint is the API "
                "(often https://…/pipeline)"
            )


def connect(endpoint: str | None = None, namespace: str | None = None) -> Cluster:
    """Find the server and ask whether it is healthy.

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
    session = DexSession(address, credentials.account, _verify(environment)) if credentials.account else None
    if session:
        session.log_in()
        credentials = replace(credentials, cookies=session.cookies)
    client = _open_client(address, chosen, credentials, environment)
    cluster = Cluster(
        client=client,
        endpoint=address,
        ui_endpoint=(environment.get(UI_ENDPOINT) or address).rstrip("/"),
        namespace=None,
        pod_namespace=chosen or DEFAULT_NAMESPACE,
        credentials=credentials,
        session=session,
    )
    if not cluster.ask("health", client.healthzs.healthz_service_get_healthz).multi_user:
        return cluster
    chosen = chosen or _read_pod_namespace(address)
    return replace(cluster, namespace=chosen, pod_namespace=chosen)


def as_known(moment: datetime | None) -> datetime | None:
    """Return a time, or None where the server sent a zero."""
    return None if moment is None or moment.year < NO_DATE else moment


def _locate(endpoint: str | None, environment: Mapping[str, str]) -> str:
    if not endpoint and "KUBERNETES_SERVICE_HOST" in environment:  # this is a pod
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
    verify = _verify(environment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is for KFP 2
        client = kfp.Client(
            host=endpoint,
            namespace=namespace or "-",  # with an empty one it asks the server first, five times with pauses
            existing_token=credentials.token,
            credentials=TokenFile(credentials) if credentials.token_file else None,
            cookies=credentials.cookies or None,
            ssl_ca_cert=verify if isinstance(verify, str) else None,
            verify_ssl=bool(verify),
        )
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it prints a line for every retry; the client resets this
    return client


def _verify(environment: Mapping[str, str]) -> bool | str:
    """Return whether certificates are verified, or the file with the authorities."""
    authority = environment.get(CA_CERTIFICATE)
    if authority and not Path(authority).is_file():
        raise ClusterError(f"{CA_CERTIFICATE} {authority}: no such file; expected the certificates in PEM form")
    if environment.get(INSECURE, "") not in ("", "0", "false"):
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False
    return authority or True


def _read_pod_namespace(endpoint: str) -> str:
    try:
        return POD_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        raise ClusterError(
            f"{endpoint}: serves several users; name your namespace with --namespace or {NAMESPACE}"
        ) from None
