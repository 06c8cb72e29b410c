"""A proxy in front of the emulator that harms requests on purpose."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "accept-encoding"}


class Fault(Enum):
    """What happens to one request."""

    NONE = "passes"
    FAIL = "is answered with 503, the service never sees it"
    LOSE_ANSWER = "reaches the service; its answer does not arrive, 503 does"
    FLIP_REQUEST = "one bit of the content that is sent is flipped"
    FLIP_ANSWER = "one bit of the content that is received is flipped"
    CUT_REQUEST = "the second half of the content that is sent is missing"
    CUT_ANSWER = "the second half of the content that is received is missing"


@dataclass(frozen=True)
class Request:
    """A request on its way."""

    method: str
    path: str
    """Decoded, with the query."""
    body: bytes

    @property
    def is_upload(self) -> bool:
        """Whether it carries the content of an object."""
        begins = self.method == "POST" and "uploadType=resumable" in self.path
        is_s3 = self.method == "PUT" and "/.ur4rec-probe/" not in self.path
        return is_s3 if self.is_s3 else self.path.startswith("/upload/") and not begins

    @property
    def is_s3(self) -> bool:
        """Whether it speaks S3; such requests are signed."""
        return not re.match(r"/(upload/)?storage/|/download/", self.path)

    @property
    def is_completion(self) -> bool:
        """Whether it joins the parts of an object."""
        return self.is_s3 and self.method == "POST" and "uploadId=" in self.path

    @property
    def is_manifest(self) -> bool:
        """Whether it puts the manifest of a published folder."""
        named = self.path.encode() if self.is_s3 else self.body[:1000]
        return self.is_upload and b"/manifest.json" in named

    @property
    def is_download(self) -> bool:
        """Whether it asks for the content of an object."""
        return self.method == "GET" and ("list-type=" not in self.path if self.is_s3 else "alt=media" in self.path)


Plan = Callable[[Request], Fault]


@dataclass
class Proxy:
    """What a test sees of the proxy."""

    address: str
    plan: Plan = lambda _: Fault.NONE
    met: list[tuple[Fault, Request]] = field(default_factory=list)
    """Every request that was harmed, in order."""

    def count(self, fault: Fault) -> int:
        """Requests that a fault met."""
        return sum(met is fault for met, _ in self.met)


def first(count: int, fault: Fault, chosen: Callable[[Request], bool]) -> Plan:
    """Harms the first few requests that are chosen."""
    left, lock = count, threading.Lock()

    def plan(request: Request) -> Fault:
        nonlocal left
        if not chosen(request):
            return Fault.NONE
        with lock:
            left -= 1
            return fault if left >= 0 else Fault.NONE

    return plan


@contextmanager
def fault_proxy(emulator: str) -> Iterator[Proxy]:
    """A proxy on a free port; the addresses in the emulator's answers become its own."""
    server = _Server(("127.0.0.1", 0), _Handler)
    proxy = server.proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    server.emulator = emulator
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy
    emulator: str

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, unquote(self.path), body)
        fault = self.server.proxy.plan(request)
        if fault is not Fault.NONE:
            self.server.proxy.met.append((fault, request))
        if fault is Fault.FAIL:
            self._answer(503, {}, b"busy")
            return
        status, headers, content = self._forward(_harm(body, fault, Fault.FLIP_REQUEST, Fault.CUT_REQUEST))
        if fault is Fault.LOSE_ANSWER:
            self._answer(503, {}, b"lost")
            return
        self._answer(status, headers, _harm(content, fault, Fault.FLIP_ANSWER, Fault.CUT_ANSWER))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        target = urlsplit(self.server.emulator)
        connection = HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            with suppress(BrokenPipeError):  # a request may be refused before all of it is sent
                connection.request(self.command, self.path, body, self._passed_on(body))
            answer = connection.getresponse()
            content = answer.read()
            headers = {name: self._own(value) for name, value in answer.getheaders()}
            if "json" in headers.get("Content-Type", ""):
                content = self._own(content.decode()).encode()
            return answer.status, headers, content
        except ConnectionError:
            return 502, {}, b"the service hung up"
        finally:
            connection.close()

    def _passed_on(self, body: bytes) -> dict[str, str]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        return headers | {"Content-Length": str(len(body))}

    def _own(self, text: str) -> str:
        return text.replace(self.server.emulator, self.server.proxy.address)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        with suppress(ConnectionError):  # the client was killed
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def log_message(self, *_: object) -> None:
        return


def _harm(content: bytes, fault: Fault, flip: Fault, cut: Fault) -> bytes:
    """Damages the payload: in the middle, which is beyond the envelope of a multipart upload with enough content."""
    if fault is cut:
        return content[: len(content) // 2]
    if fault is flip and content:
        middle = len(content) * 3 // 4 if re.match(rb"--=+", content) else len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return content
