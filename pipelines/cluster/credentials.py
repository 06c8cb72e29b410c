"""Who asks: credentials come from the environment or from files, never from an option."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kfp.client.token_credentials_base import TokenCredentialsBase

from pipelines.cluster.addresses import CLUSTER_HOST, is_private
from pipelines.cluster.dex import CONNECTOR, Account
from pipelines.cluster.failures import ClusterError

TOKEN = "KF_PIPELINES_TOKEN"  # noqa: S105  # names of variables
TOKEN_FILE = "KF_PIPELINES_TOKEN_FILE"  # noqa: S105
USERNAME = "KF_PIPELINES_USERNAME"
PASSWORD = "KF_PIPELINES_PASSWORD"  # noqa: S105
PASSWORD_FILE = "KF_PIPELINES_PASSWORD_FILE"  # noqa: S105
COOKIES = "KF_PIPELINES_COOKIES"
COOKIES_FILE = "KF_PIPELINES_COOKIES_FILE"
SERVICE_ACCOUNT_FILE = "KF_PIPELINES_SA_TOKEN_PATH"
SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod finds a token that is meant for KFP."""
_TOKEN = re.compile(r"[\x21-\x7e]+")
_COOKIES = re.compile(r"[\x20-\x7e]+")
_PASSWORD = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Credentials:
    """A token, in memory or in a file that is read again for every request, and cookies; or who logs in for cookies."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    cookies: str | None = field(default=None, repr=False)
    account: Account | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the server is shown nothing."""
        return not (self.token or self.token_file or self.cookies or self.account)

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
    account = find_account(environment)
    if account:
        found = Credentials(account=account)
    else:
        found = replace(_find_token(endpoint, environment), cookies=_find_cookies(environment))
    found.read_token()
    if not found.is_empty and not is_private(endpoint):
        raise ClusterError(f"{endpoint}: credentials would be sent in the clear; use https://, or a port-forward")
    return found


def find_account(environment: Mapping[str, str]) -> Account | None:
    """Find who logs in at Dex; None where nobody is named.

    Raises:
        ClusterError: There is no password, or something else is set that would do without one.
    """
    username = environment.get(USERNAME)
    if not username:
        return None
    for other in (TOKEN, TOKEN_FILE, COOKIES, COOKIES_FILE):
        if environment.get(other):
            raise ClusterError(f"{USERNAME} and {other}: both are set; unset one of them")
    if environment.get(PASSWORD_FILE):
        password = _read_secret(Path(environment[PASSWORD_FILE]), PASSWORD_FILE, _PASSWORD)
    elif environment.get(PASSWORD):
        password = _check(environment[PASSWORD], PASSWORD, _PASSWORD)
    else:
        raise ClusterError(f"{USERNAME}: needs a password in {PASSWORD} or in the file that {PASSWORD_FILE} names")
    return Account(username, password, environment.get(CONNECTOR, ""))


class TokenFile(TokenCredentialsBase):  # type: ignore[misc]  # kfp carries no types
    """Lets the client read a token anew for every request."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def refresh_api_key_hook(self, config: Any) -> None:
        """Called by the client before each request."""
        config.api_key["authorization"] = self._credentials.read_token()


def _find_cookies(environment: Mapping[str, str]) -> str | None:
    if environment.get(COOKIES_FILE):
        return _read_secret(Path(environment[COOKIES_FILE]), COOKIES_FILE, _COOKIES)
    return _check(environment[COOKIES], COOKIES, _COOKIES) if environment.get(COOKIES) else None


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


def _read_secret(path: Path, name: str, form: re.Pattern[str]) -> str:
    try:
        return _check(path.read_text(encoding="utf-8"), f"{name} {path}", form)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ClusterError(f"{name} {path}: cannot be read: {reason}") from None


def _check(text: str, name: str, form: re.Pattern[str]) -> str:
    """Refuse what cannot be sent, without showing it: the client would show the secret as it refuses it."""
    stripped = text.strip("\r\n") if form is _PASSWORD else text.strip()
    if not form.fullmatch(stripped):
        kind = "text" if form is _PASSWORD else "printable ASCII characters"
        raise ClusterError(f"{name}: expected one line of {kind}")
    return stripped
