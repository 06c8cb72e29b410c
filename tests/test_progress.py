"""Lines where there is no terminal, a bar where there is one."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ur4rec.progress import show_progress


def test_a_line_for_every_tenth_whichever_thread_reports(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("upload", 1000, "byte") as advance, ThreadPoolExecutor(8) as executor:
        list(executor.map(advance, [5] * 200))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("progress upload {") for line in lines)
    assert [json.loads(line.removeprefix("progress upload ")) for line in lines] == [
        {"byte": done, "bytes": 1000} for done in range(100, 1001, 100)
    ]


def test_nothing_to_transfer_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("upload", 0, "byte") as advance:
        advance(0)
    assert capsys.readouterr().out == ""


def test_one_line_for_every_tenth_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("encode_text", 40) as advance:
        for count in (3, 1, 3, 20, 13):
            advance(count)
    assert capsys.readouterr().out.splitlines() == [
        'progress encode_text {"text": 4, "texts": 40}',
        'progress encode_text {"text": 27, "texts": 40}',
        'progress encode_text {"text": 40, "texts": 40}',
    ]


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with show_progress("encode_text", 4) as advance:
        advance(4)
    printed = capsys.readouterr().out
    assert "4/4" in printed
    assert "progress encode_text {" not in printed
