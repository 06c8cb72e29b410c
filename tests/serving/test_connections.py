"""Callers that say nothing, too little, too slowly or too much at once, and those beside them who are served."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from toy_server import spawn_server, start_server, stop_server

pytestmark = pytest.mark.server

CALL = {"requests": [{"user_id": "u3"}], "k": 2}
LARGE_CALL = {"requests": [{"user_id": "u3"}] * 256, "k": 40}
LONGEST_LOG = 4096
HURRY = """
from ur4rec.serving import app as application, connections
connections.LIMITS_S.update(head=1, idle=1, body=3, writing=1)
application.BODY_TIMEOUT_S = 1
"""


def connect(address: str, receive_bytes: int | None = None) -> socket.socket:
    split = urlsplit(address)
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(60)
    connection.connect((split.hostname, split.port))
    return connection


def post(call: dict[str, Any] = CALL, path: str = "/recommend", length: int | None = None) -> bytes:
    body = json.dumps(call).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes, whichever way."""
    received = b""
    try:
        while some := connection.recv(1 << 16):
            received += some
    except ConnectionResetError:
        pass
    return received


def is_served(address: str) -> bool:
    with httpx.Client(base_url=address, timeout=60) as client:
        response = client.post("/recommend", json=CALL)
    return response.status_code == 200 and len(response.json()["results"][0]["items"]) == 2


@pytest.fixture(scope="module")
def hurried(bundle: Path) -> Iterator[str]:
    process, address = start_server(bundle, HURRY)
    yield address
    assert len(stop_server(process)) < LONGEST_LOG


def test_who_asks_is_answered_beside_hundreds_who_do_not(bundle: Path) -> None:
    process, address = start_server(bundle, limit=(200, 256))
    with ExitStack() as stack:
        for said in (b"", b"POST /recommend HTTP/1.1\r\nX: ", post()[:-1], post()):
            for _ in range(400):
                connection = stack.enter_context(closing(connect(address)))
                connection.sendall(said)
            assert all(is_served(address) for _ in range(5))
        log = stop_server(process)  # which they do not keep from ending
    assert "connections: closing those that say nothing" in log
    assert len(log) < LONGEST_LOG


@pytest.mark.parametrize("said", [b"", b"POST /recomm", post()[:40]])
def test_a_request_that_does_not_come_is_not_waited_for(hurried: str, said: bytes) -> None:
    with closing(connect(hurried)) as connection:
        connection.sendall(said)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")
    assert is_served(hurried)


def drip(connection: socket.socket, given_up: Callable[[socket.socket], bool]) -> None:
    """Sends a letter at a time for as long as anybody listens."""
    connection.sendall(b"x")
    for _ in range(600):
        if given_up(connection):
            return
        try:
            connection.sendall(b"x")
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("the server goes on listening")


