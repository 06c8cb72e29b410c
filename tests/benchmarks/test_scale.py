import cProfile
import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import catalogue, scale
from benchmarks.catalogue import CHAIN_SHARE, GROUP, generate_sequences, split_histories, successor
from benchmarks.phases import Phases
from benchmarks.profiles import list_costs, list_operations


def test_doctests() -> None:
    failed, attempted = doctest.testmod(catalogue)
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize("num_items", [5, 8, 21])
def test_successors_go_round_their_group(num_items: int) -> None:
    ranks = np.arange(num_items)
    following = successor(ranks, num_items)
    assert sorted(following) == ranks.tolist()
    assert (following // GROUP == ranks // GROUP).all()
    assert (following != ranks).all() or num_items % GROUP == 1


def test_most_interactions_follow_the_one_before_and_few_items_are_popular() -> None:
    items = generate_sequences(num_users=400, num_items=800, length=20, seed=0)
    assert items.min() >= 1
    assert items.max() <= 800
    assert (items == generate_sequences(400, 800, 20, seed=0)).all()
    following: dict[int, list[int]] = {}
    for before, after in zip(items[:, :-1].ravel(), items[:, 1:].ravel(), strict=True):
        following.setdefault(before, []).append(after)
    commonest = sum(np.bincount(found).max() for found in following.values() if len(found) >= 20)
    seen = sum(len(found) for found in following.values() if len(found) >= 20)
    assert commonest / seen == pytest.approx(CHAIN_SHARE, abs=0.05)
    counts = np.sort(np.bincount(items.ravel(), minlength=801)[1:])[::-1]
    assert counts[:80].sum() > 0.4 * counts.sum()


def test_the_last_item_of_each_user_is_the_target() -> None:
    histories, targets = split_histories(np.array([[3, 1, 2], [5, 6, 4]]))
    assert histories.lengths.tolist() == [0, 2, 2]
    assert histories.items.tolist() == [3, 1, 5, 6]
    assert targets[:, :2].tolist() == [[1, 2], [2, 4]]
    assert (targets[:, 2] > histories.timestamps.max()).all()


def test_a_phase_has_the_memory_of_its_own_part() -> None:
    phases = Phases()
    phases.mark("before")
    held = np.ones(60 << 17)  # 60 MiB
    large = phases.mark("large")
    del held
    small = phases.mark("small")
    assert [phase.name for phase in phases.finished] == ["before", "large", "small"]
    assert large.peak_mb - phases.finished[0].peak_mb > 50
    assert small.peak_mb <= large.peak_mb
    assert all(phase.seconds >= 0 for phase in phases.finished)


def test_costs_name_functions_and_operations() -> None:
    left = torch.randn(200, 200)
    finished = cProfile.Profile()
    finished.runcall(lambda: [torch.mm(left, left) for _ in range(7)])
    assert any("mm" in cost.function and cost.calls == 7 for cost in list_costs(finished))
    (first,) = list_operations(lambda: torch.mm(left, left), count=1)
    assert (first.function, first.calls) == ("aten::mm", 1)


def test_the_report_has_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "UPDATED_USERS", 50)
    monkeypatch.setattr(scale, "SMALL", (12, 30, 8))
    monkeypatch.setattr(scale, "describe_machine", lambda threads: {"threads": threads})
    application = typer.Typer()
    application.command()(scale.main)
    sizes = ["--items", "120", "--users", "40", "--length", "8", "--text-width", "4", "--validated", "9"]
    training = ["--negatives", "16", "--batch-size", "20"]
    result = CliRunner().invoke(application, ["-o", str(tmp_path / "scale.json"), *sizes, *training])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "scale.json").read_text())
    names = [phase["name"] for phase in report["phases"]]
    assert "pretrain_sasrec: epoch and validation" in names
    assert names[-1] == "rank 9 users, fused"
    assert report["steps"] == {"pretrain_sasrec": 2, "pretrain_retriever": 2}
    assert report["peak_mb"] == max(phase["peak_mb"] for phase in report["phases"])
    assert all(len(scores) == 2 for scores in report["validation"].values())
    assert [phase["name"] for phase in report["small"]] == [
        "update_memory, 50 users",
        "replay step, 50 users",
        "rank 12 users in 30 items",
    ]
