"""What stands before Kubeflow Pipelines where users share it: oauth2-proxy and Dex, on the loopback interface.

A request without a session gets 401 below `/apis/`, as oauth2-proxy's `api_routes` have it in Kubeflow, and 302 to Dex
elsewhere. Dex hands out a request, asks for a connector, shows its form and asks for approval; the code is redeemed at
`/oauth2/callback`, which checks the CSRF cookie and sets the cookie of the session. What has a session is handed on.
"""

from __future__ import annotations

import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

FORM = """<html><body><form method="post" action="{action}">
<input tabindex="1" required id="login" name="login" type="text" value="{login}"/>
<input tabindex="2" required id="password" name="password" type="password"/>
<input type="checkbox" name="remember_me"/>{error}
<button tabindex="3" id="submit-login" type="submit">Login</button></form></body></html>"""
APPROVAL = """<html><body>
<form method="post"><input type="hidden" name="req" value="{req}"/>
<input type="hidden" name="approval" value="approve">
<button type="submit">Grant Access</button></form>
<form method="post"><input type="hidden" name="req" value="{req}"/>
<input type="hidden" name="approval" value="rejected">
<button type="submit">Cancel</button></form></body></html>"""
OTHER = '<html><form method="post"><input name="username"/><input name="passcode" type="password"/></form></html>'


@dataclass
class AuthRequest:
    """What Dex keeps of a login."""

    state: str
    redirect: str
    connector: str = ""
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    user: str = ""


class DexProxy:
    """The state, and how it is changed from the side of the test."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.users = {"local": {"user@example.com": "12 34&ä"}, "ldap": {"jane": "ldap-password"}}
        self.connectors = ["local"]
        self.skips_approval = True
        self.shows_button = False
        self.redirects_api = False
        """As AuthService, which knows no routes of an API."""
        self.other_form = False
        self.leads_to = ""
        """Address of an issuer elsewhere."""
        self.sessions: dict[str, str] = {}
        self.logins = 0
        self.posted: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.requests: dict[str, AuthRequest] = {}
        self.codes: dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"proxy": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request of a browser, or of a client of the API."""

    proxy: DexProxy

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        self.proxy.paths.append(f"{self.command} {parts.path}")
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.cookies = {name: one.value for name, one in SimpleCookie(self.headers.get("cookie", "")).items()}
        if parts.path.startswith("/dex/"):
            self._dex(parts.path.removeprefix("/dex/"))
        elif parts.path == "/oauth2/start":
            self._start(self.query.get("rd", "/"))
        elif parts.path == "/oauth2/callback":
            self._call_back()
        elif self.cookies.get("oauth2_proxy_kubeflow") in self.proxy.sessions:
            self._hand_on()
        elif "/apis/" in parts.path and not self.proxy.redirects_api:
            self._send(401, "{}", "application/json")
        elif self.proxy.shows_button:
            self._send(403, '<form method="GET" action="/oauth2/start"><button>Sign in</button></form>')
        else:
            self._start(self.path)

    # oauth2-proxy

    def _start(self, back: str) -> None:
        csrf = secrets.token_hex(8)
        query = {
            "approval_prompt": "force",
            "client_id": "kubeflow-oidc-authservice",
            "redirect_uri": "/oauth2/callback",
            "response_type": "code",
            "scope": "profile email groups openid",
            "state": f"{csrf}:{back}",
        }
        self._redirect(302, f"{self.proxy.leads_to}/dex/auth?{urlencode(query)}", f"oauth2_proxy_kubeflow_csrf={csrf}")

    def _call_back(self) -> None:
        csrf, _, back = self.query["state"].partition(":")
        if self.cookies.get("oauth2_proxy_kubeflow_csrf") != csrf:
            self._send(403, "<html>Login Failed: Unable to find a valid CSRF token.</html>")
            return
        session = secrets.token_hex(16)
        self.proxy.sessions[session] = self.proxy.codes.pop(self.query["code"])
        self.proxy.logins += 1
        self._redirect(302, back, f"oauth2_proxy_kubeflow={session}")

    def _hand_on(self) -> None:
        path = self.path.removeprefix("/pipeline")
        if not path.startswith("/apis/"):
            self._send(200, "<html>Kubeflow</html>")
            return
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "accept")}
        asked = urllib.request.Request(self.proxy.upstream + path, self.content or None, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(asked)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self._send(answer.status, answer.read().decode(), answer.headers["content-type"])

    # Dex

    def _dex(self, path: str) -> None:
        parts = path.split("/")
        if parts[0] == "approval":
            self._approve()
        elif parts == ["auth"]:
            self._choose()
        elif len(parts) == 2:
            self._begin(parts[1])
        else:
            self._log_in()

    def _choose(self) -> None:
        links = {name: f"/dex/auth/{name}?{urlencode(self.query)}" for name in self.proxy.connectors}
        if len(links) == 1:
            self._redirect(302, *links.values())
            return
        rows = [
            f'<a href="{link.replace("&", "&amp;")}" target="_self"><button>{name}</button></a>'
            for name, link in links.items()
        ]
        self._send(200, f"<html>{''.join(rows)}</html>")

    def _begin(self, connector: str) -> None:
        name = secrets.token_hex(8)
        self.proxy.requests[name] = AuthRequest(self.query["state"], self.query["redirect_uri"], connector)
        self._redirect(302, f"/dex/auth/{connector}/login?back={quote('/dex/auth')}&state={name}")

    def _log_in(self) -> None:
        action = self.path.replace("&", "&amp;")
        request = self.proxy.requests[self.query["state"]]
        if self.command == "GET":
            self._send(200, OTHER if self.proxy.other_form else FORM.format(action=action, login="", error=""))
            return
        form = {name: values[0] for name, values in parse_qs(self.content.decode()).items()}
        self.proxy.posted.append(form)
        login = form.get("login", "")
        if self.proxy.users[request.connector].get(login) != form.get("password"):
            error = '<div id="login-error">Invalid Email Address and password.</div>'
            self._send(401, FORM.format(action=action, login=login, error=error))
            return
        request.user = login
        self._redirect(303, f"/dex/approval?req={self.query['state']}&hmac={request.key}")

    def _approve(self) -> None:
        request = self.proxy.requests[self.query["req"]]
        if self.query["hmac"] != request.key or not request.user:
            self._send(401, "<html>Unauthorized request</html>")
        elif self.command == "GET" and not self.proxy.skips_approval:
            self._send(200, APPROVAL.format(req=self.query["req"]))
        elif self.command == "POST" and parse_qs(self.content.decode())["approval"] != ["approve"]:
            self._send(500, "<html>Approval rejected.</html>")
        else:
            code = secrets.token_hex(8)
            self.proxy.codes[code] = request.user
            self._redirect(303, f"{request.redirect}?{urlencode({'code': code, 'state': request.state})}")

    def _redirect(self, status: int, location: str, cookie: str = "") -> None:
        self.send_response(status)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        if cookie:
            self.send_header("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Lax; Secure")
        self.end_headers()

    def _send(self, status: int, content: str, kind: str = "text/html; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


@contextmanager
def running_dex_proxy(upstream: str) -> Iterator[DexProxy]:
    """A proxy before a server."""
    proxy = DexProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