def has_input(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def is_gone(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def test_a_request_that_comes_letter_by_letter_is_not_waited_for(hurried: str) -> None:
    with closing(connect(hurried)) as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nX: ")
        drip(connection, has_input)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_nor_is_the_second_of_a_connection(hurried: str) -> None:
    with closing(connect(hurried)) as connection:
        connection.sendall(post())
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.sendall(b"POST /rec")
        assert b"HTTP/1.1 408 " in read_all(connection)


def test_a_connection_that_is_not_used_again_is_closed(hurried: str) -> None:
    with closing(connect(hurried)) as connection:
        connection.sendall(post())
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(("path", "status"), [("/recommend", b"408"), ("/invocations", b"408"), ("/nowhere", b"404")])
def test_a_body_that_comes_letter_by_letter_is_not_waited_for(hurried: str, path: str, status: bytes) -> None:
    with closing(connect(hurried)) as connection:
        connection.sendall(post(path=path, length=1_000_000))
        drip(connection, is_gone)
        assert read_all(connection).startswith(b"HTTP/1.1 " + status)
    assert is_served(hurried)


def test_who_does_not_read_the_answers_is_not_waited_for(hurried: str) -> None:
    with closing(connect(hurried, receive_bytes=4096)) as connection:
        connection.settimeout(0.1)
        waiting = post(LARGE_CALL) * 60  # answers of 40 MB, which no buffer holds
        for _ in range(600):
            if is_gone(connection):
                break
            try:
                waiting = waiting[connection.send(waiting) :] if waiting else waiting
            except TimeoutError:
                pass
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the server goes on writing")
    assert is_served(hurried)


FEW = """
from pathlib import Path
from time import sleep
from ur4rec.recommender.recommender import Recommender
from ur4rec.serving import connections
from ur4rec.serving.microbatches import Microbatches
connections.MOST = 3
answer, submit = Recommender.answer, Microbatches.submit
folder = Path({folder!r})
def wait_and_answer(self, queries):
    while (folder / "closed").exists():
        sleep(0.01)
    return answer(self, queries)
async def note_and_submit(self, queries):
    with (folder / "asked").open("a") as file:
        file.write("x")
    return await submit(self, queries)
Recommender.answer, Microbatches.submit = wait_and_answer, note_and_submit
"""


@pytest.fixture
def few(bundle: Path, tmp_path: Path) -> Iterator[str]:
    """A server of three connections, which answers as long as there is no file `closed`."""
    process, address = start_server(bundle, FEW.format(folder=str(tmp_path)))
    yield address
    assert len(stop_server(process)) < LONGEST_LOG


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it does not happen")


def test_a_caller_too_many_is_told_to_come_back_and_nobody_else_loses_anything(few: str, tmp_path: Path) -> None:
    def have_asked(number: int) -> bool:
        return (tmp_path / "asked").exists() and len(read_asked(tmp_path)) == number

    (tmp_path / "closed").touch()
    with ExitStack() as stack:
        asking = [stack.enter_context(closing(connect(few))) for _ in range(3)]
        for number, connection in enumerate(asking, start=1):
            connection.sendall(post())
            wait_for(partial(have_asked, number))
        for _ in range(50):
            refused = httpx.post(f"{few}/recommend", json=CALL, timeout=60)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert refused.json() == {"error": "too many connections are open; try again"}
        (tmp_path / "closed").unlink()
        assert [connection.recv(12) for connection in asking] == [b"HTTP/1.1 200"] * 3
    assert is_served(few)


def read_asked(folder: Path) -> str:
    return (folder / "asked").read_text()


def test_who_said_nothing_makes_room_before_who_was_answered(few: str) -> None:
    with httpx.Client(base_url=few, timeout=60) as client, closing(connect(few)) as first, closing(connect(few)):
        wait_for(lambda: client.post("/recommend", json=CALL).status_code == 200)
        kept = client.get("/health").extensions["network_stream"].get_extra_info("client_addr")
        assert is_served(few)
        assert read_all(first).startswith(b"HTTP/1.1 503 ")
        again = client.get("/health")
        assert again.extensions["network_stream"].get_extra_info("client_addr") == kept


def hang_up(address: str, said: bytes, at_once: bool) -> None:
    with closing(connect(address)) as connection:
        if at_once:  # a reset instead of a goodbye
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(said)


def test_after_callers_that_hang_up_at_any_point_the_next_is_answered(bundle: Path) -> None:
    process, address = start_server(bundle, limit=(256, 256))
    request = post(LARGE_CALL)
    head = request.index(b"\r\n\r\n") + 4
    points = [0, 10, head, head + 1, len(request) - 1, len(request)]
    for number in range(504):
        hang_up(address, request[: points[number % len(points)]], at_once=number % 12 < 6)
    assert is_served(address)
    assert len(stop_server(process)) < LONGEST_LOG


def test_what_is_no_http_cannot_fill_the_log(bundle: Path) -> None:
    process, address = start_server(bundle)
    for _ in range(500):
        with closing(connect(address)) as connection:
            connection.sendall(b"\x00nonsense\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    log = stop_server(process)
    assert log.splitlines() == ["Invalid HTTP request received.", "Invalid HTTP request received. (499 more of this)"]


HOG = """
import os, threading
from ur4rec.serving import app
async def hog(self):
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        threading.Timer(3, lambda: [os.close(file) for file in held]).start()
    return {}
app._Routes.version = hog
"""


def test_a_process_that_has_no_file_left_says_so_once_and_goes_on_when_it_can(bundle: Path) -> None:
    process, address = start_server(bundle, HOG, (256, 256))
    assert httpx.get(f"{address}/version", timeout=60).json() == {}
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(closing(connect(address)))
        assert is_served(address)
    log = stop_server(process)
    assert log.count("socket.accept() out of system resource\n") == 1
    assert "more of this" in log
    assert len(log) < LONGEST_LOG


def test_too_low_a_limit_is_one_line(bundle: Path) -> None:
    process = spawn_server(bundle, limit=(60, 90))
    output, complaint = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert "the limit of open files is 90, expected more than " in complaint
    assert complaint.count("\n") == 1


def test_the_limit_is_raised_as_far_as_allowed(bundle: Path) -> None:
    setup = "import atexit, resource; atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    process, _ = start_server(bundle, setup, (100, 15_000))
    process.terminate()
    stopped, found = process.communicate(timeout=60)[0].splitlines()
    soft, hard = (int(number) for number in found.strip("()").split(","))
    assert (stopped, hard) == ("stopped", 15_000)
    assert 1024 + 96 < soft < 1024 + 96 + 40  # connections, reserve, and what is open
