"""A site on this machine that hands out files, in parts too, and can end too early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is published, and what was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path → content."""
    tags: dict[str, str] = field(default_factory=dict)
    """Path → its version, where it is not the default one."""
    breaks_after: int | None = None
    """The next answer ends after this many bytes."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and range of every request."""


@contextmanager
def serve() -> Iterator[Site]:
    """Serve a site until the block ends."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append((self.path, wanted))
            if self.path not in site.files:
                self.send_error(404)
                return
            content, tag = site.files[self.path], site.tags.get(self.path, '"1"')
            start = int(wanted[len("bytes=") : -1]) if wanted and self.headers.get("If-Range") == tag else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if tag:
                self.send_header("ETag", tag)
            self.end_headers()
            end, site.breaks_after = site.breaks_after, None
            self.wfile.write(content[start:] if end is None else content[start : start + end])

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
        thread.join()
