"""Texts by a language model, end to end over the loopback server."""

import asyncio
import json
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from present import present
from server import Behaviour, Fault, serve
from toy_sequences import BuildSequences
from toy_texts import (
    BASES,
    KEY,
    LENGTHS,
    answer_to,
    build_toy,
    describe_items,
    draw_rows,
    expect_texts,
    generate,
    list_prompts,
    list_requests,
    make_config,
    read_files,
    read_sources,
)

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import ArtifactError, read_artifact
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.llm import provider as provider_module
from ur4rec.text.llm.answers import AnswerError, parse_answer, repair_messages
from ur4rec.text.llm.costs import BudgetError, load_prices
from ur4rec.text.llm.lookup import DAY_S, Questions, open_cache
from ur4rec.text.llm.prompts import PromptError, load_prompt
from ur4rec.text.llm.provider import TextGenerationError, open_language_model
from ur4rec.text.llm.store import FILE, CachedAnswer, decode_line
from ur4rec.text.plan import plan_texts
from ur4rec.text.requests import ItemRequest

pytestmark = pytest.mark.server

NUM_TEXTS = 30 + 4 + 3 + 2 + 2
LIMIT = 126
"""Characters that about half of the server's descriptions keep to."""
BAD_DAY = {Fault.THROTTLED: 0.15, Fault.FAILING: 0.1}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASHSCOPE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def sequences(build_sequences: BuildSequences) -> Path:
    return build_toy(build_sequences)


def list_cached(cache: Path) -> list[CachedAnswer]:
    if not (cache / FILE).exists():
        return []
    with closing(sqlite3.connect(cache / FILE)) as connection:
        return [present(decode_line(line)) for (line,) in connection.execute("SELECT line FROM answers")]


@pytest.mark.parametrize("provider", ["dashscope", "openai"])
def test_texts_come_in_order_with_their_sources_and_counts(sequences: Path, tmp_path: Path, provider: str) -> None:
    with serve(Behaviour(latency_ms=1, shares=BAD_DAY, api_key=KEY)) as server:
        config = make_config(server, tmp_path / "cache", provider)
        details = generate_text(sequences, tmp_path / "out", config).details
        counts = server.counts()
    assert counts["faults"].keys() == {"throttled", "failing"}
    descriptions = json.loads((tmp_path / "out/item_descriptions.json").read_text())
    snapshots = read_sources(tmp_path / "out")
    expected = expect_texts(sequences, config)
    assert [*descriptions.values(), *(text for text, _ in snapshots.values())] == expected
    assert {source for _, source in snapshots.values()} == {provider}
    assert details["items"]["by_source"] == {provider: 30}
    used = details["language_model"]
    assert (used["texts"], used["cached"], used["answered"], used["fallen_back"]) == (NUM_TEXTS, 0, NUM_TEXTS, {})
    assert used["calls"] == counts["calls"] > NUM_TEXTS
    assert used["retries"] == {"server_error": counts["faults"]["failing"], "throttled": counts["faults"]["throttled"]}
    tokens_in = sum(sum(len(content) for _, content in prompt) // 4 for prompt in list_prompts(sequences, config))
    assert used["tokens_in"] == tokens_in
    price = load_prices().per_million_tokens["qwen-flash"]
    assert used["cost"] == pytest.approx((tokens_in * price.input + used["tokens_out"] * price.output) / 1e6, abs=1e-6)
    assert used["prompts"] == Questions(config).versions
    assert details["provider"] == f"{provider} qwen-flash {' '.join(used['prompts'])}"


def test_equal_prompts_are_asked_once(build_sequences: BuildSequences, tmp_path: Path) -> None:
    twins = [(user, f"i{item}", 10 * item + shift) for user, shift in (("a", 0), ("b", 5)) for item in range(14)]
    sequences = build_sequences(twins, describe_items(), min_seq_len=3)
    with serve(Behaviour()) as server:
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache").details["language_model"]
        counts = server.counts()
    assert (used["texts"], used["cached"]) == (14 + 2 * 3, 0)
    assert (counts["calls"], counts["prompts"], used["calls"]) == (14 + 3, 14 + 3, 14 + 3)
    snapshots = read_sources(tmp_path / "out")
    assert all(snapshots["a", as_of] == snapshots["b", as_of] for as_of in (3, 6, 12))


def test_a_cached_run_makes_no_call_and_writes_the_same_files(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares=BAD_DAY)) as server:
        first = generate(server, sequences, tmp_path / "first", tmp_path / "cache")
        before = server.counts()["calls"]
        again = generate(server, sequences, tmp_path / "again", tmp_path / "cache", text_concurrency=1)
        assert server.counts()["calls"] == before
    used = again.details["language_model"]
    assert (used["calls"], used["cached"], used["cost"]) == (0, NUM_TEXTS, 0)
    assert read_files(tmp_path / "again") == read_files(tmp_path / "first")
    assert again.content_digest == first.content_digest


