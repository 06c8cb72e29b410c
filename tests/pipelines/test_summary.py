from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from toy_results import make_results

from pipelines.local_run import LocalRun, Outcome
from pipelines.summary import (
    NO_ERROR,
    describe_version,
    name_program,
    recommend_command,
    show_data,
    show_failure,
    show_settings,
    show_test,
)
from pipelines.tasks import Status, Task
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.summary import list_warnings
from ur4rec.evaluation.results import Results, Slice, format_results
from ur4rec.ranking.bootstrap import Figure
from ur4rec.registry.register import Registration
from ur4rec.storage.artifacts import write_artifact
from ur4rec.terminal import PlainConsole
from ur4rec.training.config import EpochsConfig, NegativesConfig, TrainingConfig

MESSAGE = "[/plays].csv: row 3: rating [5 is no [bold]number[/bold] :smile:"
REGISTRATION = Registration(
    name="ur4rec",
    version="3",
    alias="challenger",
    run_id="r",
    model_uri="models:/ur4rec/3",
    tracking_uri="sqlite:////x/mlflow.db",
)


def show(results: Results, width: int) -> list[str]:
    console = PlainConsole(file=io.StringIO(), width=width, force_terminal=False)
    show_test(console, results)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_what_is_out_of_the_ordinary_in_the_data_is_told_at_the_end(tmp_path: Path) -> None:
    """Two users come back to one item; the last two rows of each have one time."""
    rows = "".join(f"{user},x,1\n{user},y,2\n{user},x,2\n" for user in "ab")
    (tmp_path / "plays.csv").write_text(f"user_id,item_id,timestamp\n{rows}c,x,1\n")
    manifest = preprocess_sequences(tmp_path / "plays.csv", tmp_path / "sequences", DataConfig())
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=False)
    show_data(console, tmp_path / "sequences")
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().splitlines()
    assert shown[-3:] == list_warnings(manifest)
    assert [line.split()[1] for line in shown[-3:]] == ["all", "50.0%", "2"]
    assert "users left out: user below min seq len" in " ".join(shown)


def test_what_the_data_have_decided_is_told_once(tmp_path: Path) -> None:
    left = TrainingConfig.model_validate({"batch_size": "auto", "patience": "auto"})
    settled = left.settle({"batch_size": 64, "patience": 7}, {"batch_size": "few", "patience": "a fifth"})
    configs = {"one": left.narrow(NegativesConfig), "two": settled.narrow(EpochsConfig), "three": settled}
    for name, config in configs.items():
        with write_artifact(tmp_path / name, "memories", config):
            pass
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=False)
    show_settings(console, [tmp_path / "one"])
    show_settings(console, [tmp_path / name for name in configs])
    assert isinstance(console.file, io.StringIO)
    title, head, _, *rows = console.file.getvalue().split("\n")
    assert (title, head.split()) == ("settings from the data", ["setting", "value"])
    assert [row.split() for row in rows if row] == [["batch_size", "64", "few"], ["patience", "7", "a", "fifth"]]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "UR4RecV2MoE 0.2500 [.200, .300] 0.2500 [.200, .300] 0.2500 [.200, .300]"),
        (70, "UR4RecV2MoE 0.2500 [.200, .300] 0.2500 [.200, .300] 0.2500"),
        (40, "UR4RecV2MoE 0.2500 0.2500 0.2500"),
    ],
)
def test_a_line_a_system_with_the_intervals_that_fit(width: int, expected: str) -> None:
    title, protocol, head, rule, first, *others = show(make_results(), width)
    assert title == "test on toy"
    assert protocol.startswith("leave_one_out, ")
    assert head.split() == ["system", "ndcg@10", "hit@10", "mrr"]
    assert " ".join(first.split()) == expected
    assert [line.split()[0] for line in others if line] == ["sasrec", "recency_ease", "popularity"]
    assert max(map(len, (head, rule, first, *others))) <= width


def test_perfect_numbers_fit_on_80_columns_as_well() -> None:
    lines = show(make_results(value=1.0, ci95=(1.0, 1.0)), 80)
    assert len([line for line in lines if line]) == 8
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["[/x] plays", "[eu] plays", "[bold]", r"a\[b", ":smile:"])
def test_the_name_of_the_data_is_shown_as_it_is_written(name: str) -> None:
    assert show(make_results(name=name), 80)[0] == f"test on {name}"


