import logging

import pytest

from ur4rec.serving import limited_log as module
from ur4rec.serving.limited_log import limited_log

logger = logging.getLogger("toy")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the records carry."""
    now = [1000.0]
    make = logging.getLogRecordFactory()

    def stamp(*args, **kwargs):
        record = make(*args, **kwargs)
        record.created = now[0]
        return record

    logging.setLogRecordFactory(stamp)
    yield now
    logging.setLogRecordFactory(make)


def complain(number):
    logger.warning("caller %d was odd", number)


def fail(number):
    try:
        if number % 2:
            raise ValueError(number)
        raise KeyError(number)
    except (ValueError, KeyError):
        logger.exception("defect")


def test_a_kind_is_written_once_a_minute_and_the_next_says_how_many_there_were(clock, capsys):
    with limited_log():
        for number in range(1000):
            complain(number)
        clock[0] += module.WINDOW_S
        complain(1000)
        logger.error("something else")
        complain(1001)
    assert capsys.readouterr().err.splitlines() == [
        "caller 0 was odd",
        "caller 1000 was odd (999 more of this since the last one)",
        "something else",
        "caller 1000 was odd (1 more of this)",
    ]


def test_the_place_that_raises_tells_kinds_apart(clock, capsys):
    with limited_log():
        for number in range(100):
            fail(number)
    written = capsys.readouterr().err
    assert written.count("Traceback") == 2
    assert ("KeyError: 0" in written, "ValueError: 1" in written) == (True, True)
    assert written.count("defect (49 more of this)") == 2


def test_what_varies_in_a_message_makes_no_kind(clock, capsys):
    """As asyncio puts descriptions of objects into the lines below."""
    with limited_log():
        for number in range(100):
            logger.error("out of files\nsocket: %d" % number)  # noqa: UP031
    assert capsys.readouterr().err.splitlines() == ["out of files", "socket: 0", "out of files (99 more of this)"]


def test_nothing_is_left_behind(capsys):
    handlers = list(logging.getLogger().handlers)
    with limited_log():
        logger.info("nobody needs this")
    assert logging.getLogger().handlers == handlers
    assert capsys.readouterr().err == ""
