"""The table of the storage benchmark, by hand-checked numbers, and one small run of it."""

from pathlib import Path

import pytest

from benchmarks.storage import OURS, PEERS, Measured, make_files, measure, tabulate
from ur4rec.terminal import PlainConsole


def render(measured: list[Measured]) -> str:
    console = PlainConsole(width=120)
    with console.capture() as capture:
        console.print(tabulate(measured, "toy", megabytes=100))
    return capture.get()


def test_ratios_are_those_of_medians() -> None:
    times = {OURS: (9.0, 5.0, 1.0), "client, threads": (4.0, 4.0, 4.0), "client, processes": (10.0, 20.0, 1.0)}
    measured = [
        Measured(what, who, repeat, seconds, cpu_s=seconds / 2)
        for what in ("up", "down")
        for who, row in times.items()
        for repeat, seconds in enumerate(row)
    ]
    lines = [line.replace("│", " ").split() for line in render(measured).splitlines() if " up " in line]
    assert lines[0][-5:] == ["5.0", "20", "2.5", "1.00", "1.00"]
    assert lines[1][-5:] == ["4.0", "25", "2.0", "0.80", "1.25"]  # theirs is faster: ours has 80 % of its speed
    assert lines[2][-5:] == ["10.0", "10", "5.0", "2.00", "0.50"]


@pytest.mark.emulator
@pytest.mark.slow
def test_everyone_moves_the_files_in_both_directions(tmp_path: Path) -> None:
    measured = measure(make_files(tmp_path / "files", count=2, megabytes=1), tmp_path, repeat=1)
    assert [(row.what, row.who) for row in measured] == [
        (what, who) for who in [*PEERS, OURS] for what in ("up", "down")
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