@pytest.fixture
def tight_prompt(tmp_path: Path) -> str:
    """An item prompt whose limit about half of the server's answers keep to."""
    shipped = Path(provider_module.__file__).parent / "prompt_files/item_description.v1.yaml"
    content = yaml.safe_load(shipped.read_text())
    content["answer"]["max_characters"] = LIMIT
    (tmp_path / "tight.yaml").write_text(yaml.safe_dump(content))
    return str(tmp_path / "tight.yaml")


def foresee(sequences: Path, config: TextConfig) -> tuple[dict[str, str], set[str], set[str]]:
    """Key and first answer of the items that need a repair, and those whom it helps and does not."""
    questions, prompt = Questions(config), load_prompt(config.text_item_prompt)
    bad: dict[str, str] = {}
    repaired: set[str] = set()
    lost: set[str] = set()
    for request in plan_texts(load_sequences(sequences), config).item_requests():
        chat = questions.ask(request).chat
        try:
            parse_answer(prompt, answer_to(chat.messages))
        except AnswerError as error:
            bad[chat.key] = answer_to(chat.messages)
            second = answer_to(repair_messages(chat.messages, bad[chat.key], error))
            (repaired if len(json.loads(second)["description"]) <= LIMIT else lost).add(request.item_id)
    return bad, repaired, lost


def test_a_repair_is_asked_once_and_found_again(sequences: Path, tmp_path: Path, tight_prompt: str) -> None:
    fields: dict[str, Any] = {"text_item_prompt": tight_prompt, "text_max_failed_share": 1.0}
    with serve(Behaviour()) as server:
        bad, repaired, lost = foresee(sequences, make_config(server, tmp_path / "cache", **fields))
        assert repaired
        assert lost
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        counts = server.counts()
        again = generate(server, sequences, tmp_path / "again", tmp_path / "cache", **fields)
        assert server.counts() == counts
    assert (counts["calls"], counts["most_successes"]) == (NUM_TEXTS + len(bad), 1)
    assert used["fallen_back"] == again.details["language_model"]["fallen_back"] == {"invalid_too_long": len(lost)}
    assert read_files(tmp_path / "again") == read_files(tmp_path / "out")
    descriptions = json.loads((tmp_path / "out/item_descriptions.json").read_text())
    assert {item for item, text in descriptions.items() if text.startswith("Story ")} == lost
    assert all(len(text) <= LIMIT for item, text in descriptions.items() if item in repaired)


def test_a_run_that_died_before_a_repair_asks_for_the_repair_alone(
    sequences: Path, tmp_path: Path, tight_prompt: str
) -> None:
    fields: dict[str, Any] = {"text_item_prompt": tight_prompt, "text_max_failed_share": 1.0}
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache", **fields)
        bad, _, _ = foresee(sequences, config)
        expires = int(time.time()) + DAY_S
        with open_cache(config.text_cache) as cache:
            for key, answer in bad.items():
                asyncio.run(cache.put(CachedAnswer(key, "answered", answer, 1, 1, expires - DAY_S, expires)))
        generate_text(sequences, tmp_path / "out", config)
        assert server.counts()["calls"] == NUM_TEXTS  # the good ones once, and one repair of each other


