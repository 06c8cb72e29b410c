"""What `ur4rec evaluate` shows."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.commands.evaluation import show_results
from ur4rec.evaluation.results import Dataset, Protocol, Results, Slice
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.bootstrap import Estimate, Figure
from ur4rec.ranking.metrics import METRICS
from ur4rec.training.checkpoints import write_model_config


@pytest.fixture
def results() -> Results:
    metrics = {name: Estimate(value=0.25, ci95=(0.2, 0.3)) for name in METRICS}
    dataset = Dataset(name="toy", digest="d", num_users=2, num_items=4, num_interactions=9, later_interactions_share=0)
    empty: dict[str, Any] = {
        key: {} for key in ("config", "validation", "memory", "expert_weights", "timings_s", "versions")
    }
    empty |= {"validation_systems": {}, "differences": {}, "peak_memory_mb": {}, "seeds": [], "slices": [], "notes": []}
    figures = {"coverage@10": Figure(value=0.5, ci95=None), "novelty@10": Figure(value=3.125, ci95=(3.0, 3.5))}
    return Results(
        dataset=dataset,
        protocol=Protocol(split="time", eval_protocol="full"),
        test={"model": metrics, "other": metrics},
        lists={"model": figures, "other": {"coverage@10": figures["coverage@10"]}},
        **empty,
    )


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_headline_metrics_then_what_the_lists_come_to(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    show_results(results)
    lines = cells(capsys.readouterr().out)
    assert lines[0] == ["model", "0.2500", "0.2000 to 0.3000", "0.2500", "0.2500"]
    assert lines[2:] == [["model", "0.5000", "3.1250"], ["other", "0.5000", "–"]]


def test_the_first_metric_is_shown_by_target_count(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        Slice(by=by, name=name, low=low, high=9, num_users=8, test=results.test, expert_weights={})
        for by, name, low in (("target_count", "0", 0), ("target_count", "5-9", 5), ("history_length", "q1", 3))
    ]
    show_results(results.model_copy(update={"slices": parts}))
    shown = capsys.readouterr().out
    assert "ndcg@10 of targets by training interactions" in " ".join(shown.split())
    assert cells(shown)[-2:] == [["model", "0.2500", "0.2500"], ["other", "0.2500", "0.2500"]]


def test_the_protocol_and_the_notes_are_shown(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    included = results.protocol.model_copy(update={"seen_items": "included"})
    show_results(results.model_copy(update={"protocol": included, "notes": ["88.0% of the targets are repeats."]}))
    shown = capsys.readouterr().out
    assert "seen items included" in " ".join(shown.split())
    assert shown.endswith("88.0% of the targets are repeats.\n")


def test_another_rule_than_the_models_is_refused(tmp_path: Path) -> None:
    write_model_config(tmp_path, UR4RecV2MoE(4, 2, ModelConfig(seen_items="include")), "digest")
    (tmp_path / "sequences").mkdir()
    evaluate = ["evaluate", str(tmp_path / "sequences"), str(tmp_path)]
    refused = CliRunner().invoke(app, [*evaluate, "--set", "seen_items=exclude"])
    assert refused.exit_code == 2
    told = " ".join(refused.output.split())
    assert f"seen_items: {tmp_path} was trained with include" in told
    assert "train with seen_items=exclude" in told
    for given in ([], ["--set", "seen_items=include"]):
        assert "seen_items" not in CliRunner().invoke(app, [*evaluate, *given]).output


def test_results_without_metrics_of_lists_are_one_table(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    show_results(results.model_copy(update={"lists": {}}))
    assert len(cells(capsys.readouterr().out)) == 2
