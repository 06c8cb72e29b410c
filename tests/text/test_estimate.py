"""The estimate says what a run then asks for."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from server import Behaviour, serve
from toy_sequences import BuildSequences
from toy_texts import KEY, build_toy, list_prompts, make_config

from ur4rec.text.estimate import estimate_texts
from ur4rec.text.generate import generate_text
from ur4rec.text.llm.costs import PriceError, estimate_prompt_tokens, load_prices
from ur4rec.text.shards import ask_shard

NOWHERE = "http://127.0.0.1:9/v1"
NUM_ITEMS, NUM_SNAPSHOTS = 30, 4 + 3 + 2 + 2


@pytest.fixture
def sequences(build_sequences: BuildSequences, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return build_toy(build_sequences)


def test_an_empty_cache_costs_every_prompt_once(sequences: Path, tmp_path: Path) -> None:
    config = make_config(NOWHERE, tmp_path / "cache")
    found = estimate_texts(sequences, config)
    assert (found.model, found.num_texts, found.num_calls) == ("qwen-flash", 41, NUM_ITEMS + NUM_SNAPSHOTS)
    assert found.tokens_in == sum(map(estimate_prompt_tokens, list_prompts(sequences, config)))
    assert found.tokens_out == NUM_ITEMS * 75 + NUM_SNAPSHOTS * 150  # typical_tokens of the two prompts
    price = load_prices().per_million_tokens["qwen-flash"]
    assert found.cost == pytest.approx((found.tokens_in * price.input + found.tokens_out * price.output) / 1e6)
    assert (found.currency, found.prices_as_of) == ("USD", load_prices().as_of.isoformat())


def test_texts_of_users_are_told_apart_beside_those_from_ten_choices_on(sequences: Path, tmp_path: Path) -> None:
    """Training prefixes of 28, 16, 10, 8 and 2: from 3 on four of five users have a text, from 10 on three."""
    found = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache"))
    ours, default = found.users
    assert [(each.snapshot_base, each.calls.num_texts, each.calls.num_calls) for each in found.users] == [
        (3, NUM_SNAPSHOTS, NUM_SNAPSHOTS),
        (10, 2 + 1 + 1, 2 + 1 + 1),
    ]
    assert (ours.covered_share, default.covered_share) == (4 / 5, 3 / 5)
    assert ours.calls.tokens_out == NUM_SNAPSHOTS * 150
    items = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache", snapshot_base=1000))
    assert found.tokens_in == items.tokens_in + ours.calls.tokens_in
    price = load_prices().price
    assert ours.calls.cost == price("qwen-flash", ours.calls.tokens_in, ours.calls.tokens_out)
    assert items.users[0].covered_share == 0
    (alone,) = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache", snapshot_base=10)).users
    assert alone == default


def test_users_with_imported_texts_are_covered(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    user_text = write_json({"e": "E reads it."})
    found = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache"), None, user_text)
    assert [each.covered_share for each in found.users] == [1.0, 4 / 5]
    assert found.users[0].calls.num_texts == NUM_SNAPSHOTS


def test_equal_prompts_count_once(build_sequences: BuildSequences, tmp_path: Path) -> None:
    twins = [(user, f"i{item}", 10 * item) for user in "ab" for item in range(14)]
    found = estimate_texts(build_sequences(twins, min_seq_len=3), make_config(NOWHERE, tmp_path / "cache"))
    assert (found.num_texts, found.num_calls) == (14 + 6, 14 + 3)


def test_a_run_makes_the_calls_foreseen_and_leaves_none(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Behaviour(api_key=KEY)) as server:
        config = make_config(server, tmp_path / "cache")
        whole = estimate_texts(sequences, config)
        assert server.counts()["calls"] == 0
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        ask_shard(sequences, config, "1/2")
        half = server.counts()["calls"]
        rest = estimate_texts(sequences, config)
        assert (half, rest.num_calls, rest.num_texts) == (21, 41 - 21, 41)
        assert 0 < rest.tokens_in < whole.tokens_in
        generate_text(sequences, tmp_path / "out", config)
        assert server.counts()["calls"] == whole.num_calls
        nothing = estimate_texts(sequences, config)
    assert (nothing.num_calls, nothing.tokens_in, nothing.tokens_out, nothing.cost) == (0, 0, 0, 0.0)


def test_imported_texts_cost_nothing(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    item_text, user_text = write_json({"i0": "Zero.", "i1": "One."}), write_json({"a": "A reads it."})
    found = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache"), item_text, user_text)
    assert found.num_calls == NUM_ITEMS - 2 + NUM_SNAPSHOTS - 4


def test_a_model_without_a_price_is_told_in_tokens(sequences: Path, tmp_path: Path) -> None:
    found = estimate_texts(sequences, make_config(NOWHERE, tmp_path / "cache", text_model="mystery"))
    assert found.cost is None
    assert found.tokens_in > 0


def test_a_table_of_ones_own_is_read(sequences: Path, tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text(
        "as_of: 2031-05-06\ncurrency: EUR\nper_million_tokens:\n  mystery: {input: 1000000, output: 2000000}\n"
    )
    config = make_config(NOWHERE, tmp_path / "cache", text_model="mystery", text_prices=str(table))
    found = estimate_texts(sequences, config)
    assert (found.cost, found.currency) == (found.tokens_in + 2 * found.tokens_out, "EUR")
    assert found.prices_as_of == "2031-05-06"
    table.write_text("as_of: 2031-05-06\n")
    with pytest.raises(PriceError, match=r"prices\.yaml: currency"):
        estimate_texts(sequences, config)


def test_items_that_nobody_has_interacted_with_are_counted(build_sequences: BuildSequences, tmp_path: Path) -> None:
    rows = [(user, item, time) for user in "ab" for time, item in enumerate("vwxyz", 1)]
    items = pd.DataFrame({"item_id": list("vwxyzno"), "title": [f"Book {letter}" for letter in "vwxyzno"]})
    found = {
        new_items: estimate_texts(
            build_sequences(rows, items, new_items=new_items), make_config(NOWHERE, tmp_path / "cache")
        )
        for new_items in ("exclude", "include")
    }
    added = {
        name: getattr(found["include"], name) - getattr(found["exclude"], name) for name in ("num_texts", "num_calls")
    }
    assert added == {"num_texts": 2, "num_calls": 2}
    assert found["include"].users == found["exclude"].users
    assert (found["include"].cost or 0) > (found["exclude"].cost or 0)