def test_a_refusal_is_kept_for_a_while_and_falls_back(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Behaviour(shares={Fault.FILTERED: 0.3})) as server:
        first = generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=0.5)
        counts = server.counts()
        refused = counts["faults"]["filtered"]
        again = generate(server, sequences, tmp_path / "again", tmp_path / "cache", text_max_failed_share=0.5)
        assert server.counts() == counts
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 31 * DAY_S)
        generate(server, sequences, tmp_path / "later", tmp_path / "cache", text_max_failed_share=0.5)
        assert server.counts()["calls"] == counts["calls"] + refused
    assert 0 < refused < NUM_TEXTS / 2
    assert counts["calls"] == NUM_TEXTS
    assert first.details["language_model"]["fallen_back"] == {"content_filter": refused}
    assert again.details["language_model"]["cached"] == NUM_TEXTS
    sources = Counter(first.details["items"]["by_source"]) + Counter(first.details["snapshots"]["by_source"])
    assert sources == {"openai": NUM_TEXTS - refused, "template": refused}
    assert len({str(read_files(tmp_path / name)) for name in ("out", "again", "later")}) == 1
    kept = [answer for answer in list_cached(tmp_path / "cache") if answer.status == "refused"]
    assert {present(answer.expires_at_s) - answer.stored_at_s for answer in kept} == {30 * DAY_S}


def test_a_transient_failure_is_not_kept(sequences: Path, tmp_path: Path) -> None:
    fields = {"text_max_attempts": 1, "text_max_failed_share": 0.5}
    with serve(Behaviour(shares={Fault.FAILING: 0.3})) as server:
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        failed = server.counts()["faults"]["failing"]
        assert used["fallen_back"] == {"server_error": failed}
        assert len(list_cached(tmp_path / "cache")) == NUM_TEXTS - failed
        server.behaviour.shares = {}
        used = generate(server, sequences, tmp_path / "again", tmp_path / "cache").details["language_model"]
    assert (used["calls"], used["cached"], used["fallen_back"]) == (failed, NUM_TEXTS - failed, {})


def test_a_prompt_of_the_wrong_subject_is_refused_before_any_call() -> None:
    config = TextConfig(text_provider="dashscope", text_item_prompt="user_preferences.v1")
    with pytest.raises(PromptError, match=r"text_item_prompt: user_preferences.v1: is a prompt about one user"):
        Questions(config)


def test_rejections_are_kept_unless_nothing_else_came(sequences: Path, tmp_path: Path) -> None:
    everything = Behaviour(shares={Fault.ECHOED_KEY: 1.0})  # HTTP 400
    told = r"41 rejected; the last: rejected \(HTTP 400 .*\*\*\*.*\); answers are kept; run again to ask for 41 of them"
    with serve(everything) as server, pytest.raises(TextGenerationError, match=told):
        generate(server, sequences, tmp_path / "out", tmp_path / "cache")
    assert list_cached(tmp_path / "cache") == []
    with serve(Behaviour(shares={Fault.ECHOED_KEY: 0.2}, seed=3)) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=1.0)
        rejected = [entry for entry in list_cached(tmp_path / "cache") if entry.status == "failed"]
        calls = server.counts()["calls"]
        generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=1.0)
        assert server.counts()["calls"] == calls
    assert 0 < len(rejected) < NUM_TEXTS / 2


