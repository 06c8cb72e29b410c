from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from ur4rec.storage import task_metrics
from ur4rec.storage.task_metrics import describe_outcome, log_metrics, report_outcome


class ToyMetrics:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.logged: dict[str, float] = {}

    def log_metric(self, metric: str, value: float) -> None:
        self.logged[metric] = value


def test_the_file_holds_what_is_logged(tmp_path: Path) -> None:
    metrics = ToyMetrics(tmp_path / "task" / "metrics")
    log_metrics(metrics, {"epochs": 3, "ndcg@10": 0.25})
    assert json.loads(Path(metrics.path).read_text()) == metrics.logged
    assert metrics.logged.pop("peak_memory_mb") > 1
    assert metrics.logged == {"epochs": 3.0, "ndcg@10": 0.25}


def test_the_examples_hold() -> None:
    assert doctest.testmod(task_metrics) == (0, 2)


@pytest.mark.parametrize(
    ("state", "error", "line"),
    [
        ("SUCCEEDED", None, "run succeeded: runs/7"),
        ("CANCELED", None, "run canceled: runs/7"),
        ("FAILED", "two\n lines", "run failed: runs/7: two lines"),
    ],
)
def test_one_line_whatever_happened(
    state: str, error: str | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report_outcome(state, "runs/7", error)
    assert capsys.readouterr().out == f"{line}\n"
    assert describe_outcome(state, "runs/7", error) == line