def test_what_the_lists_come_to_is_a_table_of_its_own() -> None:
    figures = {"coverage@10": Figure(value=0.5, ci95=None), "novelty@10": Figure(value=3.25, ci95=(3.0, 3.5))}
    lists = {"UR4RecV2MoE": figures, "sasrec": {"novelty@10": figures["novelty@10"]}}
    lines = show(make_results().model_copy(update={"lists": lists}), 80)
    start = lines.index("what the systems would recommend")
    table = [line.split() for line in lines[start + 1 :] if line and "─" not in line]
    expected = [["system", *figures], ["UR4RecV2MoE", "0.5000", "3.2500"], ["sasrec", "–", "3.2500"]]
    assert table == expected


def test_the_first_metric_by_target_count_fits_on_80_columns() -> None:
    results = make_results()
    names = ("0", "1-4", "5-9", "10-29", "30+")
    parts = [
        Slice(by="target_count", name=name, low=0, high=9, num_users=9999, test=results.test, expert_weights={})
        for name in names
    ]
    lines = show(results.model_copy(update={"slices": parts}), 80)
    table = lines[lines.index("ndcg@10 of targets by training interactions") + 1 :]
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in table if line.startswith("sasrec")] == [["sasrec", *["0.2500"] * 5]]
    head = " ".join(" ".join(line.split()) for line in table[: next(i for i, line in enumerate(table) if "─" in line)])
    assert head == f"{' '.join(names)} system{' (n=9,999)' * 5}"


# a run that failed


@pytest.fixture
def local_run(tmp_path: Path) -> LocalRun:
    return LocalRun(
        pipeline=tmp_path / "pipeline.yaml",
        arguments={},
        environment={},
        pipeline_root=tmp_path / "root",
        output_dir=tmp_path / "out",
    )


def show_failed(run: LocalRun, *log: str) -> list[str]:
    task = Task("one", "comp-one", "One", status=Status.FAILED)
    task.log.extend(log)
    console = PlainConsole(file=io.StringIO(), width=80, force_terminal=False)
    show_failure(console, run, Outcome(tasks=[task], outputs={}, peak_memory_mb=1.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_an_error_of_the_library_is_said_once_without_a_traceback(local_run: LocalRun) -> None:
    lines = show_failed(local_run, "Traceback", "  x", f"ur4rec.data.errors.DataError: {MESSAGE}")
    assert lines == [f"DataError: {MESSAGE}", f"whole log: {local_run.log}"]


def test_any_other_error_comes_with_the_end_of_the_log(local_run: LocalRun) -> None:
    lines = show_failed(local_run, *(f"line {number}" for number in range(40)), "KeyError: 'x'")
    assert lines[:3] == ["KeyError: 'x'", "last lines of its log:", "  line 21"]
    assert lines[-2:] == ["  KeyError: 'x'", f"whole log: {local_run.log}"]


def test_a_process_that_was_killed_has_no_error(local_run: LocalRun) -> None:
    assert show_failed(local_run, "[/loading]\x1b[2J")[:3] == [NO_ERROR, "last lines of its log:", "  [/loading]␛[2J"]


def test_results_of_an_earlier_run_are_named(local_run: LocalRun) -> None:
    results = local_run.output_dir / "results.json"
    results.parent.mkdir()
    results.write_text(format_results(make_results(name="[/last] year"), results), encoding="utf-8")
    expected = f"{local_run.output_dir} still holds the results of an earlier run"
    assert show_failed(local_run)[-1] == f"{expected} ([/last] year)"
    results.write_text("{}")
    assert show_failed(local_run)[-1] == f"{expected} (its results.json cannot be read)"


# what to do next


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment's programs, which is not on the PATH."""
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    (folder / "toy-program").write_text("#!/bin/sh\n")
    (folder / "toy-program").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def test_a_program_off_the_path_is_named_by_its_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_program("toy-program") == f"'{folder}/toy-program'"
    monkeypatch.chdir(tmp_path)
    assert name_program("toy-program") == "'my env/bin/toy-program'"


def test_a_program_that_the_shell_finds_keeps_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert name_program("toy-program") == "toy-program"
    assert name_program("not-installed") == "not-installed"


def test_another_program_of_the_same_name_is_not_meant(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy-program").write_text("#!/bin/sh\n")
    (tmp_path / "toy-program").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert name_program("toy-program") == f"'{folder}/toy-program'"


@pytest.mark.parametrize(
    ("is_new", "words", "model"),
    [
        (True, "ur4rec version 3, alias challenger", "models:/ur4rec@challenger"),
        (False, "ur4rec version 3, registered in an earlier run", "models:/ur4rec/3"),
    ],
)
def test_an_earlier_registration_is_asked_by_its_version(is_new: bool, words: str, model: str) -> None:
    assert describe_version(REGISTRATION, is_new) == words
    assert recommend_command(REGISTRATION, is_new, "user 0").endswith(f" recommend --user 'user 0' --model {model}")
