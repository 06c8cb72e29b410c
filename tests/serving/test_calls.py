"""What a call may hold, in every form, and what each refusal says, over HTTP and in the schema."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from toy_server import LENGTH, ask

from ur4rec.recommender.recommender import Recommender

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def schema(client: httpx.Client) -> Callable[[str], Draft202012Validator]:
    """The validator of a model of the server's schema."""
    document = client.get("/openapi.json").json()

    def make(name: str) -> Draft202012Validator:
        return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})

    return make


def refuse(client: httpx.Client, **call: Any) -> list[str]:
    """Fields at fault."""
    response = client.post("/recommend", json=call)
    assert response.status_code == 400, response.text
    return [problem["field"] for problem in response.json()["problems"]]


def test_integer_ids_are_the_same_as_text(client: httpx.Client) -> None:
    as_number, as_text = ask(client, requests=[{"history": [5]}, {"history": ["5"]}])
    assert as_number == as_text


@pytest.mark.parametrize(
    "form",
    [
        {
            "dataframe_split": {
                "columns": ["user_id", "history"],
                "data": [["u3", None], ["x", ["i5"]]],
                "index": [0, 1],
            }
        },
        {"dataframe_records": [{"user_id": "u3"}, {"user_id": "x", "history": ["i5"]}]},
        {"inputs": {"user_id": ["u3", "x"], "history": [None, ["i5"]]}},
        {"inputs": [{"user_id": "u3"}, {"user_id": "x", "history": ["i5"]}]},
        {"instances": [{"user_id": "u3", "history": []}, {"user_id": "x", "history": ["i5"]}]},
        {"instances": {"user_id": ["u3", "x"], "history": [None, ["i5"]]}},
    ],
)
def test_every_form_of_mlflows_protocol_gets_the_same(
    client: httpx.Client, recommender: Recommender, schema: Callable[[str], Draft202012Validator], form: dict[str, Any]
) -> None:
    schema("InvocationsCall").validate(form)
    rows = client.post("/invocations", json={**form, "params": {"k": 2}}).json()["predictions"]
    expected = recommender.recommend(["u3", "x"], [None, ["i5"]], k=2).to_dict(orient="records")
    assert [{**row, "score": None} for row in rows] == [{**row, "score": None} for row in expected]
    assert [row["source"] for row in rows] == ["user", "user", "history", "history"]


