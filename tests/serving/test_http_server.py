"""Starting and stopping."""

import json
import socket
import time

import httpx
import pytest
from toy_server import start_server

from ur4rec.serving.server import _listen

pytestmark = pytest.mark.server


def test_an_answer_on_its_way_is_finished_before_the_server_stops(bundle):
    process, address = start_server(bundle)
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"requests": [{"user_id": "u1"}], "k": 3}).encode()
    head = f"POST /recommend HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + body[:5])
        assert httpx.get(f"{address}/health", timeout=60).status_code == 200  # so the call has arrived
        process.terminate()
        while is_open(host, int(port)):
            time.sleep(0.05)
        connection.sendall(body[5:])
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert process.communicate(timeout=60) == ("stopped\n", "")
    assert process.returncode == 0


def is_open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_an_answer_is_sent_at_once_on_every_connection():
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
