from __future__ import annotations

import json
from pathlib import Path

from ur4rec.storage.task_metrics import log_metrics


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
