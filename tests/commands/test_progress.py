import io

import pytest

from ur4rec.commands.progress import progress_bars
from ur4rec.terminal import PlainConsole


def terminal() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def test_a_terminal_gets_a_bar_a_task_and_other_lines_as_they_are() -> None:
    console = terminal()
    with progress_bars(console):
        print('progress pretrain_sasrec {"epoch": 3, "epochs": 4, "loss": 6.1, "ndcg@10": 0.09}')
        print("something [red]else[/red]")
        print('progress end_to_end {"epoch": 1, "epochs": 2}')
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "pretrain_sasrec" in text
    assert "3/4" in text
    assert "loss 6.1000  ndcg@10 0.0900" in text
    assert "1/2" in text
    assert "something [red]else[/red]" in text
    assert "progress pretrain_sasrec" not in text


def test_a_line_may_arrive_in_pieces() -> None:
    console = terminal()
    with progress_bars(console):
        print("progress joint", end="")
        print('_finetune {"epoch": 1, ', end="")
        print('"epochs": 7}')
    assert isinstance(console.file, io.StringIO)
    assert "1/7" in console.file.getvalue()


def test_elsewhere_the_lines_stay(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars():
        print('progress pretrain_sasrec {"epoch": 3}')
    assert capsys.readouterr().out == 'progress pretrain_sasrec {"epoch": 3}\n'
