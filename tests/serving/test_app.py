"""The server over HTTP: what it answers, and that nothing it is sent brings it down."""

import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from toy_server import CONFIG, LENGTH, NUM_ITEMS, NUM_USERS, ask, start_server, stop_server

from benchmarks.generated_bundle import write_generated_bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.serving.app import RULES

pytestmark = pytest.mark.server


def test_every_kind_of_request_is_answered_with_ids_and_titles(client: httpx.Client, recommender: Recommender) -> None:
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


def test_a_known_user_with_unknown_items_only_gets_the_list_of_the_user(client: httpx.Client) -> None:
    requests = [{"user_id": "u3", "history": ["new", "newer"]}, {"user_id": "u3"}, {"user_id": "x", "history": ["new"]}]
    given, alone, stranger = ask(client, requests=requests, k=4)
    assert given == {**alone, "unknown_items": 2}
    assert given["source"] == "user"
    assert (stranger["source"], stranger["unknown_items"]) == ("fallback", 1)


def test_that_nothing_is_left_is_said(client: httpx.Client) -> None:
    everything = [f"i{item}" for item in range(1, NUM_ITEMS + 1)]
    done, again = (
        ask(client, requests=[{"history": everything}], k=3, exclude_seen=exclude)[0] for exclude in (True, False)
    )
    assert (done["items"], done["source"]) == ([], "history")
    assert done["note"] == "everything in the catalogue has been seen; exclude_seen: false recommends it again"
    assert (len(again["items"]), again["note"]) == (3, None)


def test_a_request_may_allow_and_deny_items(client: httpx.Client) -> None:
    free, *limited = ask(
        client,
        requests=[
            {"user_id": "u3"},
            {"user_id": "u3", "deny": ["i1"]},
            {"user_id": "u3", "allow": ["no such item"]},
            {"allow": [2, "i5"], "deny": ["i2"], "user_id": "u3"},
        ],
        k=1000,
        exclude_seen=False,
    )
    ids = [[item["item_id"] for item in answer["items"]] for answer in limited]
    assert ids == [[item["item_id"] for item in free["items"] if item["item_id"] != "i1"], [], ["i5"]]
    notes = [answer["note"] for answer in limited]
    assert notes == [None, "nothing is left of what allow and deny leave over, or all of it has been seen", None]


def test_what_is_most_like_an_item_is_answered(client: httpx.Client, recommender: Recommender) -> None:
    like, user = ask(client, requests=[{"similar_to": "i3", "deny": ["i1"]}, {"user_id": "u3"}], k=5)
    expected = recommender.find_similar(["i3"], 5, deny=["i1"])
    assert [item["item_id"] for item in like["items"]] == expected["item_id"].tolist()
    assert (like["source"], user["source"]) == ("item", "user")
    assert not {"i1", "i3"} & set(expected["item_id"])
    refusal = client.post("/recommend", json={"requests": [{"similar_to": "i0"}]})
    assert (refusal.status_code, refusal.json()["problems"][0]["field"]) == (400, "requests.0.similar_to")


def test_what_a_user_has_seen_is_left_out_unless_asked_for(client: httpx.Client, recommender: Recommender) -> None:
    seen = {f"i{item}" for item in recommender.bundle.histories.items[2 * LENGTH : 3 * LENGTH]}
    (answer,) = ask(client, requests=[{"user_id": "u3"}], k=1000)
    assert {item["item_id"] for item in answer["items"]} == {f"i{item}" for item in range(1, NUM_ITEMS + 1)} - seen
    (answer,) = ask(client, requests=[{"user_id": "u3"}], k=1000, exclude_seen=False)
    assert len(answer["items"]) == NUM_ITEMS


def test_a_model_made_with_repeats_recommends_them_unless_the_call_says_otherwise(
    recommender: Recommender, tmp_path: Path
) -> None:
    seen = set(recommender.bundle.histories.items[2 * LENGTH : 3 * LENGTH].tolist())
    config = CONFIG.model_copy(update={"seen_items": "include"})
    write_generated_bundle(tmp_path / "bundle", NUM_USERS, NUM_ITEMS, LENGTH, config)
    process, address = start_server(tmp_path / "bundle")
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            sent = {"requests": [{"user_id": "u3"}, {"history": ["i5", "i9"]}], "k": 1000}
            again, fresh = ask(client, **sent), ask(client, **sent, exclude_seen=True)
            assert [len(answer["items"]) for answer in again] == [NUM_ITEMS] * 2
            assert [len(answer["items"]) for answer in fresh] == [NUM_ITEMS - len(seen), NUM_ITEMS - 2]
            assert ask(client, **sent, exclude_seen=None) == again
            rows = client.post("/invocations", json={"dataframe_records": [{"user_id": "u3"}], "params": {"k": 1000}})
            assert len(rows.json()["predictions"]) == NUM_ITEMS
            assert client.get("/version").json()["seen_items"] == "include"
            told = client.get("/openapi.json").json()["info"]["description"]
            assert told == RULES["include"]
    finally:
        stop_server(process)