def test_more_failures_than_may_fail_the_task_by_reason(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares={Fault.FILTERED: 0.3})) as server:
        with pytest.raises(TextGenerationError) as caught:
            generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=0.05)
        refused, calls = server.counts()["faults"]["filtered"], server.counts()["calls"]
        assert str(caught.value) == (
            f"{refused} of {NUM_TEXTS} texts failed, at most 5.0% may: {refused} content_filter; the last: "
            "refused by the content filter (HTTP 400 data_inspection_failed: Input may hold inappropriate content.); "
            "answers are kept; choose another model "
            "(another run asks for them only after 7 to 30 days), or raise text_max_failed_share"
        )
        assert not (tmp_path / "out").exists()
        share = refused / NUM_TEXTS
        for allowed, fails in ((share - 1e-6, True), (share + 1e-6, False)):
            try:
                generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=allowed)
            except TextGenerationError:
                assert fails
            else:
                assert not fails
        assert server.counts()["calls"] == calls  # what was answered and refused is kept


def test_a_budget_stops_before_it_is_exceeded_and_keeps_the_answers(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour()) as server:
        whole = generate(server, sequences, tmp_path / "whole", tmp_path / "other").details["language_model"]
        budget = whole["cost"] / 2
        with pytest.raises(BudgetError, match=r"the budget of .* USD would be exceeded: .* answers, which are kept"):
            generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_budget=budget)
        kept = list_cached(tmp_path / "cache")
        tokens = sum(answer.tokens_in for answer in kept), sum(answer.tokens_out for answer in kept)
        assert 0 < present(load_prices().price("qwen-flash", *tokens)) <= budget
        assert not (tmp_path / "out").exists()
        enough = {"text_budget": 2 * whole["cost"]}
        rest = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **enough).details["language_model"]
    assert rest["calls"] == NUM_TEXTS - len(kept)
    assert rest["cost"] < rest["cost_of_texts"] == whole["cost_of_texts"] == whole["cost"]
    assert read_files(tmp_path / "out") == read_files(tmp_path / "whole")  # in one go or interrupted


@pytest.mark.parametrize(
    ("model", "budget", "message"),
    [("mystery", 5.0, "no price is known for 'mystery'"), ("qwen-flash", 0.0, "the budget of 0 USD would be exceeded")],
)
def test_a_budget_that_allows_nothing_makes_no_call(
    sequences: Path, tmp_path: Path, model: str, budget: float, message: str
) -> None:
    with serve(Behaviour()) as server:
        fields = {"text_model": model, "text_budget": budget}
        with pytest.raises(BudgetError, match=message):
            generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields)
        assert server.counts()["calls"] == 0


def test_a_prompt_whose_answers_are_of_no_use_is_not_asked_to_the_end(
    sequences: Path, tmp_path: Path, tight_prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(Path(tight_prompt).read_text())
    content["answer"]["max_characters"] = 20
    Path(tight_prompt).write_text(yaml.safe_dump(content))
    monkeypatch.setattr(provider_module, "FEWEST_JUDGED", 6)
    fields: dict[str, Any] = {"text_item_prompt": tight_prompt, "text_concurrency": 1}
    with serve(Behaviour()) as server:
        for _ in range(2):  # the second time they are known
            with pytest.raises(TextGenerationError, match=r"(\d) of \1 answers to item_description.* invalid_too_long"):
                generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields)
            assert 2 * 6 <= server.counts()["calls"] <= 2 * (6 + 1)  # of 30, with their repairs
        fields["text_max_failed_share"] = 1.0
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        assert server.counts()["calls"] == 30 * 2 + NUM_TEXTS - 30
    assert used["fallen_back"] == {"invalid_too_long": 30}


def test_answers_that_repairs_put_right_are_of_use(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "FEWEST_JUDGED", 6)
    with serve(Behaviour(script=[Fault.CHATTY] * 6)) as server:
        manifest = generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_concurrency=1)
    used = manifest.details["language_model"]
    assert (used["calls"], used["answered"], used["fallen_back"]) == (NUM_TEXTS + 6, NUM_TEXTS + 6, {})


