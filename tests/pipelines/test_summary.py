from __future__ import annotations

import io

import pytest
from toy_results import make_results

from pipelines.summary import show_test
from ur4rec.evaluation.results import Results
from ur4rec.terminal import PlainConsole


def show(results: Results, width: int) -> list[str]:
    console = PlainConsole(file=io.StringIO(), width=width, force_terminal=False)
    show_test(console, results)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


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
