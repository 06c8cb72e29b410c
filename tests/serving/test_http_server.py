"""Starting and stopping."""

import json
import socket
import subprocess
import time

import httpx
import pytest
from toy_server import COMMAND, start_server

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


def test_a_taken_port_and_a_folder_that_is_no_bundle_are_one_line(bundle, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        text = fail("--model", str(bundle), "--port", port)
    assert text.startswith(f"Error: 127.0.0.1:{port}: Address already in use")
    assert "not found" in fail("--model", str(tmp_path / "nowhere"), "--port", "0")


def fail(*arguments: str) -> str:
    outcome = subprocess.run([*COMMAND, "serve", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("\n") == 1
    return outcome.stderr


def test_an_answer_is_sent_at_once_on_every_connection():
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
