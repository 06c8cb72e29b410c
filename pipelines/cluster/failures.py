"""What can go wrong with a server that is asked: each failure is one line with the next step."""

from __future__ import annotations

import json

from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ReadTimeoutError, SSLError

LONGEST_REASON = 300
OVERLOADED = 429
SERVER_FAILURE = 500

NEXT_STEPS = {
    400: "correct the request; an installation older than 2.14 does not know all that is sent",
    401: "set KF_PIPELINES_TOKEN, KF_PIPELINES_TOKEN_FILE or KF_PIPELINES_COOKIES to fresh credentials, or "
    "KF_PIPELINES_USERNAME and KF_PIPELINES_PASSWORD for a login at Dex",
    403: "ask for the role kubeflow-edit in the namespace, or name another one with --namespace",
    404: "check the id or name, --namespace and --endpoint",
    409: "it was made meanwhile or its name is taken: run the command again, or choose another name",
    OVERLOADED: "try again in a minute",
    SERVER_FAILURE: "try again; then read `kubectl logs --namespace kubeflow deployment/ml-pipeline`",
}
FORWARD = "kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80"


class ClusterError(ValueError):
    """A server that cannot be used as asked; names it and what to do."""


class UnavailableError(ClusterError):
    """A failure that may pass: no connection, no answer in time, or a server in trouble."""


class MissingError(ClusterError):
    """The server knows nothing of that name."""


class UnauthenticatedError(ClusterError):
    """The server does not know who asks."""


def explain_answer(error: ApiException, where: str) -> ClusterError:
    """Return a refusal as one line."""
    status = int(error.status or 0)
    known = SERVER_FAILURE if status > SERVER_FAILURE else status
    step = NEXT_STEPS.get(known, "check --endpoint: this may not be the API of Kubeflow Pipelines")
    message = f"{where}: {_read_reason(error)} ({status}); {step}"
    if status == OVERLOADED or status >= SERVER_FAILURE:
        return UnavailableError(message)
    if status == 401 or (status == 403 and "html" in (error.headers or {}).get("content-type", "")):  # a proxy's page
        return UnauthenticatedError(message)
    return MissingError(message) if status == 404 else ClusterError(message)


def explain_connection(error: HTTPError, endpoint: str, subject: str) -> ClusterError:
    """Return a failure of the connection as one line."""
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(reason, SSLError):
        return ClusterError(
            f"{endpoint}: its TLS certificate is not accepted: {shorten(reason)}; name the authority that signed it "
            "with KF_PIPELINES_CA_CERT=ca.pem"
        )
    if isinstance(reason, ProtocolError):
        return UnavailableError(f"{endpoint}: {subject}: the connection broke off: {shorten(reason)}; try again")
    if isinstance(reason, ReadTimeoutError):
        return UnavailableError(
            f"{endpoint}: {subject}: no answer in time; look whether it was done all the same before you try again"
        )
    return UnavailableError(
        f"{endpoint}: no connection: {shorten(reason)}; check the address, or open one with `{FORWARD}` and "
        "--endpoint http://localhost:8080"
    )


def _read_reason(error: ApiException) -> str:
    """Return the message of the server, which sends JSON where it is KFP, and HTML or nothing where it is a proxy."""
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error_message") or body.get("error")
    except (TypeError, ValueError, AttributeError):
        text = None
    return shorten(text or error.reason or "refused")


def shorten(reason: object) -> str:
    """Return a reason without the address of an object that some messages begin with."""
    text = " ".join(str(reason).split())
    return text.rpartition(" object at 0x")[2].partition(">: ")[2][:LONGEST_REASON] or text[:LONGEST_REASON]
