import pytest

from ur4rec.progress import show_progress


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