def test_a_folder_of_something_else_is_refused_before_anything_is_paid(sequences: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.tex").write_text("On the")
    with serve(Behaviour()) as server:
        with pytest.raises(ArtifactError, match="thesis: exists and is not an artifact folder"):
            generate(server, sequences, tmp_path / "thesis", tmp_path / "cache")
        assert server.counts()["calls"] == 0


@pytest.mark.parametrize("provider", ["dashscope", "openai"])
def test_a_wrong_key_costs_one_call_a_slot_and_is_one_line(sequences: Path, tmp_path: Path, provider: str) -> None:
    with serve(Behaviour(api_key="sk-another", latency_ms=20)) as server:
        with pytest.raises(TextGenerationError) as caught:
            generate(server, sequences, tmp_path / "out", tmp_path / "cache", provider=provider)
        counts = server.counts()
    message = str(caught.value)
    assert message.startswith(f"{provider} qwen-flash at {server.url}{BASES[provider]}: access was denied (HTTP 401 ")
    assert message.endswith(f"; the key is read from {provider.upper()}_API_KEY")
    assert "\n" not in message
    assert KEY not in message
    assert caught.value.__cause__ is None
    assert 1 <= counts["calls"] == counts["wrong_key"] <= 4
    assert list_cached(tmp_path / "cache") == []


def test_no_key_for_dashscope_names_its_variable(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    config = TextConfig(text_provider="dashscope", text_cache=str(tmp_path / "cache"))
    with pytest.raises(TextGenerationError, match="set DASHSCOPE_API_KEY"):
        generate_text(sequences, tmp_path / "out", config)


def test_everything_that_decides_an_answer_keys_the_cache(sequences: Path, tmp_path: Path, tight_prompt: str) -> None:
    changes: list[dict[str, Any]] = [
        {"text_model": "qwen-plus"},
        {"text_temperature": 0.7},
        {"text_item_prompt": tight_prompt, "text_max_failed_share": 1.0},
        {"provider": "dashscope"},
    ]
    with serve(Behaviour()) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache")
        for number, change in enumerate(changes):
            used = generate(server, sequences, tmp_path / f"out{number}", tmp_path / "cache", **change).details
            num_new = 30 if "text_item_prompt" in change else NUM_TEXTS
            assert NUM_TEXTS - used["language_model"]["cached"] == num_new, change


def test_requests_are_read_no_further_ahead_than_a_part(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "AT_ONCE", 8)
    taken = 0

    def count() -> Iterator[ItemRequest]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield ItemRequest(f"i{number}", f"Story {number}")

    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache")
        with open_language_model(config) as provider:
            for written, _ in enumerate(provider.describe_items(count(), lambda _: None)):
                assert taken == 8 * (written // 8 + 1) or (taken, written >= 96) == (100, True)
    assert (taken, server.counts()["calls"]) == (100, 100)


def test_parts_make_no_difference(sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Behaviour()) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache")
        monkeypatch.setattr(provider_module, "AT_ONCE", 7)
        generate(server, sequences, tmp_path / "parts", tmp_path / "other")
        assert server.counts()["most_successes"] == 2
    assert read_files(tmp_path / "parts") == read_files(tmp_path / "out")


def test_progress_counts_every_text_once(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares={Fault.FILTERED: 0.2})) as server:
        config = make_config(server, tmp_path / "cache", text_max_failed_share=1.0)
        for _ in range(2):
            steps: list[int] = []
            with open_language_model(config) as provider:
                plan = plan_texts(load_sequences(sequences), config)
                plan.write(tmp_path, provider, steps.append)
            assert sum(steps) == len(list_requests(plan)) == NUM_TEXTS


def test_the_key_is_in_no_file(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares={Fault.ECHOED_KEY: 0.1}, api_key=KEY)) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_max_failed_share=1.0)
        assert server.counts()["faults"] == {"echoed-key": server.counts()["calls"] - server.counts()["successes"]}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} >= {"out", "cache"}
    assert all(KEY.encode() not in path.read_bytes() for path in files)


