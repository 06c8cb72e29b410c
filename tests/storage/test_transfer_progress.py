"""Lines where there is no terminal."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ur4rec.progress import show_transfer


def test_a_line_for_every_tenth_whichever_thread_reports(capsys: pytest.CaptureFixture[str]) -> None:
    with show_transfer("upload", 1000) as advance, ThreadPoolExecutor(8) as executor:
        list(executor.map(advance, [5] * 200))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("progress upload {") for line in lines)
    assert [json.loads(line.removeprefix("progress upload ")) for line in lines] == [
        {"byte": done, "bytes": 1000} for done in range(100, 1001, 100)
    ]


def test_nothing_to_transfer_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with show_transfer("upload", 0) as advance:
        advance(0)
    assert capsys.readouterr().out == ""
