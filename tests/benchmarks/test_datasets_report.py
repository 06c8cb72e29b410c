"""Figures, pairing and groups of the benchmark of data sets, worked out by hand."""

import doctest
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import datasets_report
from benchmarks.datasets_inputs import Dataset
from benchmarks.datasets_report import (
    describe_dataset,
    list_difference_rows,
    list_group_rows,
    list_rows,
    write_markdown,
)
from benchmarks.datasets_systems import Outcome, Trained
from benchmarks.peer_exchange import Point, Run
from benchmarks.peer_jobs import Job
from benchmarks.peer_settings import Setting
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences

SECOND, THIRD = 1 / np.log2(3), 0.5
"""Gains of these places."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six users; their test items have 0, 2, 1, 0, 1 and 5 training interactions."""
    folder = tmp_path_factory.mktemp("data")
    sequences = ("abcn", "acdb", "adbc", "adcn", "adbc", "dbca")
    rows = ["user_id,item_id,timestamp"]
    rows += [f"u{user},{item},{place}" for user, items in enumerate(sequences) for place, item in enumerate(items, 1)]
    (folder / "a_b.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    preprocess_sequences(folder / "a_b.csv", folder / "sequences", DataConfig())
    return Dataset(folder / "sequences", None, folder / "split.npz", load_sequences(folder / "sequences"))


def trained(system: str, seed: int, *places: int, setting: str = "one") -> Trained:
    """The places of the six test targets; on validation, all are first."""
    ranks = {"validation": np.ones((6, 2), np.int64), "test": np.array([[place, place] for place in places])}
    point = Point(3, 1.0, 8.0, 6.0, 1.0)
    run = Run((point,), ranks, 0.5, 100.0, 250.0, {"numpy": np.__version__})
    return Trained(Job(system, Setting(setting, "a test"), "module", Path("python"), {"seed": seed}), seed, run)


def outcome(dataset: Dataset, system: str, *runs: Trained) -> Outcome:
    return Outcome(dataset, system, list(runs), list(runs[:1]))


def test_doctests() -> None:
    failed, attempted = doctest.testmod(datasets_report)
    assert attempted > 0
    assert failed == 0


def test_means_are_over_users_and_deviations_over_seeds(dataset: Dataset) -> None:
    runs = trained("ease", 1, 1, 1, 1, 11, 11, 11), trained("ease", 2, 1, 11, 11, 11, 11, 11)
    (row,) = describe_dataset([outcome(dataset, "ease", *runs)])["systems"]
    for metric in ("ndcg@10", "hit@10"):
        test = row["test"][metric]
        assert test["by_seed"] == [0.5, pytest.approx(1 / 6)]
        assert test["mean"] == pytest.approx(1 / 3)
        assert test["deviation"] == pytest.approx(1 / 3 / np.sqrt(2))
        assert test["ci95"][0] < 1 / 3 < test["ci95"][1]
        assert "difference" not in test
    assert (row["cpu_s"], row["wall_s"], row["peak_memory_mb"], row["epochs"]) == (6.0, 8.0, 250.0, [3, 3])


def test_differences_are_paired_by_user_with_the_best_other(dataset: Dataset) -> None:
    """Every user gains as much, so that the interval has no width though the users differ."""
    better = outcome(dataset, "cooccurrence-text", trained("cooccurrence-text", 1, *[2] * 6))
    worse = outcome(dataset, "ease", trained("ease", 1, *[3] * 6))
    worst = outcome(dataset, "popularity", trained("popularity", 1, *[11] * 6))
    rows = {row["system"]: row["test"]["ndcg@10"] for row in describe_dataset([worse, better, worst])["systems"]}
    assert {name: test["best_other"] for name, test in rows.items()} == {
        "ease": "cooccurrence-text",
        "cooccurrence-text": "ease",
        "popularity": "cooccurrence-text",
    }
    gap = rows["cooccurrence-text"]["difference"]
    assert gap["value"] == pytest.approx(SECOND - THIRD)
    assert gap["ci95"] == pytest.approx([gap["value"]] * 2)
    assert rows["ease"]["difference"]["value"] == pytest.approx(THIRD - SECOND)


def test_our_stages_are_no_others_of_ours(dataset: Dataset) -> None:
    ours = [outcome(dataset, name, trained(name, 1, *[1] * 6)) for name in ("ur4rec-stage1", "ur4rec")]
    other = outcome(dataset, "ease", trained("ease", 1, *[2] * 6))
    rows = {row["system"]: row["test"]["ndcg@10"]["best_other"] for row in describe_dataset([*ours, other])["systems"]}
    assert rows == {"ur4rec-stage1": "ease", "ur4rec": "ease", "ease": "ur4rec-stage1"}


def test_groups_are_by_the_targets_training_count(dataset: Dataset) -> None:
    one = outcome(dataset, "ease", trained("ease", 1, 1, 2, 3, 1, 2, 11))
    other = outcome(dataset, "popularity", trained("popularity", 1, *[11] * 6))
    row = describe_dataset([one, other])["systems"][0]
    counts = dataset.data.training_counts()[dataset.data.test[:, 1]].tolist()
    assert counts == [0, 2, 1, 0, 1, 5]
    groups = row["target_count"]
    assert {label: group["targets"] for label, group in groups.items()} == {"0": 2, "1–4": 3, "5–9": 1}
    assert groups["0"]["ndcg@10"]["value"] == 1.0
    assert groups["1–4"]["ndcg@10"]["value"] == pytest.approx((2 * SECOND + THIRD) / 3)
    assert groups["5–9"]["difference"]["value"] == 0.0


def test_parts_are_worth_what_the_whole_is_ahead_of_the_rest(dataset: Dataset) -> None:
    """Targets with 0, 2, 1, 0, 1 and 5 training interactions; means of two seeds."""
    whole = outcome(dataset, "ur4rec", trained("ur4rec", 1, 1, 1, 1, 1, 1, 1), trained("ur4rec", 2, 1, 2, 2, 1, 2, 11))
    bare = [trained("ur4rec-no-text", seed, 11, 2, 2, 11, 2, 1) for seed in (1, 2)]
    other = outcome(dataset, "ease", trained("ease", 1, *[2] * 6))
    stage = outcome(dataset, "ur4rec-stage1", trained("ur4rec-stage1", 1, *[1] * 6))
    described = describe_dataset([stage, whole, outcome(dataset, "ur4rec-no-text", *bare), other])
    no_text, best = described["differences"]
    assert (no_text["other"], best["other"]) == ("ur4rec-no-text", "ease")
    some, half = 1 - SECOND, (1 - SECOND) / 2
    assert no_text["by_seed"] == [pytest.approx((2 + 3 * some) / 6), pytest.approx((2 - 1) / 6)]
    assert no_text["ndcg@10"]["value"] == pytest.approx((2 + 3 * half - 0.5) / 6)
    assert {label: part["value"] for label, part in no_text["target_count"].items()} == {
        "0": 1.0,
        "1–4": pytest.approx(half),
        "5–9": -0.5,
    }
    assert no_text["target_count"]["1–4"]["ci95"] == pytest.approx([half, half])
    low, high = no_text["ndcg@10"]["ci95"]
    assert -0.5 <= low < no_text["ndcg@10"]["value"] < high <= 1
    assert best["by_seed"] == []
    beside = described["systems"][1]["test"]["ndcg@10"]["difference"]
    assert best["ndcg@10"]["value"] == beside["value"]
    assert best["ndcg@10"]["ci95"] == pytest.approx(beside["ci95"])
    first, second = list_difference_rows([described])
    assert first[:2] == ["a_b", "ur4rec − ur4rec-no-text"]
    assert " ± .2483 [" in first[2]
    assert first[3:] == ["+1.0000 [+1.0000, +1.0000]", "+.1845 [+.1845, +.1845]", "−.5000 [−.5000, −.5000]", "–", "–"]
    assert second[1] == "ur4rec − ease"
    assert "| a_b | ur4rec − ease |" in write_markdown({"datasets": [described]})


def test_tables(dataset: Dataset) -> None:
    one = outcome(dataset, "ease", trained("ease", 1, *[1] * 6), trained("ease", 2, *[1] * 6))
    late = trained("popularity", 1, *[2] * 6)
    late = replace(late, run=replace(late.run, cut_short=True))
    missing = Outcome(dataset, "recency-ease", error="too | many items")
    report = {"datasets": [describe_dataset([one, outcome(dataset, "popularity", late), missing])]}
    first, second = list_rows(report["datasets"])
    one_to_one = "1.0000 ± .0000 [1.0000, 1.0000]"
    assert first[:6] == ["a_b", "ease", "2", one_to_one, one_to_one, "popularity"]
    assert first[6:] == ["+.3691 [+.3691, +.3691]", "6", "250"]
    assert second[:4] == ["a_b", "popularity (cut short)", "1", ".6309 [.6309, .6309]"]
    assert second[4:] == ["1.0000 [1.0000, 1.0000]", "ease", "−.3691 [−.3691, −.3691]", "6", "250"]
    assert list_group_rows(report["datasets"]) == [
        ["a_b", "targets", "2", "3", "1", "0", "0"],
        ["a_b", "ease", "1.0000", "1.0000", "1.0000", "–", "–"],
        ["a_b", "popularity", ".6309", ".6309", ".6309", "–", "–"],
    ]
    text = write_markdown(report)
    assert r"| a_b | ease | 2 | 1.0000 ± .0000 \[1.0000, 1.0000\] |" in text
    assert r"recency-ease is left out: too \| many items." in text
    assert "6 users, 5 items, 24 interactions" in text


def test_nothing_that_was_measured_is_no_table(dataset: Dataset) -> None:
    described = describe_dataset([Outcome(dataset, "ease", error="too many items")])
    assert described["systems"] == []
    assert described["left_out"] == {"ease": "too many items"}
