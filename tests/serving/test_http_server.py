"""Starting and stopping, and the log that callers cannot fill."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy_server import start_server

from ur4rec.serving.http_server import WINDOW_S, ServeError, _listen, limited_log, serve

logger = logging.getLogger("toy")


@pytest.mark.server
def test_an_answer_on_its_way_is_finished_before_the_server_stops(bundle: Path) -> None:
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


def test_an_answer_is_sent_at_once_on_every_connection() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_taken_port_is_named_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError) as caught:
            serve(None, None, "127.0.0.1", port, 1, lambda _: None)  # type: ignore[arg-type]  # not reached
    assert str(caught.value) == f"127.0.0.1:{port}: Address already in use; choose another --host or --port"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that the records carry."""
    now = [1000.0]
    make = logging.getLogRecordFactory()

    def stamp(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.created = now[0]
        return record

    logging.setLogRecordFactory(stamp)
    yield now
    logging.setLogRecordFactory(make)


def complain(number: int) -> None:
    logger.warning("caller %d was odd", number)


def fail(number: int) -> None:
    try:
        if number % 2:
            raise ValueError(number)
        raise KeyError(number)
    except (ValueError, KeyError):
        logger.exception("defect")


def test_a_kind_is_written_once_a_minute_and_the_next_says_how_many_there_were(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with limited_log():
        for number in range(1000):
            complain(number)
        clock[0] += WINDOW_S
        complain(1000)
        logger.error("something else")
        complain(1001)
    assert capsys.readouterr().err.splitlines() == [
        "caller 0 was odd",
        "caller 1000 was odd (999 more of this since the last one)",
        "something else",
        "caller 1000 was odd (1 more of this)",
    ]


def test_the_place_that_raises_tells_kinds_apart(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with limited_log():
        for number in range(100):
            fail(number)
    written = capsys.readouterr().err
    assert written.count("Traceback") == 2
    assert ("KeyError: 0" in written, "ValueError: 1" in written) == (True, True)
    assert written.count("defect (49 more of this)") == 2


def test_what_varies_in_a_message_makes_no_kind(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """As asyncio puts descriptions of objects into the lines below."""
    with limited_log():
        for number in range(100):
            logger.error("out of files\nsocket: %d" % number)  # noqa: UP031
    assert capsys.readouterr().err.splitlines() == ["out of files", "socket: 0", "out of files (99 more of this)"]


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = list(logging.getLogger().handlers)
    with limited_log():
        logger.info("nobody needs this")
    assert logging.getLogger().handlers == handlers
    assert capsys.readouterr().err == ""
