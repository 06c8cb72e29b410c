"""A login at Dex, which a Kubeflow for several users sends everyone to: its pages are gone through as by a browser.

The proxy in front of Kubeflow (oauth2-proxy, or the older AuthService) sends whoever has no session to Dex. There one
chooses a connector, fills in a form, may have to grant access, and is sent back to the proxy, which gives a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import Request

import requests
from requests.cookies import RequestsCookieJar, get_cookie_header
from urllib3.exceptions import HTTPError

from pipelines.cluster.addresses import is_private
from pipelines.cluster.failures import ClusterError, explain_connection

MOST_PAGES = 8
"""Pages of one login; more of them go round in a circle."""
TIMEOUT_S = (10.0, 60.0)
FIELDS = {"login", "password"}
"""What the form of a connector with passwords asks for: static passwords, LDAP, Keystone, Crowd."""
PREFERRED = ("local", "ldap")
"""Connectors that are taken unasked."""
SHORTEST_SECRET = 8
"""A shorter value of a cookie may be a word like any other."""
STEP = "log in with a browser and set KF_PIPELINES_COOKIES, or use a token"
CONNECTOR = "KF_PIPELINES_DEX_CONNECTOR"
_CONNECTOR = re.compile(r"/auth/([^/?]+)(?:\?|$)")


class LoginError(ClusterError):
    """A login that does not lead to a session."""


@dataclass(frozen=True)
class Account:
    """Who logs in.

    Args:
        username: Often an e-mail address.
        password: Is sent to the form, and shown nowhere.
        connector: Name of a connector of Dex; empty: the one there is, else one of `PREFERRED`.
    """

    username: str
    password: str = field(repr=False)
    connector: str = ""


@dataclass
class Form:
    """A form of a page: where it is sent, and what it holds."""

    method: str
    action: str
    values: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """The forms and links of a page."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.url = response.url
        self.forms: list[Form] = []
        self.links: list[str] = []
        if "html" in response.headers.get("content-type", ""):
            self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field of the last form, or a link."""
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(named.get("method", "get").upper(), urljoin(self.url, named.get("action", ""))))
        elif tag == "input" and self.forms and named.get("name"):
            self.forms[-1].values[named["name"]] = named.get("value", "")
        elif tag == "a" and named.get("href"):
            self.links.append(urljoin(self.url, named["href"]))

    @property
    def login(self) -> Form | None:
        """The form that asks who one is."""
        return next((form for form in self.forms if form.values.keys() >= FIELDS and form.method == "POST"), None)

    @property
    def approval(self) -> Form | None:
        """The form that grants the proxy what it asks for."""
        return next((form for form in self.forms if form.values.get("approval") == "approve"), None)

    @property
    def connectors(self) -> dict[str, str]:
        """Name of a connector → where it is chosen."""
        return {found[1]: link for link in self.links if (found := _CONNECTOR.search(link))}


class ForwardedCookies(DefaultCookiePolicy):
    """Lets cookies for https go over a port-forward: whatever is asked here is private, and http there."""

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        """Take a cookie as any other policy does."""
        cookie.secure = False
        return super().set_ok(cookie, request)


class DexSession:
    """A session at the proxy, begun anew by `log_in`.

    Args:
        endpoint: Address of the API behind the proxy.
        account: Who logs in.
        verify: Whether certificates are verified, or the file with the authorities.
    """

    def __init__(self, endpoint: str, account: Account, verify: bool | str = True) -> None:
        self.cookies = ""
        """What the API is shown; empty where nobody asked for a login."""
        self._endpoint, self._account, self._verify = endpoint, account, verify
        self._host = urlsplit(endpoint).hostname

    @property
    def secrets(self) -> list[str]:
        """Texts that may not be shown."""
        values = [pair.partition("=")[2] for pair in self.cookies.split("; ")]
        secrets = [self.cookies, *(value for value in values if len(value) >= SHORTEST_SECRET), self._account.password]
        return [secret for secret in secrets if secret]

    def log_in(self) -> None:
        """Go through the pages, from the API's address and back to it.

        Raises:
            LoginError: The password is wrong, or a page is none of Dex's; says what to do.
            ClusterError: Nobody answers, or a certificate is not accepted.
        """
        try:
            with closing(self._open()) as browser:
                self._walk(browser)
                request = requests.Request("GET", f"{self._endpoint}/apis")
                self.cookies = get_cookie_header(browser.cookies, request) or ""  # type: ignore[no-untyped-call]
        except requests.RequestException as error:
            cause = next((one for one in error.args if isinstance(one, HTTPError)), HTTPError(type(error).__name__))
            raise explain_connection(cause, self._endpoint, "login") from None

    def _open(self) -> requests.Session:
        """Return a browser that follows no redirect over which a password could be read."""
        browser = requests.Session()
        browser.trust_env = False  # as the client of the API
        browser.verify = self._verify
        browser.headers["Accept"] = "text/html"
        browser.hooks["response"] = [_check_redirect]
        browser.cookies = RequestsCookieJar(policy=ForwardedCookies())
        return browser

    def _walk(self, browser: requests.Session) -> None:
        answer = browser.get(self._endpoint, timeout=TIMEOUT_S)
        if answer.status_code == 404 and not answer.history:  # the API itself, to which no proxy stands in the way
            return
        if answer.status_code in (401, 403):  # a proxy that shows a button first
            path = quote(urlsplit(self._endpoint).path or "/")
            answer = browser.get(urljoin(self._endpoint, f"/oauth2/start?rd={path}"), timeout=TIMEOUT_S)
        posted = False
        for _ in range(MOST_PAGES):
            page = Page(answer)
            if page.login and posted:
                raise LoginError(
                    f"{_name(page.url)}: user name or password is wrong; correct KF_PIPELINES_USERNAME and "
                    "KF_PIPELINES_PASSWORD or KF_PIPELINES_PASSWORD_FILE"
                )
            if self._has_returned(answer, page):
                return
            posted = posted or page.login is not None
            answer = self._go_on(browser, answer, page)
        raise LoginError(f"{self._endpoint}: login: goes round in a circle; log in with a browser and {STEP}")

    def _has_returned(self, answer: requests.Response, page: Page) -> bool:
        """Return whether this is what the proxy guards."""
        asks = page.login or page.approval or page.connectors
        return answer.ok and not asks and urlsplit(answer.url).hostname == self._host and "/dex/" not in answer.url

    def _go_on(self, browser: requests.Session, answer: requests.Response, page: Page) -> requests.Response:
        if page.login:
            return self._send(browser, page, page.login, login=self._account.username, password=self._account.password)
        if page.approval:
            return self._send(browser, page, page.approval)
        if page.connectors:
            return browser.get(self._choose(page), timeout=TIMEOUT_S)
        if not answer.ok:
            raise LoginError(f"{_name(answer.url)}: login: {answer.status_code} {answer.reason}; {STEP}")
        raise LoginError(
            f"{_name(answer.url)}: expected Dex's form for a user name and a password, found another page; {STEP}"
        )

    def _choose(self, page: Page) -> str:
        """Return where the connector is chosen."""
        found = page.connectors
        wanted = (
            (self._account.connector,) if self._account.connector else (*PREFERRED, *list(found)[: len(found) == 1])
        )
        for name in wanted:
            if name in found:
                return found[name]
        raise LoginError(
            f"{_name(page.url)}: {self._account.connector or 'which connector'}? set {CONNECTOR} to one of "
            f"{', '.join(found)}"
        )

    @staticmethod
    def _send(browser: requests.Session, page: Page, form: Form, **values: str) -> requests.Response:
        if urlsplit(form.action)[:2] != urlsplit(page.url)[:2]:
            raise LoginError(f"{_name(page.url)}: its form goes elsewhere, to {_name(form.action)}; {STEP}")
        shown: Mapping[str, str] = {name: value for name, value in form.values.items() if name != "remember_me"}
        return browser.post(form.action, data={**shown, **values}, timeout=TIMEOUT_S)


def _name(url: str) -> str:
    """Return an address without its query, which may hold codes."""
    return url.partition("?")[0]


def _check_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
    """Follow no redirect that leaves encryption, and none that takes a form elsewhere."""
    target = urljoin(response.url, response.headers.get("location", "")) if response.is_redirect else ""
    refused = ""
    if response.status_code in (307, 308) and response.request.method == "POST":
        refused = f"hands the form on to {_name(target)}"
    elif target and not is_private(target):
        refused = f"leads to {_name(target)}, which is not encrypted"
    if refused:
        response.close()
        raise LoginError(f"{_name(response.url)}: login: {refused}; {STEP}")
