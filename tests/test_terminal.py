"""Text is printed as it is written, whatever rich or a terminal would make of it."""

import doctest
import io
import re
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table

from ur4rec import terminal
from ur4rec.commands.console import show, show_table
from ur4rec.commands.progress import ProgressLines, bar_columns
from ur4rec.terminal import PlainColumn, PlainConsole

ROOT = Path(terminal.__file__).parents[1]
ODD = [
    "[/x] plays",
    "[eu] plays",
    "[bold]",
    "[link=https://example.org]x[/link]",
    r"a\[b",
    r"a\[bold]b\\[/]",
    ":smile: :warning:",
    "[red",
    "]]][[[",
    "100 'quoted' True 3.5",
]
ESCAPES = {
    "a\x1b[31mred": "a␛[31mred",
    "\x1b]8;;https://example.org\x07x": "␛]8;;https://example.org␇x",
    "over\rwritten": "over␍written",
    "back\b\b\bspace\x7f": "back␈␈␈space␡",
    "c1 \x9b31m": "c1 �31m",
    "half \udcff": "half �",
    "nul\x00": "nul␀",
}
SHOWN = ESCAPES | {text: text for text in ODD}


def open_console(is_terminal: bool = True) -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=120, force_terminal=is_terminal, color_system="truecolor")


def read(console: PlainConsole) -> str:
    """What was printed, without what sets a color."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())


def test_doctests() -> None:
    result = doctest.testmod(terminal)
    assert (result.attempted, result.failed) == (1, 0)


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_lines_and_their_parts(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    console.tell(text)
    console.tell(("Error:", "red"), f" {text}", (text, "bold"))
    console.print(text, soft_wrap=True)
    assert read(console) == f"{shown}\nError: {shown}{shown}\n{shown}\n"
    show(text)
    assert capsys.readouterr().out == f"{shown}\n"


def test_a_style_reaches_its_part_alone() -> None:
    console = open_console()
    console.tell(("[x]", "red"), "[y]")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "\x1b[31m[x]\x1b[0m[y]\n"


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_titles_headings_and_cells(
    text: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show_table(f"test on {text}", ("what", text), [(f"cell {text}", text), ("other", 3)])
    printed = capsys.readouterr().out
    assert printed.startswith(f"test on {shown}")
    assert f"┃ {shown} " in printed
    assert f"│ cell {shown} " in printed
    assert len({len(line) for line in printed.splitlines() if line[0] in "│┃├┏└"}) == 1, "the columns are not straight"


def test_a_table_keeps_its_own_styles() -> None:
    console = open_console()
    table = Table("[a]", title="[t]", style="red")
    table.add_row("[b]", style="green")
    console.print(table)
    assert all(part in read(console) for part in ("[t]", "[a]", "[b]"))
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[32m" in console.file.getvalue()


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_bars(text: str, shown: str) -> None:
    console = open_console()
    with Progress(*bar_columns("ended"), console=console) as bars:
        bars.add_task(text, total=2, ended=f"ended {text}")
        ProgressLines(bars).write(f"above: {text}\n")
    printed = read(console)
    assert f"above: {shown}" in printed
    assert f"ended {shown}" in printed
    assert printed.count(shown) >= 3


def test_a_column_formats_the_fields_of_a_task() -> None:
    bars = Progress(PlainColumn("{task.description} of {task.fields[name]}"), console=open_console())
    bars.add_task("[a]", name="{b}")
    assert PlainColumn("{task.description} of {task.fields[name]}").render(bars.tasks[0]).plain == "[a] of {b}"


def test_nothing_else_prints_with_rich() -> None:
    """One place decides what text means: no other module makes a console or reads markup."""
    of_its_own = re.compile(
        r"rich\.markup|\bTextColumn\b|from_markup|import .*\bConsole\b|(?<!Plain)Console\(|rich import print"
    )
    for package in ("ur4rec", "components", "pipelines", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "terminal.py":
                assert not of_its_own.search(path.read_text(encoding="utf-8")), path
