"""The table of the warm start, from runs that are written down here."""

import io

from benchmarks.warm_start import SCRATCH, TWICE, UNTRAINED, WARM, Run, show
from ur4rec.terminal import PlainConsole


def test_the_epochs_that_the_champion_saves_are_counted_and_differences_are_paired() -> None:
    runs = [
        Run(SCRATCH, 1, 4, 2, 30.0, [0.0, 0.1, 0.3, 0.2, 0.2], [0.2, 0.4]),
        Run(WARM, 1, 3, 2, 20.0, [0.2, 0.3, 0.4, 0.3], [0.3, 0.5]),
        Run(TWICE, 1, 2, 0, 15.0, [0.3, 0.2, 0.1], [0.2, 0.4]),
        Run(UNTRAINED, 1, 0, 0, 0.0, [0.2], [0.1, 0.3]),
    ]
    assert [run.epochs_to(0.3) for run in runs] == [2, 1, 0, None]
    console = PlainConsole(width=140, file=io.StringIO(), record=True)
    console.print(show(runs))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells == [
        [SCRATCH, "0.3000", "0.3000", "+0.0000 [+0.0000, +0.0000]", "4", "30", "2"],
        [TWICE, "0.3000", "0.3000", "+0.0000 [+0.0000, +0.0000]", "2", "15", "0"],
        [WARM, "0.4000", "0.4000", "+0.1000 [+0.1000, +0.1000]", "3", "20", "1"],
        [UNTRAINED, "0.2000", "0.2000", "-0.1000 [-0.1000, -0.1000]", "0", "0", "–"],
    ]
