import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from server import COMPATIBLE, NATIVE, answer_text

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("preferred_types", ["preferred_types", "features_of_interest", "potential_directions"]),
        ("description", ["description"]),
    ],
)
def test_answers_are_plain_sentences_in_the_shape_asked_for(word: str, keys: list[str]) -> None:
    texts = set()
    for number in range(200):
        messages = [{"role": "system", "content": f"Return {word}."}, {"role": "user", "content": str(number)}]
        assert answer_text(messages) == answer_text(messages)
        answer = json.loads(answer_text(messages))
        assert list(answer) == keys
        for value in answer.values():
            sentences = value if isinstance(value, list) else value.replace(". ", ".|").split("|")
            assert 1 <= len(sentences) <= 3
            assert all(6 <= len(sentence.split()) <= 15 and sentence.endswith(".") for sentence in sentences)
        texts.add(answer_text(messages))
    assert len(texts) > 150


@pytest.mark.server
def test_as_a_process_it_tells_its_url_and_counts() -> None:
    command = [sys.executable, "-m", "tests.text.llm.server", "--port", "0", "--throttled", "1", "--seed", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            messages = [{"role": "user", "content": "hello"}]
            native = httpx.post(url + NATIVE, json={"model": "m", "input": {"messages": messages}})
            compatible = httpx.post(url + COMPATIBLE, json={"model": "m", "messages": messages})
            counts = httpx.get(url + "/counts?per_prompt=1").json()
        finally:
            process.terminate()
    assert (native.status_code, native.json()["code"]) == (429, "Throttling.RateQuota")
    assert (compatible.status_code, compatible.json()["error"]["code"]) == (429, "limit_requests")
    assert (counts["calls"], counts["successes"], counts["faults"]) == (2, 0, {"throttled": 2})
    assert [entry["calls"] for entry in counts["per_prompt"].values()] == [2]
