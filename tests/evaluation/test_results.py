import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ur4rec.evaluation.comparison import estimate_systems
from ur4rec.evaluation.results import (
    Dataset,
    Protocol,
    Results,
    ResultsError,
    SampledCandidates,
    format_results,
    load_results,
)
from ur4rec.ranking.bootstrap import Figure
from ur4rec.ranking.metrics import METRICS

STABLE_KEYS = {
    "dataset",
    "protocol",
    "config",
    "seeds",
    "test",
    "validation",
    "memory",
    "expert_weights",
    "timings_s",
    "versions",
}


@pytest.fixture
def results() -> Results:
    test, differences = estimate_systems(
        {"UR4RecV2MoE": np.array([[1, 1], [3, 3]]), "sasrec": np.array([[2, 2], [30, 30]])}, 100
    )
    return Results(
        dataset=Dataset(
            name="toy", digest="d", num_users=2, num_items=40, num_interactions=9, later_interactions_share=0.5
        ),
        protocol=Protocol(split="leave_one_out", eval_protocol="full"),
        config={"seed": 1, "split": "leave_one_out"},
        seeds=[1],
        test=test,
        validation={"pretrain_sasrec": {"ndcg@10": 0.1}},
        memory={"total_users": 2.0},
        expert_weights={"user_preference": 1.0},
        timings_s={"evaluate": 1.0},
        versions={"python": "3"},
        validation_systems={"sasrec": {"ndcg@10": 0.1}},
        differences=differences,
        slices=[],
        peak_memory_mb={"evaluate": 100.0},
        notes=[],
    )


def write(folder: Path, results: Results) -> Path:
    file = folder / "results.json"
    file.write_text(format_results(results, file), encoding="utf-8")
    return file


def test_round_trip(results: Results, tmp_path: Path) -> None:
    assert load_results(write(tmp_path, results)) == results


def test_stable_keys_and_shapes(results: Results, tmp_path: Path) -> None:
    content = json.loads(write(tmp_path, results).read_text(encoding="utf-8"))
    assert set(content) >= STABLE_KEYS
    assert set(content["dataset"]) >= {"name", "digest", "num_users", "num_items", "num_interactions"}
    assert content["test"]["sasrec"]["mrr"]["value"] == pytest.approx((1 / 2 + 1 / 30) / 2)
    assert content["test"]["sasrec"]["mrr"]["ci95"] == pytest.approx([1 / 30, 1 / 2])


def test_more_metrics_than_this_release_knows_are_read(results: Results, tmp_path: Path) -> None:
    content = results.model_dump(mode="json")
    for metrics in content["test"].values():
        metrics["mean_rank"] = {"value": 7.5, "ci95": [6.5, 8.5]}
    content["lists"] = {"sasrec": {"diversity@10": {"value": 3.0, "ci95": None}}}
    content["slices"] = [{"by": "age", "name": "q1", "low": 1, "high": 2, "num_users": 1, "expert_weights": {}}]
    content["slices"][0]["test"] = content["test"]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    found = load_results(file)
    assert found.test["sasrec"]["mean_rank"].value == 7.5
    assert found.lists["sasrec"]["diversity@10"] == Figure(value=3.0, ci95=None)
    assert ("sasrec", "diversity@10", found.lists["sasrec"]["diversity@10"]) in list(found.test_figures())


def test_a_file_of_a_release_that_measured_less_is_read(results: Results, tmp_path: Path) -> None:
    content = results.model_dump(mode="json")
    del content["lists"]
    for metrics in content["test"].values():
        del metrics["hit@20"]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    found = load_results(file)
    assert found.lists == {}
    assert {name for _, name, _ in found.test_figures()} == set(METRICS) - {"hit@20"}


def test_slices_of_a_release_without_paired_leads_are_read_and_tabulated(results: Results, tmp_path: Path) -> None:
    content = results.model_dump(mode="json")
    ranges = [("target_count", "0", 0, 12), ("target_count", "10-29", 10, 1234), ("history_length", "q1", 3, 1246)]
    content["slices"] = [
        {"by": by, "name": name, "low": low, "high": low, "num_users": num_users, "expert_weights": {}}
        | {"test": content["test"]}
        for by, name, low, num_users in ranges
    ]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    found = load_results(file)
    assert [part.differences for part in found.slices] == [{}, {}, {}]
    columns, rows = found.tabulate_slices("target_count")
    assert columns == ["system", "0 (n=12)", "10-29 (n=1,234)"]
    assert rows == [("UR4RecV2MoE", 0.75, 0.75), ("sasrec", *[pytest.approx(1 / math.log2(3) / 2)] * 2)]
    assert found.tabulate_slices("history_count") == (["system"], [])