@pytest.mark.parametrize(
    ("columns", "sources"),
    [
        ({"user_id": ["u3", "u4"]}, ["user", "user"]),
        ({"user_id": ["u3", "u4"], "history": None}, ["user", "user"]),
        ({"user_id": "u3"}, ["user"]),
        ({"user_id": "u3", "history": ["i5", "i6"]}, ["history"]),
        ({"history": ["i5", "i6"]}, ["history"]),
        ({"history": [["i5"], None, ["i6"]]}, ["history", "fallback", "history"]),
    ],
)
def test_columns_are_lists_of_requests(
    client: httpx.Client, schema: Callable[[str], Draft202012Validator], columns: dict[str, Any], sources: list[str]
) -> None:
    call = {"inputs": columns, "params": {"k": 1}}
    schema("InvocationsCall").validate(call)
    rows = client.post("/invocations", json=call).json()["predictions"]
    assert [row["source"] for row in rows] == sources


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({}, "body"),
        ({"inputs": {"user_id": ["u3"]}, "instances": []}, "body"),
        ({"inputs": ["u3"]}, "dataframe_records.0"),
        ({"inputs": {"user_id": ["u3"], "history": ["i5"]}}, "dataframe_records.0.history"),
        ({"inputs": {"user_id": ["u3", "u4"], "history": [["i5"]]}}, "body"),
        ({"inputs": {"user_id": [["u3"]]}}, "dataframe_records.0.user_id"),
        ({"inputs": {"user_id": []}}, "dataframe_records"),
        ({"dataframe_split": {"columns": [["user_id"]], "data": [["u3"]]}}, "body"),
        ({"dataframe_split": {"columns": ["user_id"], "data": [["u3", "u4"]]}}, "body"),
        ({"dataframe_split": {"columns": ["user_id"], "data": [[1.5]]}}, "dataframe_records.0.user_id"),
    ],
)
def test_a_form_that_holds_no_requests_is_refused(client: httpx.Client, call: dict[str, Any], field: str) -> None:
    response = client.post("/invocations", json=call)
    assert response.status_code == 400
    assert response.json()["problems"][0]["field"] == field


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ({"requests": [{"user_id": 1.5}]}, ["requests.0.user_id"]),
        ({"requests": [{"user_id": True}]}, ["requests.0.user_id"]),
        ({"requests": [{}, {"history": "i1"}]}, ["requests.1.history"]),
        ({"requests": [{"history": ["i1", None]}]}, ["requests.0.history.1"]),
        ({"requests": [{"histories": ["i1"]}], "top": 3}, ["requests.0.histories", "top"]),
        ({"requests": [{"deny": "i1"}, {"allow": ["i1"] * 10_001}]}, ["requests.0.deny", "requests.1.allow"]),
        ({"requests": [{"deny": None}]}, ["requests.0.deny"]),
        ({"requests": [{}], "k": "10"}, ["k"]),
        ({"requests": [{}], "k": 0}, ["k"]),
        ({"requests": [{}], "k": 10**9}, ["k"]),
        ({"requests": [{}], "k": 10**400}, ["k"]),
        ({"requests": [{}], "exclude_seen": 1}, ["exclude_seen"]),
        ({"requests": []}, ["requests"]),
        ({"requests": [{}] * 257}, ["requests"]),
        ({"requests": [{"history": ["i1"] * 2001}]}, ["requests.0.history"]),
        ({"requests": [{"user_id": "u1", "seq_end": LENGTH + 1}]}, ["requests.0.seq_end"]),
        ({"requests": [{"user_id": "stranger", "seq_end": 1}]}, ["requests.0.seq_end"]),
        ({"requests": [{"history": ["i1"], "seq_end": 1}]}, ["requests.0.seq_end"]),
        ({}, ["requests"]),
    ],
)
def test_a_refusal_names_the_field(client: httpx.Client, call: dict[str, Any], fields: list[str]) -> None:
    assert refuse(client, **call) == fields


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"requests": []},
        {"requests": [{}] * 257},
        {"requests": [{"user_id": 1.5}]},
        {"requests": [{"history": ["i1"] * 2001}]},
        {"requests": [{"top": 3}]},
        {"requests": [{"seq_end": 0}]},
        {"requests": [{"deny": None}]},
        {"requests": [{"allow": [1.5]}]},
        {"requests": [{}], "k": 1001},
        {"requests": [{}], "k": "10"},
        {"requests": [{}], "exclude_seen": 1},
    ],
)
def test_the_schema_refuses_what_the_server_refuses(
    client: httpx.Client, schema: Callable[[str], Draft202012Validator], call: dict[str, Any]
) -> None:
    refuse(client, **call)
    assert not schema("RecommendCall").is_valid(call)


def test_calls_answers_and_refusals_are_as_the_schema_says(
    client: httpx.Client, schema: Callable[[str], Draft202012Validator]
) -> None:
    limited = {"history": [5, "i9"], "allow": ["i1", 2], "deny": [3]}
    call = {"requests": [{"user_id": "u3", "seq_end": 2}, limited, {"allow": None}], "k": 4, "exclude_seen": False}
    schema("RecommendCall").validate(call)
    schema("Recommendations").validate(client.post("/recommend", json=call).json())
    table = {"dataframe_records": [{"user_id": "u3", "history": None}, {"user_id": 7}], "params": {"k": 2}}
    schema("InvocationsCall").validate(table)
    schema("Predictions").validate(client.post("/invocations", json=table).json())
    schema("CallRefusal").validate(client.post("/recommend", json={}).json())
    schema("Refusal").validate(client.get("/nowhere").json())
    schema("Status").validate(client.get("/ready").json())
    schema("Identity").validate(client.get("/version").json())


