from __future__ import annotations

import io

import pytest

from pipelines.tasks import Status, Task
from pipelines.views import LiveView, PlainView, format_progress, open_view
from ur4rec.terminal import PlainConsole


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_console(terminal: bool) -> PlainConsole:
    return PlainConsole(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, _environ={})


def read(console: PlainConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"epochs": 60, "epoch": 12, "loss": 6.1, "ndcg@10": 0.09}, "epoch 12/60, loss 6.1000, ndcg@10 0.0900"),
        ({"text": 512, "texts": 2000}, "text 512/2000"),
        ({"epochs": 60, "epoch": 12.0}, "epoch 12/60"),
        ({"item": 1, "items": 0}, "item 1, items 0"),
        ({}, ""),
    ],
)
def test_progress_in_words(progress: dict[str, object], expected: str) -> None:
    assert format_progress(progress) == expected


def test_the_live_table_shows_every_task() -> None:
    clock = Clock()
    tasks = [
        Task("a", "a", "First", status=Status.DONE, seconds=3.2),
        Task("b", "b", "Second", status=Status.CACHED),
        Task("c", "c", "Third", status=Status.RUNNING, started=5.0, progress={"epoch": 3, "epochs": 6}),
        Task("d", "d", "Fourth"),
    ]
    view = LiveView(tasks, "log: here.log", clock)
    clock.now = 70.0
    console = make_console(terminal=True)
    console.print(view.render())
    first, second, third, fourth, footer = read(console).splitlines()
    assert first.split() == ["✓", "First", "3", "s", "done"]
    assert second.split() == ["✓", "Second", "cached"]
    assert third.split()[:6] == ["▶", "Third", "1", "min", "05", "s"]
    assert "━" * 12 in third
    assert third.rstrip().endswith("epoch 3/6")
    assert fourth.split() == ["·", "Fourth", "waiting"]
    assert footer.rstrip() == "2 of 4 tasks, 1 min 10 s   log: here.log"


def test_plain_lines_at_the_start_the_end_and_now_and_then() -> None:
    clock, console = Clock(), make_console(terminal=False)
    view = PlainView(console, clock)
    task = Task("a", "a", "First [1]", status=Status.RUNNING)
    view.update(task)
    for epoch in range(1, 31):
        clock.now = float(epoch)
        task.progress = {"epoch": epoch, "epochs": 30}
        view.update(task)
    task.status, task.seconds = Status.DONE, 30.4
    view.update(task)
    assert read(console).splitlines() == [
        "First [1]: running",
        "First [1]: epoch 10/30",
        "First [1]: epoch 20/30",
        "First [1]: epoch 30/30",
        "First [1]: done in 30 s",
    ]


def test_plain_lines_end_with_the_last_progress() -> None:
    console = make_console(terminal=False)
    view = PlainView(console, Clock())
    for name in ("a", "b"):
        task = Task(name, name, name.upper(), status=Status.RUNNING)
        view.update(task)
        if name == "a":
            task.progress = {"epoch": 2, "epochs": 2}
            view.update(task)
        task.status = Status.DONE
        view.update(task)
    assert read(console).splitlines() == ["A: running", "A: epoch 2/2", "A: done", "B: running", "B: done"]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_view_fits_the_console(terminal: bool) -> None:
    console = make_console(terminal)
    task = Task("a", "a", "First", status=Status.CACHED)
    with open_view(console, [task], "log: here.log") as view:
        view.update(task)
    assert "First" in read(console)
    assert ("1 of 1 tasks" in read(console)) is terminal
