"""A connection to the API server of Kubeflow Pipelines: where it is, who asks, and what can go wrong.

Credentials come from the environment or from files, never from an option. Every failure is one line with the next step.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ReadTimeoutError, SSLError

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
TOKEN = "KF_PIPELINES_TOKEN"  # noqa: S105  # names of variables
TOKEN_FILE = "KF_PIPELINES_TOKEN_FILE"  # noqa: S105
COOKIES = "KF_PIPELINES_COOKIES"
COOKIES_FILE = "KF_PIPELINES_COOKIES_FILE"
SERVICE_ACCOUNT_FILE = "KF_PIPELINES_SA_TOKEN_PATH"
SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod finds a token that is meant for KFP."""
CLUSTER_HOST = re.compile(r"[^.:]+|[^:]+\.svc(\.cluster\.local)?")
"""A name; an IPv6 address has no dot either."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_COOKIES = re.compile(r"[\x20-\x7e]+")

LONGEST_REASON = 300
OVERLOADED = 429
SERVER_FAILURE = 500

NEXT_STEPS = {
    400: "correct the request; an installation older than 2.14 does not know all that is sent",
    401: "set KF_PIPELINES_TOKEN, KF_PIPELINES_TOKEN_FILE or KF_PIPELINES_COOKIES to fresh credentials",
    403: "ask for the role kubeflow-edit in the namespace, or name another one with --namespace",
    404: "check the id or name, --namespace and --endpoint",
    409: "it was made meanwhile or its name is taken: run the command again, or choose another name",
    OVERLOADED: "try again in a minute",
    SERVER_FAILURE: "try again; then read `kubectl logs --namespace kubeflow deployment/ml-pipeline`",
}
FORWARD = "kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80"
NO_DATE = 1971
"""Before that year lies the zero that some servers send for a time that is not known."""


class ClusterError(ValueError):
    """A server that cannot be used as asked; names it and what to do."""


class UnavailableError(ClusterError):
    """A failure that may pass: no connection, no answer in time, or a server in trouble."""


class MissingError(ClusterError):
    """The server knows nothing of that name."""


@dataclass(frozen=True)
class Credentials:
    """A token, in memory or in a file that is read again for every request, and cookies."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    cookies: str | None = field(default=None, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the server is shown nothing."""
        return not (self.token or self.token_file or self.cookies)

    def read_token(self) -> str | None:
        """Return the token as of now: that of a pod is replaced every hour.

        Raises:
            ClusterError: The file cannot be read or holds no token.
        """
        if self.token_file is None:
            return self.token
        return _read_secret(self.token_file, TOKEN_FILE, _TOKEN)

    @property
    def secrets(self) -> list[str]:
        """Texts that may not be shown."""
        return [secret for secret in (self.read_token(), self.cookies) if secret]