def test_headline_names_the_model_and_its_rivals(results: Results) -> None:
    assert results.model_name == "UR4RecV2MoE"
    assert results.headline() == pytest.approx(
        {"ndcg@10": 0.75, "hit@10": 1.0, "mrr": 2 / 3, "sasrec/ndcg@10": 1 / math.log2(3) / 2}
    )


def test_protocol_reads_as_a_phrase(results: Results) -> None:
    assert str(results.protocol) == "leave_one_out, full ranking, seen items excluded, ties mean_over_places"


def test_a_protocol_with_seen_items_says_so_and_one_of_an_older_release_is_without(
    results: Results, tmp_path: Path
) -> None:
    included = results.protocol.model_copy(update={"seen_items": "included"})
    assert str(included) == "leave_one_out, full ranking, seen items included, ties mean_over_places"
    content = results.model_dump(mode="json")
    file = tmp_path / "results.json"
    for told, read in (("included", "included"), ("excluded", "excluded"), (None, "excluded")):
        content["protocol"] = {key: value for key, value in content["protocol"].items() if key != "seen_items"}
        content["protocol"] |= {} if told is None else {"seen_items": told}
        file.write_text(json.dumps(content), encoding="utf-8")
        assert load_results(file).protocol.seen_items == read
    content["protocol"]["seen_items"] = "some"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ResultsError, match=r"protocol\.seen_items: Input should be 'excluded' or 'included'"):
        load_results(file)


def test_a_rolled_back_and_sampled_protocol_says_so() -> None:
    candidates = SampledCandidates(num_candidates=99, seed=42, sha256={"test": "d"})
    protocol = Protocol(split="leave_one_out", eval_protocol="sampled", drop_last=1, candidates=candidates)
    assert str(protocol) == (
        "leave_one_out without the newest 1, sampled ranking of the target and 99 others, "
        "seen items excluded, ties mean_over_places"
    )


def edit(
    content: dict[str, Any], path: tuple[str, ...], value: dict[str, Any] | float | list[Any] | str | None
) -> None:
    *parents, last = path
    for key in parents:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("seeds",), None, "seeds: Field required"),
        (("surprise",), 1, "surprise: Extra inputs"),
        (("dataset", "digest"), None, "dataset.digest: Field required"),
        (("test", "sasrec", "mrr", "value"), math.nan, "test.sasrec.mrr.value: Input should be a finite number"),
        (("test", "sasrec", "mrr", "ci95"), [0.1, math.inf], "test.sasrec.mrr.ci95.1: Input should be a finite number"),
        (("test", "sasrec", "mrr", "ci95"), [0.9, 0.1], "ci95 is [low, high]"),
        (("test", "sasrec", "mrr"), None, "test.sasrec holds"),
        (("test", "sasrec", "ndcg@5"), None, "test.sasrec holds"),
        (("test", "sasrec", "mrr", "value"), 1.5, "test.sasrec.mrr is 1.5 in [0.0"),
        (("lists",), {"other": {}}, "lists names ['other'], expected systems of test"),
        (
            ("lists",),
            {"sasrec": {"coverage@10": {"value": math.nan, "ci95": None}}},
            "lists.sasrec.coverage@10.value: Input should be a finite number",
        ),
        (("test",), {}, "test names no system"),
        (("timings_s", "evaluate"), math.inf, "timings_s.evaluate: Input should be a finite number"),
        (
            ("protocol", "ties"),
            "expected_rank",
            "protocol.ties: Input should be 'mean_over_places'; run the evaluation again",
        ),
        (("seeds",), ["x"], "seeds.0: Input should be a valid integer"),
    ],
)
def test_a_broken_file_is_named_with_its_key(
    results: Results,
    tmp_path: Path,
    path: tuple[str, ...],
    value: dict[str, Any] | float | list[Any] | str | None,
    message: str,
) -> None:
    content = results.model_dump(mode="json")
    edit(content, path, value)
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ResultsError) as caught:
        load_results(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"results\.json: not found"):
        load_results(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match="Invalid JSON"):
        load_results(tmp_path / "results.json")


def test_a_configuration_without_finite_numbers_is_not_written(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text("old", encoding="utf-8")
    with pytest.raises(ResultsError, match="finite"):
        write(tmp_path, results.model_copy(update={"config": {"lr": math.inf}}))
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]