def test_a_stranger_has_no_interactions_to_score_as_of(client: httpx.Client) -> None:
    answer = client.post("/recommend", json={"requests": [{"user_id": "stranger", "seq_end": 1}]}).json()
    assert answer["error"] == "requests.0.seq_end: user 'stranger' has no interactions here, so expected none, got 1"


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("recommend", "", "body", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("recommend", "[]", "body", "Input should be an object"),
        ("recommend", '{"requests": [{}]} x', "body", "Invalid JSON: trailing characters at line 1 column 20"),
        ("recommend", "{}", "requests", "Field required"),
        ("recommend", '{"requests": {}}', "requests", "Input should be a valid array"),
        ("recommend", '{"requests": []}', "requests", "List should have at least 1 item after validation, not 0"),
        ("recommend", '{"requests": [1]}', "requests.0", "Input should be an object"),
        ("recommend", '{"requests": [{"user_id": 1.5}]}', "requests.0.user_id", "Input should be a valid string"),
        ("recommend", '{"requests": [{"items": []}]}', "requests.0.items", "unknown field"),
        ("recommend", '{"requests": [{}], "k": "2"}', "k", "Input should be a valid integer"),
        ("recommend", '{"requests": [{}], "k": 0}', "k", "Input should be greater than or equal to 1"),
        ("recommend", '{"requests": [{}], "k": 1001}', "k", "Input should be less than or equal to 1000"),
        ("recommend", '{"requests": [{}], "exclude_seen": 1}', "exclude_seen", "Input should be a valid boolean"),
        (
            "recommend",
            '{"requests": [{"user_id": "u3", "seq_end": 13}]}',
            "requests.0.seq_end",
            "expected 1 to the 12 interactions that user 'u3' has here, got 13",
        ),
        (
            "recommend",
            '{"requests": [{"history": ["i1"], "seq_end": 1}]}',
            "requests.0.seq_end",
            "is for a user_id without a history; shorten the history instead",
        ),
        (
            "invocations",
            '{"inputs": [], "instances": []}',
            "body",
            "expected one of dataframe_records, dataframe_split, inputs, instances, got inputs, instances",
        ),
        (
            "invocations",
            '{"inputs": {"user_id": ["u3"], "history": [["i5"], null]}}',
            "body",
            "expected columns of equal length, or null",
        ),
        (
            "invocations",
            '{"dataframe_split": {"columns": ["user_id"]}}',
            "body",
            "dataframe_split: expected columns, a list of names, and data, a list of rows as long",
        ),
        ("invocations", '{"inputs": [{"seq_end": 1}]}', "dataframe_records.0.seq_end", "unknown field"),
        ("invocations", '{"inputs": [{}], "params": {"top": 1}}', "params.top", "unknown field"),
    ],
)
@pytest.mark.parametrize("type_", ["application/json", "application/x-www-form-urlencoded", "text/csv", None])
def test_what_a_refusal_says_whatever_type_the_body_is_said_to_be_of(
    client: httpx.Client, path: str, body: str, field: str, message: str, type_: str | None
) -> None:
    response = client.post(f"/{path}", content=body, headers={"Content-Type": type_} if type_ else {})
    assert response.status_code == 400
    problems = [{"field": field, "message": message}]
    assert response.json() == {"error": f"{field}: {message}", "problems": problems}


def test_of_many_problems_ten_are_told(client: httpx.Client) -> None:
    answer = client.post("/recommend", json={"requests": [{"history": [None] * 30}]}).json()
    assert [problem["field"] for problem in answer["problems"]] == [f"requests.0.history.{n}" for n in range(10)]


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"\xff\xfe", b'{"requests": [{"user_id": "\xff"}]}', b"[" * 100_000, b"null"],
)
@pytest.mark.parametrize("path", ["/recommend", "/invocations"])
def test_a_body_that_is_no_call_is_refused(client: httpx.Client, path: str, body: bytes) -> None:
    response = client.post(path, content=body)
    assert response.status_code == 400
    assert response.json()["problems"][0]["field"] == "body"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "requests": json_values
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "user_id": st.sampled_from(["u1", "u2", "nobody"]) | json_values,
                    "history": st.lists(st.sampled_from(["i1", "i2", "nope"]) | json_values, max_size=4) | json_values,
                    "seq_end": st.integers(-1, LENGTH + 1) | json_values,
                },
            ),
            max_size=3,
        ),
        "k": st.integers(-1, 1001) | json_values,
        "exclude_seen": json_values,
    },
)
columns = st.dictionaries(st.sampled_from(["user_id", "history", "columns", "data"]), json_values)
forms = st.dictionaries(st.sampled_from(["inputs", "instances", "dataframe_split", "params"]), columns | json_values)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=near_misses | forms | json_values)
def test_whatever_is_sent_is_answered_or_refused(
    client: httpx.Client, call: dict[str, Any] | int | list[float] | None
) -> None:
    for path in ("/recommend", "/invocations"):
        response = client.post(path, content=json.dumps(call).encode("utf-8", "surrogatepass"))
        assert response.status_code in {200, 400}, response.text
        assert "results" in response.json() or "predictions" in response.json() or response.json()["problems"]
