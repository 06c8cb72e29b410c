"""Several tasks ask for a part each, and meet in one cache."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from server import Behaviour, Fault, serve
from toy_sequences import BuildSequences
from toy_texts import KEY, build_toy, generate, make_config, read_files

from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.llm.costs import BudgetError
from ur4rec.text.llm.provider import TextGenerationError
from ur4rec.text.shards import ask_shard, plan_shards

NUM_TEXTS = 41


@pytest.fixture
def sequences(build_sequences: BuildSequences, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return build_toy(build_sequences)


@pytest.mark.parametrize(
    ("texts_per_shard", "max_shards", "count"), [(41, 8, 1), (40, 8, 2), (10, 8, 5), (10, 3, 3), (1, 100, 41)]
)
def test_there_are_as_many_shards_as_the_texts_need(
    sequences: Path, tmp_path: Path, texts_per_shard: int, max_shards: int, count: int
) -> None:
    config = make_config("http://127.0.0.1:9/v1", tmp_path / "cache", texts_per_shard=texts_per_shard)
    assert plan_shards(sequences, config, max_shards) == [f"{number}/{count}" for number in range(1, count + 1)]


def test_the_template_needs_no_shards(sequences: Path) -> None:
    config = TextConfig(snapshot_base=3, texts_per_shard=1)
    assert plan_shards(sequences, config, 8) == ["1/1"]
    assert ask_shard(sequences, config, "1/1") == "{}"


@pytest.mark.server
@pytest.mark.parametrize(("base", "parts"), [(3, [14, 14, 13]), ("auto", [15, 15, 15])])
def test_shards_ask_for_every_text_once_and_the_rest_is_cached(
    sequences: Path, tmp_path: Path, base: int | str, parts: list[int]
) -> None:
    """Where the grid is left to the data, shards decide as the task does that follows them, prompts included."""
    with serve(Behaviour(shares={Fault.THROTTLED: 0.1})) as server:
        whole = generate(server, sequences, tmp_path / "whole", tmp_path / "other", snapshot_base=base).content_digest
    with serve(Behaviour(shares={Fault.THROTTLED: 0.1})) as server:
        config = make_config(server, tmp_path / "cache", texts_per_shard=15, snapshot_base=base)
        used = [json.loads(ask_shard(sequences, config, shard)) for shard in plan_shards(sequences, config, 8)]
        assert [part["answered"] for part in used] == parts
        counts = server.counts()
        assert (counts["answered_prompts"], counts["most_successes"]) == (sum(parts), 1)
        manifest = generate_text(sequences, tmp_path / "out", config)
        assert server.counts() == counts
    assert manifest.content_digest == whole
    assert read_files(tmp_path / "out") == read_files(tmp_path / "whole")


@pytest.mark.server
def test_what_shards_spend_is_taken_off_the_budget(sequences: Path, tmp_path: Path) -> None:
    """Half of what the texts cost: each shard spends its part, and too little is left for the rest."""
    with serve(Behaviour()) as server:
        whole = json.loads(ask_shard(sequences, make_config(server, tmp_path / "other"), "1/1"))
        fields = {"texts_per_shard": 15, "text_budget": whole["cost"] / 2}
        config = make_config(server, tmp_path / "cache", **fields)
        asked = [ask_shard(sequences, config, shard) for shard in plan_shards(sequences, config, 8)]
        costs = [json.loads(used)["cost"] for used in asked]
        assert all(0 < cost <= whole["cost"] / 2 / 3 for cost in costs)
        left = fields["text_budget"] - sum(costs)
        before = server.counts()["calls"]
        with pytest.raises(BudgetError, match=f"the budget of {left:.4g} USD would be exceeded"):
            generate_text(sequences, tmp_path / "out", config, asked=asked)
        assert server.counts()["calls"] - before <= 1 + left / (whole["cost"] / whole["calls"])


@pytest.mark.server
def test_the_progress_of_a_shard_ends_at_its_total(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """30 items and 11 snapshots in 4 parts: the second has 8 and 3 of them, one more than of 41 in a row."""
    with serve(Behaviour()) as server:
        ask_shard(sequences, make_config(server, tmp_path / "cache"), "2/4")
    assert capsys.readouterr().out.splitlines()[-1].endswith('{"text": 11, "texts": 11}')


@pytest.mark.server
def test_a_shard_leaves_out_what_is_imported(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    items, users = write_json({"i0": "Zero."}), write_json({"a": "A reads it."})
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache")
        assert json.loads(ask_shard(sequences, config, "1/1", items, users))["answered"] == NUM_TEXTS - 1 - 4


@pytest.mark.server
def test_a_shard_with_too_many_failures_fails(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares={Fault.FILTERED: 0.5})) as server:
        config = make_config(server, tmp_path / "cache")
        with pytest.raises(TextGenerationError, match=r"of 21 texts failed, at most 2\.0% may: \d+ content_filter"):
            ask_shard(sequences, config, "1/2")