def find_credentials(endpoint: str, environment: Mapping[str, str] = os.environ) -> Credentials:
    """Find the credentials of the environment; a pod's own token goes to servers within the cluster only.

    Raises:
        ClusterError: A variable or file holds nothing that can be sent, or would be sent in the clear.
    """
    cookies = _check(environment[COOKIES], COOKIES, _COOKIES) if environment.get(COOKIES) else None
    if environment.get(COOKIES_FILE):
        cookies = _read_secret(Path(environment[COOKIES_FILE]), COOKIES_FILE, _COOKIES)
    found = replace(_find_token(endpoint, environment), cookies=cookies)
    found.read_token()
    if not found.is_empty and not _is_private(endpoint):
        raise ClusterError(f"{endpoint}: credentials would be sent in the clear; use https://, or a port-forward")
    return found


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
            answer = question(*arguments, _request_timeout=REQUEST_TIMEOUT_S, **options)
        except (ApiException, HTTPError) as error:
            raise self._explain(error, subject) from None
        self._check_answer()
        return answer

    def run_url(self, run_id: str) -> str:
        """Return the address of the page of a run."""
        return f"{self.ui_endpoint}/#/runs/details/{run_id}"

    def _explain(self, error: ApiException | HTTPError, subject: str) -> ClusterError:
        """Return an exception of the client as one line that holds no secret, even where the server repeats it."""
        if isinstance(error, ApiException):
            failure = _explain_answer(error, f"{self.endpoint}: {subject}")
        else:
            failure = _explain_connection(error, self.endpoint, subject)
        message = str(failure)
        for secret in self.credentials.secrets:
            message = message.replace(secret, "***")
        return type(failure)(message)

    def _check_answer(self) -> None:
        """Find a page that is no answer: the generated client takes any for an object without fields."""
        response = self.client.healthzs.healthz_service_get_healthz.__self__.api_client.last_response
        kind = response.getheader("content-type") or "nothing"
        if "json" not in kind:
            raise ClusterError(
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
    client = _open_client(address, chosen, credentials, environment)
    cluster = Cluster(
        client=client,
        endpoint=address,
        ui_endpoint=(environment.get(UI_ENDPOINT) or address).rstrip("/"),
        namespace=None,
        pod_namespace=chosen or DEFAULT_NAMESPACE,
        credentials=credentials,
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


def _find_token(endpoint: str, environment: Mapping[str, str]) -> Credentials:
    if environment.get(TOKEN_FILE):
        return Credentials(token_file=Path(environment[TOKEN_FILE]))
    if environment.get(TOKEN):
        return Credentials(token=_check(environment[TOKEN], TOKEN, _TOKEN))
    if environment.get(SERVICE_ACCOUNT_FILE):
        return Credentials(token_file=Path(environment[SERVICE_ACCOUNT_FILE]))
    if SERVICE_ACCOUNT_TOKEN.is_file() and CLUSTER_HOST.fullmatch(urlsplit(endpoint).hostname or ""):
        return Credentials(token_file=SERVICE_ACCOUNT_TOKEN)
    return Credentials()


def _is_private(endpoint: str) -> bool:
    """Return whether what is sent stays on this machine or in the cluster, or is encrypted."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        return parts.scheme == "https" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bool(CLUSTER_HOST.fullmatch(host))


def _read_secret(path: Path, name: str, form: re.Pattern[str]) -> str:
    try:
        return _check(path.read_text(encoding="utf-8"), f"{name} {path}", form)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ClusterError(f"{name} {path}: cannot be read: {reason}") from None


def _check(text: str, name: str, form: re.Pattern[str]) -> str:
    """Refuse what is no header, without showing it: the client would show the secret as it refuses it."""
    stripped = text.strip()
    if not form.fullmatch(stripped):
        raise ClusterError(f"{name}: expected one line of printable ASCII characters")
    return stripped


def _explain_answer(error: ApiException, where: str) -> ClusterError:
    status = int(error.status or 0)
    known = SERVER_FAILURE if status > SERVER_FAILURE else status
    step = NEXT_STEPS.get(known, "check --endpoint: this may not be the API of Kubeflow Pipelines")
    message = f"{where}: {_read_reason(error)} ({status}); {step}"
    if status == OVERLOADED or status >= SERVER_FAILURE:
        return UnavailableError(message)
    return MissingError(message) if status == 404 else ClusterError(message)


def _explain_connection(error: HTTPError, endpoint: str, subject: str) -> ClusterError:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(reason, SSLError):
        return ClusterError(
            f"{endpoint}: its TLS certificate is not accepted: {_shorten(reason)}; name the authority that signed it "
            "with KF_PIPELINES_CA_CERT=ca.pem"
        )
    if isinstance(reason, ProtocolError):
        return UnavailableError(f"{endpoint}: {subject}: the connection broke off: {_shorten(reason)}; try again")
    if isinstance(reason, ReadTimeoutError):
        return UnavailableError(
            f"{endpoint}: {subject}: no answer in time; look whether it was done all the same before you try again"
        )
    return UnavailableError(
        f"{endpoint}: no connection: {_shorten(reason)}; check the address, or open one with `{FORWARD}` and "
        "--endpoint http://localhost:8080"
    )


def _read_reason(error: ApiException) -> str:
    """Return the message of the server, which sends JSON where it is KFP, and HTML or nothing where it is a proxy."""
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error_message") or body.get("error")
    except (TypeError, ValueError, AttributeError):
        text = None
    return _shorten(text or error.reason or "refused")


def _shorten(reason: object) -> str:
    """Return a reason without the address of an object that some messages begin with."""
    text = " ".join(str(reason).split())
    return text.rpartition(" object at 0x")[2].partition(">: ")[2][:LONGEST_REASON] or text[:LONGEST_REASON]