def test_another_base_pays_for_new_points_only(sequences: Path, tmp_path: Path) -> None:
    """With 6 the points are 6, 12 and 24; with 3 there is one before them, with 12 there is none but these."""
    with serve(Behaviour()) as server:
        calls = {}
        for base in (6, 3, 12):
            out = tmp_path / f"out{base}"
            used = generate(server, sequences, out, tmp_path / "cache", snapshot_base=base).details["language_model"]
            calls[base] = used["calls"]
    sources = {base: read_sources(tmp_path / f"out{base}") for base in calls}
    assert sources[12].items() < sources[6].items() < sources[3].items()
    assert calls == {6: 30 + len(sources[6]), 3: len(sources[3].keys() - sources[6].keys()), 12: 0}
    assert {as_of for _, as_of in sources[3].keys() - sources[6].keys()} == {3}


def test_answers_to_the_usual_prompt_from_few_choices_are_taken(sequences: Path, tmp_path: Path) -> None:
    """An earlier release asked it from the first choice on; without such an answer the prompt for few is asked."""
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache")
        plan, questions = plan_texts(load_sequences(sequences), config), Questions(config)
        short = [questions.ask(request) for request in plan.user_requests() if request.is_short]
        earlier = short[0].earlier
        assert earlier is not None
        assert {question.prompt.file.name for question in short} == {"short_user_preferences"}
        assert earlier.prompt.file.name == "user_preferences"
        answer = parse_answer(earlier.prompt, answer_to(earlier.chat.messages))
        with open_cache(config.text_cache) as cache:
            asyncio.run(cache.put(CachedAnswer(earlier.chat.key, "accepted", answer, 1, 1, 0, None)))
        used = generate_text(sequences, tmp_path / "out", config).details["language_model"]
        assert (used["calls"], used["cached"]) == (NUM_TEXTS - 1, 1)
        assert (answer, "openai") in read_sources(tmp_path / "out").values()


