"""The server over HTTP: what it answers, and that nothing it is sent brings it down."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_server import LENGTH, NUM_ITEMS

pytestmark = pytest.mark.server


def ask(client, **call):
    response = client.post("/recommend", json=call)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def refuse(client, **call):
    """Fields at fault."""
    response = client.post("/recommend", json=call)
    assert response.status_code == 400, response.text
    return [problem["field"] for problem in response.json()["problems"]]


def test_every_kind_of_request_is_answered_with_ids_and_titles(client, recommender):
    requests = [{"user_id": "u3"}, {"history": ["i5", "nope", "i9"]}, {"user_id": "stranger"}, {}]
    known, inline, stranger, nobody = ask(client, requests=requests, k=4)
    assert [answer["source"] for answer in (known, inline, stranger, nobody)] == [
        "user",
        "history",
        "fallback",
        "fallback",
    ]
    assert [answer["unknown_items"] for answer in (known, inline, stranger, nobody)] == [0, 1, 0, 0]
    table = recommender.recommend(["u3"], k=4)
    assert [item["item_id"] for item in known["items"]] == table["item_id"].tolist()
    assert [item["score"] for item in known["items"]] == pytest.approx(table["score"].tolist(), abs=1e-5)
    assert known["items"][0]["title"] == f"Title of {known['items'][0]['item_id']}"
    assert stranger["items"] == nobody["items"]


def test_a_known_user_with_unknown_items_only_gets_the_list_of_the_user(client):
    requests = [{"user_id": "u3", "history": ["new", "newer"]}, {"user_id": "u3"}, {"user_id": "x", "history": ["new"]}]
    given, alone, stranger = ask(client, requests=requests, k=4)
    assert given == {**alone, "unknown_items": 2}
    assert given["source"] == "user"
    assert (stranger["source"], stranger["unknown_items"]) == ("fallback", 1)


def test_that_nothing_is_left_is_said(client):
    everything = [f"i{item}" for item in range(1, NUM_ITEMS + 1)]
    done, again = (
        ask(client, requests=[{"history": everything}], k=3, exclude_seen=exclude)[0] for exclude in (True, False)
    )
    assert (done["items"], done["source"]) == ([], "history")
    assert done["note"] == "everything in the catalogue has been seen; exclude_seen: false recommends it again"
    assert (len(again["items"]), again["note"]) == (3, None)


def test_what_a_user_has_seen_is_left_out_unless_asked_for(client, recommender):
    seen = {f"i{item}" for item in recommender.bundle.histories.items[2 * LENGTH : 3 * LENGTH]}
    (answer,) = ask(client, requests=[{"user_id": "u3"}], k=1000)
    assert {item["item_id"] for item in answer["items"]} == {f"i{item}" for item in range(1, NUM_ITEMS + 1)} - seen
    (answer,) = ask(client, requests=[{"user_id": "u3"}], k=1000, exclude_seen=False)
    assert len(answer["items"]) == NUM_ITEMS


def test_a_horizon_scores_and_excludes_as_of_then(client, recommender):
    first = [f"i{item}" for item in recommender.bundle.histories.items[2 * LENGTH : 2 * LENGTH + 2]]
    (early,) = ask(client, requests=[{"user_id": "u3", "seq_end": 2}], k=1000)
    assert {item["item_id"] for item in early["items"]} == {f"i{item}" for item in range(1, NUM_ITEMS + 1)} - {*first}
    now, whole = ask(client, requests=[{"user_id": "u3"}, {"user_id": "u3", "seq_end": LENGTH}], k=1000)
    scores = {item["item_id"]: item["score"] for item in now["items"]}
    assert {item["item_id"]: item["score"] for item in whole["items"]} == pytest.approx(scores, abs=1e-5)


def test_integer_ids_are_the_same_as_text(client):
    as_number, as_text = ask(client, requests=[{"history": [5]}, {"history": ["5"]}])
    assert as_number == as_text


def test_asking_changes_no_memory(client):
    before = ask(client, requests=[{"user_id": "u4"}])
    ask(client, requests=[{"user_id": "u4", "history": ["i1", "i2", "i3", "i4"]}, {"user_id": "u4", "seq_end": 3}])
    assert ask(client, requests=[{"user_id": "u4"}]) == before


def test_mlflows_protocol_is_answered_as_mlflow_does(client, recommender):
    call = {"dataframe_records": [{"user_id": "u3", "history": None}, {"user_id": None}], "params": {"k": 2}}
    rows = client.post("/invocations", json=call).json()["predictions"]
    expected = recommender.recommend(["u3", None], k=2).to_dict(orient="records")
    assert [{**row, "score": None} for row in rows] == [{**row, "score": None} for row in expected]


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
def test_every_form_of_mlflows_protocol_gets_the_same(client, recommender, form):
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
def test_columns_are_lists_of_requests(client, columns, sources):
    rows = client.post("/invocations", json={"inputs": columns, "params": {"k": 1}}).json()["predictions"]
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
def test_a_form_that_holds_no_requests_is_refused(client, call, field):
    response = client.post("/invocations", json=call)
    assert response.status_code == 400
    assert response.json()["problems"][0]["field"] == field


def test_probes_and_identity(client, recommender):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    identity = client.get("/version").json()
    assert identity["bundle_digest"] == recommender.bundle.manifest.content_digest
    assert (identity["version"], identity["num_items"]) == (None, NUM_ITEMS)


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ({"requests": [{"user_id": 1.5}]}, ["requests.0.user_id"]),
        ({"requests": [{"user_id": True}]}, ["requests.0.user_id"]),
        ({"requests": [{}, {"history": "i1"}]}, ["requests.1.history"]),
        ({"requests": [{"history": ["i1", None]}]}, ["requests.0.history.1"]),
        ({"requests": [{"histories": ["i1"]}], "top": 3}, ["requests.0.histories", "top"]),
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
def test_a_refusal_names_the_field(client, call, fields):
    assert refuse(client, **call) == fields


def test_a_stranger_has_no_interactions_to_score_as_of(client):
    answer = client.post("/recommend", json={"requests": [{"user_id": "stranger", "seq_end": 1}]}).json()
    assert answer["error"] == "requests.0.seq_end: user 'stranger' has no interactions here, so expected none, got 1"


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"\xff\xfe", b'{"requests": [{"user_id": "\xff"}]}', b"[" * 100_000, b"null"],
)
@pytest.mark.parametrize("path", ["/recommend", "/invocations"])
def test_a_body_that_is_no_call_is_refused(client, path, body):
    response = client.post(path, content=body)
    assert response.status_code == 400
    assert response.json()["problems"][0]["field"] == "body"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_too_large(client, chunked):
    body = json.dumps({"requests": [{"history": ["i1"] * 2_000_000}]}).encode()
    response = client.post("/recommend", content=iter([body]) if chunked else body)
    assert response.status_code == 413
    assert "4,194,304 bytes" in response.json()["error"]


def test_other_paths_and_methods_are_refused_in_json(client):
    assert client.get("/").json() == {"error": "Not Found"}
    assert client.get("/recommend").status_code == 405


def test_what_is_not_http_and_senders_that_leave_are_survived(client):
    address = urlsplit(str(client.base_url))
    for sent in (b"\x00\x01nonsense\r\n\r\n", b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert client.get("/health").status_code == 200


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
def test_whatever_is_sent_is_answered_or_refused(client, call):
    for path in ("/recommend", "/invocations"):
        response = client.post(path, content=json.dumps(call).encode("utf-8", "surrogatepass"))
        assert response.status_code in {200, 400}, response.text
        assert "results" in response.json() or "predictions" in response.json() or response.json()["problems"]
