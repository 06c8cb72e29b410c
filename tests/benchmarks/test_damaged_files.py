"""A sample of the campaign of damaged files, and that it tells the outcomes apart."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.damaged_files import (
    AGAIN,
    EDITS,
    HARMLESS,
    KEPT,
    NAMED,
    READERS,
    SILENT,
    TRACEBACK,
    UNNAMED,
    WRECKS,
    Case,
    Reader,
    list_cases,
    make_run,
    read_quietly,
    tabulate,
    try_case,
)
from ur4rec.data.errors import DataError
from ur4rec.terminal import PlainConsole

SAMPLE = 41


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.mark.timeout(900)
def test_every_file_of_a_sample_is_named_or_not_needed(run: Path) -> None:
    cases = list(list_cases(run))
    assert len(cases) > 1000
    assert {case.digest for case in cases} == {KEPT, AGAIN}
    wholes = {reader: read_quietly(reader, run, run / reader.folder) for reader in READERS}
    tried = {str(case): try_case(run, case, wholes[case.reader]) for case in cases[::SAMPLE]}
    assert {case: found for case, found in tried.items() if found[0] not in (NAMED, HARMLESS)} == {}
    assert Counter(outcome for outcome, _ in tried.values())[NAMED] > len(tried) / 2


def _raise(error: Exception) -> str:
    raise error


def test_outcomes_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x.json").write_text('{"a": 1}')
    reads = {
        NAMED: lambda run, folder, scratch: _raise(DataError(f"{folder}/x.json: cut short")),
        UNNAMED: lambda run, folder, scratch: _raise(DataError("something is wrong")),
        TRACEBACK: lambda run, folder, scratch: _raise(KeyError("a")),
        SILENT: lambda run, folder, scratch: (folder / "x.json").read_text(),
        HARMLESS: lambda run, folder, scratch: '{"a": 1}',
    }
    for expected, read in reads.items():
        case = Case(Reader("toy", "folder", read), "x.json", "cut short", KEPT)
        assert try_case(tmp_path, case, '{"a": 1}')[0] == expected
    assert (tmp_path / "folder/x.json").read_text() == '{"a": 1}'


def test_the_table_adds_up() -> None:
    console = PlainConsole(width=120)
    with console.capture() as capture:
        console.print(tabulate(Counter({("serve", NAMED): 3, ("serve", SILENT): 1, ("train", HARMLESS): 2})))
    lines = [line.replace("│", " ").split() for line in capture.get().splitlines()]
    assert ["serve", "4", "3", "0", "0", "0", "1"] in lines
    assert ["all", "6", "3", "2", "0", "0", "1"] in lines
    assert len(WRECKS) == 5
    assert len(EDITS) > 10