def test_a_prompt_of_ones_own_is_asked_from_the_first_choice_on(sequences: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    shipped = files("ur4rec.text.llm") / "prompt_files" / "user_preferences.v1.yaml"
    own.write_text(shipped.read_text().replace("name: user_preferences", "name: own"))
    names = {}
    for name, fields in (("own", {"text_user_prompt": str(own)}), ("long", {"snapshot_base": 6}), ("short", {})):
        config = make_config("http://127.0.0.1:9", tmp_path / "cache", **fields)
        questions = Questions(config)
        asked = [
            questions.ask(request).prompt.file.name
            for request in plan_texts(load_sequences(sequences), config).user_requests()
        ]
        names[name] = set(asked), [version.partition(".")[0] for version in questions.versions]
    assert names == {
        "own": ({"own"}, ["item_description", "own"]),
        "long": ({"user_preferences"}, ["item_description", "user_preferences"]),
        "short": (
            {"user_preferences", "short_user_preferences"},
            ["item_description", "user_preferences", "short_user_preferences"],
        ),
    }


def test_a_longer_history_adds_snapshots_and_keeps_the_others(build_sequences: BuildSequences, tmp_path: Path) -> None:
    grown = LENGTHS | {"d": 20}
    with serve(Behaviour()) as server:
        for name, lengths in (("out", LENGTHS), ("grown", grown)):
            rows = draw_rows(lengths)
            sequences = build_sequences(rows, describe_items(), min_seq_len=3)
            generate(server, sequences, tmp_path / name, tmp_path / "cache")
    before, after = read_sources(tmp_path / "out"), read_sources(tmp_path / "grown")
    assert before.items() < after.items()
    assert after.keys() - before.keys() == {("d", 12)}
    manifest = read_artifact(tmp_path / "grown")
    assert manifest.details["language_model"]["calls"] == 1


FRAMES = ("<think>It is.</think>\n{}", "It is.\n</think>\n{}", "<think>It is.\n{}", "<think>\n\n</think>\n\n{}")


@pytest.mark.parametrize("thoughts", FRAMES)
@pytest.mark.parametrize("provider", ["dashscope", "openai"])
def test_a_model_that_thinks_gives_the_same_texts(
    sequences: Path, tmp_path: Path, thoughts: str, provider: str
) -> None:
    on = {"enable_thinking": True, "chat_template_kwargs": {"enable_thinking": True}}
    with serve(Behaviour(thoughts=thoughts)) as server:
        config = make_config(server, tmp_path / "cache", provider, text_request_fields=on)
        details = generate_text(sequences, tmp_path / "out", config).details["language_model"]
    assert (details["calls"], details["fallen_back"]) == (NUM_TEXTS, {})
    assert [*json.loads((tmp_path / "out/item_descriptions.json").read_text()).values()] == expect_texts(
        sequences, config
    )[:30]


def test_when_all_fail_alike_nothing_is_ruled_out(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(shares={Fault.CHATTY: 1.0})) as server:
        for _ in range(2):
            before = server.counts()["calls"]
            with pytest.raises(TextGenerationError) as caught:
                generate(server, sequences, tmp_path / "out", tmp_path / "cache")
            assert server.counts()["calls"] > before
        assert "invalid_json; an answer begins 'Sure!'; correct the prompt, turn off the thinking" in str(caught.value)
        assert list_cached(tmp_path / "cache") == []
        server.behaviour.shares = {}
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache").details["language_model"]
    assert (used["cached"], used["fallen_back"]) == (0, {})


def test_few_texts_that_fail_alike_say_what_to_do(build_sequences: BuildSequences, tmp_path: Path) -> None:
    rows = [(user, f"i{item}", item) for user in "abc" for item in range(4)]
    sequences = build_sequences(rows, min_seq_len=3)
    fields: dict[str, Any] = {"text_request_fields": {"chat_template_kwargs": {}}}
    thinking = Behaviour(thoughts="<think>Okay, the [bold] user {wants} a summary of tastes")
    with serve(thinking) as server, pytest.raises(TextGenerationError) as caught:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields)
    assert "invalid_json; an answer begins '<think>Okay, the [bold] user {" in str(caught.value)
    assert "turn that off (text_request_fields); run again to ask for 4 of them once more" in str(caught.value)
    assert list_cached(tmp_path / "cache") == []


@pytest.mark.parametrize(("fault", "reason"), [(Fault.FILTERED, "content_filter"), (Fault.TOO_LONG, "rejected")])
def test_refusals_of_everything_are_not_kept(sequences: Path, tmp_path: Path, fault: Fault, reason: str) -> None:
    with serve(Behaviour(shares={fault: 1.0})) as server:
        fields = {"text_max_failed_share": 1.0}
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        assert used["fallen_back"] == {reason: NUM_TEXTS}
        assert list_cached(tmp_path / "cache") == []
        server.behaviour.shares = {}
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache").details["language_model"]
    assert (used["cached"], used["fallen_back"]) == (0, {})


def test_one_prompt_that_is_answered_says_nothing_of_the_other(sequences: Path, tmp_path: Path) -> None:
    """The descriptions come first, one after another; then no text of a user has the form asked for."""
    fields = {"text_max_failed_share": 1.0, "text_concurrency": 1}
    with serve(Behaviour(script=[None] * 30 + [Fault.CHATTY] * 22)) as server:
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
    assert used["fallen_back"] == {"invalid_json": 11}
    assert {answer.status for answer in list_cached(tmp_path / "cache")} == {"accepted"}


def test_a_single_text_that_fails_is_ruled_out_for_a_while(sequences: Path, tmp_path: Path) -> None:
    fields = {"text_max_failed_share": 1.0, "text_concurrency": 1}
    with serve(Behaviour(script=[Fault.CHATTY, *[None] * 29, Fault.CHATTY])) as server:
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        calls = server.counts()["calls"]
        again = generate(server, sequences, tmp_path / "out", tmp_path / "cache", **fields).details["language_model"]
        assert server.counts()["calls"] == calls
    assert used["fallen_back"] == again["fallen_back"] == {"invalid_json": 1}


