"""What a server is shown to prove who asks; it comes from the environment or from files, never from an option."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.cluster.failures import ClusterError

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
        """The token as of now: that of a pod is replaced every hour.

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
    """Those of the environment; a pod's own token goes to servers within the cluster only.

    Args:
        endpoint: Address of the server.
        environment: Variables.

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


def is_in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in environment


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
    """Whether what is sent stays on this machine or in the cluster, or is encrypted."""
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
    """A header with other characters would be refused by the client, which then shows the secret."""
    stripped = text.strip()
    if not form.fullmatch(stripped):
        raise ClusterError(f"{name}: expected one line of printable ASCII characters")
    return stripped
