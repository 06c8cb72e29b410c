"""The client of S3: where it is sent, what it is sent again, and what its failures mean."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from ur4rec.storage.objects import Location, StoreError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
"""Between two attempts; each pause is a random part of one twice as long as the one before."""
UNREACHABLE_S = 30.0
"""After which a service is given up that has not answered once."""
CONNECT_TIMEOUT_S = 8.0
TOLD_AFTER_S = 5.0
"""After which a failed attempt is told, once."""
LONGEST_REASON = 300
GONE = {"NoSuchKey", "PreconditionFailed", "404", "412"}
"""Codes of an object that is not there, or not in this version; where there is no body, the status is the code."""
UNKNOWN = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId"),
    *("AuthorizationHeaderMalformed", "TokenRefreshRequired"),
}
PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses of failures that may pass."""
DROPPED = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)
NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
)


class DamagedTransferError(Exception):
    """Bytes that arrived damaged each time."""


class UnreachableError(Exception):
    """A service that has never answered."""


class Client:
    """Requests about one bucket, each made again for `patience_s` seconds where its failure may pass.

    A service that has not answered once is given up after `UNREACHABLE_S`, for its address may be wrong; one that has
    may be restarting.
    """

    def __init__(self, location: Location, patience_s: float) -> None:
        self._retrying = Retrying(
            stop=self._is_over,
            wait=self._pause,
            retry=retry_if_exception(_may_pass),
            before_sleep=self._tell,
            reraise=True,
        )
        self._patience_s = patience_s
        self._has_answered = self._has_told = False
        self._bucket = location.bucket
        self._client = _connect(location)
        self.endpoint = str(self._client.meta.endpoint_url)

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer; a body that is a file is sent, and one that is received is read."""

        def ask() -> dict[str, Any]:
            with _opened(parameters) as opened, self._noting_answers():
                answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._bucket, **opened)
            if "Body" in answer:
                with answer["Body"] as body:
                    answer["Body"] = body.read()
            return answer

        try:
            return self._retrying.copy()(ask)
        except DROPPED as error:
            if self._has_answered or isinstance(error, boto.SSLError):
                raise
            raise UnreachableError(f"{self._limit_s:g} s ({error})") from None

    @property
    def _limit_s(self) -> float:
        return self._patience_s if self._has_answered else min(self._patience_s, UNREACHABLE_S)

    def _is_over(self, state: RetryCallState) -> bool:
        return (state.seconds_since_start or 0.0) >= self._limit_s

    def _pause(self, state: RetryCallState) -> float:
        """Return a pause, short enough that what is to be told is told in time."""
        pause = wait_random_exponential(FIRST_PAUSE_S, LONGEST_PAUSE_S)(state)
        return pause if self._has_answered else min(pause, TOLD_AFTER_S)

    def _tell(self, state: RetryCallState) -> None:
        if self._has_told or (state.seconds_since_start or 0.0) < TOLD_AFTER_S:
            return
        self._has_told = True
        reason = state.outcome.exception() if state.outcome else None
        logging.getLogger(__name__).warning(
            "%s: does not answer as it should; asking again for up to %g s (%s)", self.endpoint, self._limit_s, reason
        )

    @contextmanager
    def _noting_answers(self) -> Iterator[None]:
        try:
            yield
        except boto.ClientError:
            self._has_answered = True
            raise
        else:
            self._has_answered = True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@lru_cache(maxsize=4)
def _open_session(environment: frozenset[tuple[str, str]]) -> boto3.Session:
    """Open a session for an environment; another client of it takes a tenth of the time of the first."""
    return boto3.Session()


def _connect(location: Location) -> Any:
    """Return a client; an endpoint other than Amazon's is asked by paths, not by a host for each bucket."""
    session = _open_session(frozenset(item for item in os.environ.items() if item[0].startswith("AWS_")))
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        retries={"total_max_attempts": 1},  # one place that retries, by time
        request_checksum_calculation="when_required",  # ours are sent along, in a form that old services know
        response_checksum_validation="when_required",
    )
    client = session.client("s3", config=config)
    if session.get_credentials() is None:
        raise boto.NoCredentialsError
    if (urlsplit(client.meta.endpoint_url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        if location.scheme == "minio":
            raise StoreError(f"{location}: the address of the service is not known; set AWS_ENDPOINT_URL")
        return client
    styled = {"addressing_style": "path", **(client.meta.config.s3 or {})}
    return session.client("s3", config=config.merge(Config(s3=styled)))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, boto.ClientError):
        return _status_of(error) in PASSING or code_of(error) in ("ConditionalRequestConflict", "RequestTimeout")
    return isinstance(error, DROPPED) and not isinstance(error, boto.SSLError)


def code_of(error: boto.ClientError) -> str:
    """Return the service's code, or else the status: something between may have answered."""
    return error.response.get("Error", {}).get("Code") or str(_status_of(error))


def _status_of(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def unless(codes: set[str]) -> Iterator[None]:
    """End the block where the service answers with one of these codes."""
    try:
        yield
    except boto.ClientError as error:
        if code_of(error) not in codes:
            raise


def explain(error: Exception, verb: str, patience_s: float) -> str:
    """Tell why `verb` failed and what to do."""
    code = code_of(error) if isinstance(error, boto.ClientError) else ""
    told = f"{code}: {error.response['Error'].get('Message')}" if isinstance(error, boto.ClientError) else str(error)
    reason = " ".join(told.split())[:LONGEST_REASON]
    if isinstance(error, UnreachableError):
        return f"no answer for {reason}; check AWS_ENDPOINT_URL, and that the service can be reached from here"
    if code == "NoSuchBucket":
        return "no such bucket; create it or correct its name"
    if code in UNKNOWN or isinstance(error, NO_CREDENTIALS):
        step = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile by AWS_PROFILE"
        return f"no usable AWS credentials; {step} ({reason})"
    if code in ("AccessDenied", "403"):
        rights = "expected the rights s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"
        return f"not allowed to {verb} objects; {rights} ({reason})"
    if isinstance(error, DamagedTransferError):
        return f"could not {verb} {error}"
    return f"could not {verb} objects, transient failures having been retried for {patience_s:g} s ({reason})"


@contextmanager
def _opened(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Open the body where it is a file."""
    with ExitStack() as stack:
        body = parameters.get("Body")
        yield parameters | ({"Body": stack.enter_context(body.open("rb"))} if isinstance(body, Path) else {})