def test_tokens_that_are_estimated_are_marked(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(Behaviour(tells_usage=False)) as server:
        used = generate(server, sequences, tmp_path / "out", tmp_path / "cache").details["language_model"]
        assert "tokens estimated where the service told none" in capsys.readouterr().out
        again = generate(server, sequences, tmp_path / "again", tmp_path / "cache").details["language_model"]
        server.behaviour.tells_usage = True
        told = generate(server, sequences, tmp_path / "told", tmp_path / "other").details["language_model"]
    marks = ("calls_with_estimated_tokens", "texts_with_estimated_tokens")
    assert [[each[mark] for mark in marks] for each in (used, again, told)] == [[41, 41], [0, 41], [0, 0]]
    assert used["cost"] > 0
    assert again["cost_of_texts"] == used["cost_of_texts"] == used["cost"]
    assert 0.5 < used["tokens_in"] / told["tokens_in"] < 2


def test_fields_of_a_request_key_the_cache_where_they_change_answers(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour()) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache")
        for fields, cached in (
            ({"chat_template_kwargs": {"enable_thinking": False}, "user": "ann"}, NUM_TEXTS),
            ({"top_p": 0.5}, 0),
            ({"top_p": 0.5, "service_tier": "flex"}, NUM_TEXTS),
        ):
            made = generate(server, sequences, tmp_path / "out", tmp_path / "cache", text_request_fields=fields)
            assert made.details["language_model"]["cached"] == cached, fields
            assert made.config["text_request_fields"] == fields


def test_answers_that_an_earlier_release_found_no_object_in_are_not_paid_for_again(
    sequences: Path, tmp_path: Path
) -> None:
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "cache")
        chats = [
            Questions(config).ask(each).chat for each in list_requests(plan_texts(load_sequences(sequences), config))
        ]
        expires = int(time.time()) + DAY_S
        with open_cache(config.text_cache) as cache:
            for chat in chats:
                thought = f"<think>\nIt is.\n</think>\n{answer_to(chat.messages)}"
                asyncio.run(cache.put(CachedAnswer(chat.key, "answered", thought, 1, 1, expires - DAY_S, expires)))
        used = generate_text(sequences, tmp_path / "out", config).details["language_model"]
        assert server.counts()["calls"] == 0
    assert (used["cached"], used["fallen_back"]) == (NUM_TEXTS, {})


def test_answers_that_an_earlier_version_paid_for_are_found(sequences: Path, tmp_path: Path) -> None:
    """Files of lines, one for each run, as they were written before the cache was a database."""
    with serve(Behaviour()) as server:
        generate(server, sequences, tmp_path / "out", tmp_path / "cache")
        calls = server.counts()["calls"]
        (tmp_path / "old").mkdir()
        answers = list_cached(tmp_path / "cache")
        for name, part in (
            ("1796039224386-vm-24863-e481caac33546881", answers[::2]),
            ("1796039224999-vm-7-0", answers[1::2]),
        ):
            lines = []
            for answer in part:
                text = json.dumps(answer.text)
                body = (
                    f'{{"key":"{answer.key}","status":"accepted","text":{text},"tokens_in":{answer.tokens_in},'
                    f'"tokens_out":{answer.tokens_out},"stored_at_s":1796039224,"expires_at_s":null}}'
                )
                lines.append(f'{{"crc32":"{zlib.crc32(body.encode()):08x}","answer":{body}}}\n')
            (tmp_path / "old" / f"{name}.jsonl").write_text("".join(lines))
        for _ in range(2):
            used = generate(server, sequences, tmp_path / "again", tmp_path / "old").details["language_model"]
            assert (used["calls"], used["cached"]) == (0, NUM_TEXTS)
            for path in (tmp_path / "old").glob("*.jsonl"):
                path.unlink()  # they are needed no more
        assert server.counts()["calls"] == calls
    assert read_files(tmp_path / "again") == read_files(tmp_path / "out")
