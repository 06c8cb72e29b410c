import json
from pathlib import Path
from typing import Any

import pytest

from ur4rec.evaluation.history import HistoryError, read_history

STAGE: dict[str, Any] = {
    "stage": "pretrain_sasrec",
    "seconds": 1.5,
    "epochs": 2,
    "best_epoch": 1,
    "validation": {"ndcg@10": 0.1},
    "series": [{"epoch": 1, "step": 3, "loss": 2.0, "ndcg@10": 0.1}, {"epoch": 2, "step": 6, "loss": float("nan")}],
}


def write(folder: Path, content: object) -> Path:
    path = folder / "history.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_reads_stages_and_ignores_what_a_newer_training_adds(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, {"stages": [STAGE | {"note": "new"}]}))
    assert history.validation == {"pretrain_sasrec": {"ndcg@10": 0.1}}
    assert (history.stages[0].series[0].loss, history.stages[0].series[0].ndcg) == (2.0, 0.1)
    assert history.stages[0].series[1].ndcg is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "stages: Field required"),
        ({"stages": [{key: STAGE[key] for key in STAGE if key != "epochs"}]}, "stages.0.epochs: Field required"),
        ({"stages": [STAGE | {"validation": {"ndcg@10": float("nan")}}]}, "stages.0.validation.ndcg@10"),
        ({"stages": [STAGE | {"series": [{"loss": 1.0}]}]}, "stages.0.series.0.epoch: Field required"),
    ],
)
def test_a_broken_file_is_named_with_its_key(
    tmp_path: Path, content: dict[str, list[dict[str, Any]]], message: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(HistoryError) as caught:
        read_history(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"history\.json: not found"):
        read_history(tmp_path / "history.json")