def test_the_document_tells_the_models_own_rule(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["info"]["description"] == RULES["exclude"]
    field = document["components"]["schemas"]["RecommendCall"]["properties"]["exclude_seen"]
    assert {"boolean", "null"} == {kind["type"] for kind in field["anyOf"]}
    assert "`seen_items` of `/version`" in field["description"]
    assert client.get("/version").json()["seen_items"] == "exclude"


def test_a_horizon_scores_and_excludes_as_of_then(client: httpx.Client, recommender: Recommender) -> None:
    first = [f"i{item}" for item in recommender.bundle.histories.items[2 * LENGTH : 2 * LENGTH + 2]]
    (early,) = ask(client, requests=[{"user_id": "u3", "seq_end": 2}], k=1000)
    assert {item["item_id"] for item in early["items"]} == {f"i{item}" for item in range(1, NUM_ITEMS + 1)} - {*first}
    now, whole = ask(client, requests=[{"user_id": "u3"}, {"user_id": "u3", "seq_end": LENGTH}], k=1000)
    scores = {item["item_id"]: item["score"] for item in now["items"]}
    assert {item["item_id"]: item["score"] for item in whole["items"]} == pytest.approx(scores, abs=1e-5)


def test_asking_changes_no_memory(client: httpx.Client) -> None:
    before = ask(client, requests=[{"user_id": "u4"}])
    ask(client, requests=[{"user_id": "u4", "history": ["i1", "i2", "i3", "i4"]}, {"user_id": "u4", "seq_end": 3}])
    assert ask(client, requests=[{"user_id": "u4"}]) == before


def test_mlflows_protocol_is_answered_as_mlflow_does(client: httpx.Client, recommender: Recommender) -> None:
    call = {"dataframe_records": [{"user_id": "u3", "history": None}, {"user_id": None}], "params": {"k": 2}}
    rows = client.post("/invocations", json=call).json()["predictions"]
    expected = recommender.recommend(["u3", None], k=2).to_dict(orient="records")
    assert [{**row, "score": None} for row in rows] == [{**row, "score": None} for row in expected]


def test_probes_and_identity(client: httpx.Client, recommender: Recommender) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    identity = client.get("/version").json()
    assert identity["bundle_digest"] == recommender.bundle.manifest.content_digest
    assert (identity["version"], identity["num_items"]) == (None, NUM_ITEMS)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_too_large(client: httpx.Client, chunked: bool) -> None:
    body = json.dumps({"requests": [{"history": ["i1"] * 2_000_000}]}).encode()
    response = client.post("/recommend", content=iter([body]) if chunked else body)
    assert response.status_code == 413
    assert "4,194,304 bytes" in response.json()["error"]


def test_other_paths_and_methods_are_refused_in_json(client: httpx.Client) -> None:
    assert client.get("/").json() == {"error": "Not Found"}
    assert client.get("/recommend").status_code == 405


@pytest.mark.parametrize("path", ["/health", "/ping", "/ready", "/version"])
def test_a_probe_may_ask_for_the_head_alone(client: httpx.Client, path: str) -> None:
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert set(client.post(path).headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_the_schema_describes_every_address_its_answers_and_its_refusals(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    asked = {"/recommend": "post", "/invocations": "post"}
    told = {"/health": "get", "/ping": "get", "/ready": "get", "/version": "get"}
    assert {path: [*methods] for path, methods in document["paths"].items()} == {
        path: [method] for path, method in (asked | told).items()
    }
    for path, method in (asked | told).items():
        operation = document["paths"][path][method]
        assert operation["description"]
        assert "$ref" in operation["responses"]["200"]["content"]["application/json"]["schema"]
    for path in asked:
        operation = document["paths"][path]["post"]
        assert set(operation["responses"]) == {"200", "400", "408", "413", "503", "default"}
        name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        (example,) = document["components"]["schemas"][name]["examples"]
        assert client.post(path, json=example).status_code == 200
    assert all(model["description"] for model in document["components"]["schemas"].values())


def test_the_page_of_the_schema_needs_nothing_from_outside(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "//" not in page
    assert "url: '/openapi.json'" in page
    assert '"validatorUrl": null' in page
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(linked) == 3
    assert all(client.get(path).status_code == 200 for path in linked)


def test_what_is_not_http_and_senders_that_leave_are_survived(client: httpx.Client) -> None:
    address = urlsplit(str(client.base_url))
    for sent in (b"\x00\x01nonsense\r\n\r\n", b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert client.get("/health").status_code == 200
