"""Every form in which MLflow takes a request: the answer is the same, or one line refuses it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from clean_registry import clean_environment
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from toy_runs import Registered

from ur4rec.registry.mlflow_client import open_mlflow

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

USERS = ["u03", "u07"]
HISTORIES = [["i01", "i05"], ["i02", "i09"]]
PARAMS = {"k": 2}


@pytest.fixture(scope="module")
def model(registered: Registered, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import mlflow.pyfunc

    with clean_environment(tmp_path_factory.mktemp("forms")), open_mlflow(registered.tracking_uri, read_only=True):
        return mlflow.pyfunc.load_model("models:/ur4rec@challenger")


@pytest.fixture(scope="module")
def server(model: Any) -> Iterator[TestClient]:
    """MLflow's scoring server, in this process."""
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    with TestClient(init(model)) as client:
        yield client


@pytest.fixture(scope="module")
def expected(model: Any) -> dict[str, list[dict[str, Any]]]:
    """Of users, of histories, and of the first of each alone: the last bits of a score depend on who is asked for."""
    return {
        "users": ask(model, pd.DataFrame({"user_id": USERS})),
        "histories": ask(model, pd.DataFrame({"history": HISTORIES})),
        "user": ask(model, pd.DataFrame({"user_id": USERS[:1]})),
        "history": ask(model, pd.DataFrame({"history": HISTORIES[:1]})),
    }


def ask(model: Any, request: Any, params: dict[str, int] = PARAMS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = model.predict(request, params=params).to_dict(orient="records")
    return rows


USER_FORMS = [
    {"user_id": USERS},
    {"user_id": tuple(USERS)},
    {"user_id": np.array(USERS)},
    {"user_id": np.array(USERS, dtype=object)},
    {"user_id": USERS, "history": None},
    {"user_id": USERS, "history": [None, None]},
    {"user_id": USERS, "history": [[], []]},
    [{"user_id": user} for user in USERS],
    pd.Series(USERS, name="user_id"),
    pd.DataFrame({"user_id": USERS}, dtype=object),
    pd.DataFrame({"user_id": USERS}, dtype="string[pyarrow]"),
    pd.DataFrame({"user_id": USERS}, dtype="category"),
    pd.DataFrame({"user_id": USERS}, index=["row", "row"]),
    pd.DataFrame({"user_id": USERS, "more": [1, 2]}),
]
"""The same two users in each."""


@pytest.mark.parametrize("request_", USER_FORMS)
def test_users_get_their_list_in_every_form(
    model: Any,
    expected: dict[str, list[dict[str, Any]]],
    request_: dict[str, Any] | list[dict[str, str]] | pd.DataFrame | pd.Series[Any],
) -> None:
    answer = ask(model, request_)
    assert answer == expected["users"]
    assert {row["source"] for row in answer} == {"user"}


@pytest.mark.parametrize(
    "request_",
    [
        {"history": HISTORIES},
        {"history": np.array(HISTORIES)},
        {"user_id": USERS, "history": HISTORIES},
        [{"history": history} for history in HISTORIES],
        pd.DataFrame({"history": [np.array(history) for history in HISTORIES]}),
        pd.DataFrame({"history": [tuple(history) for history in HISTORIES]}),
    ],
)
def test_histories_are_scored_in_every_form(
    model: Any,
    expected: dict[str, list[dict[str, Any]]],
    request_: dict[str, Any] | list[dict[str, list[Any]]] | pd.DataFrame,
) -> None:
    compared = ["rank", "item_id", "score", "source"]
    answers = [pd.DataFrame(answer)[compared] for answer in (ask(model, request_), expected["histories"])]
    assert answers[0].equals(answers[1])
    assert set(answers[0]["source"]) == {"history"}


@pytest.mark.parametrize("request_", [{"user_id": "u03"}, {"user_id": ["u03"]}, {"user_id": np.array("u03")}])
def test_a_single_user_is_known_in_every_form(
    model: Any, expected: dict[str, list[dict[str, Any]]], request_: dict[str, Any]
) -> None:
    assert ask(model, request_) == expected["user"]


def test_a_single_history_may_stand_alone(model: Any, expected: dict[str, list[dict[str, Any]]]) -> None:
    assert ask(model, {"history": HISTORIES[0]}) == expected["history"]


@pytest.mark.parametrize(("alone", "together"), [("user", "users"), ("history", "histories")])
def test_a_list_is_the_same_alone_and_beside_others(
    expected: dict[str, list[dict[str, Any]]], alone: str, together: str
) -> None:
    rows = [row | {"score": pytest.approx(row["score"], rel=1e-6)} for row in expected[alone]]
    assert len(rows) == PARAMS["k"]
    assert expected[together][: len(rows)] == rows


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"user_id": USERS, "history": HISTORIES[0]}, "history: row 0: expected a list of item ids, got 'i01'"),
        ({"user_id": ["u03"], "history": HISTORIES[0]}, "got 1 ids and 2 histories"),
        ({"user_id": [["u03"], ["u07"]]}, "user_id: row 0: expected text or a whole number, got ['u03']"),
        (pd.DataFrame({"user_id": ["u03", 1.5]}), "user_id: row 1: expected text or a whole number, got 1.5"),
        (pd.DataFrame({"user_id": [True]}), "got True"),
        (pd.DataFrame({"user_id": [b"u03"]}), "got b'u03'"),
        (pd.DataFrame({"user_id": pd.to_datetime(["2026-01-01"])}), "expected text or a whole number"),
        (pd.DataFrame({"user_id": [2**53 + 1, None]}), "got 9007199254740992.0"),
        (pd.DataFrame({"history": [["i01", None]]}), "history: row 0, place 1: expected text"),
        (pd.DataFrame({"history": ["i01,i05"]}), "expected a list of item ids, got 'i01,i05'"),
        (USERS, "got neither"),
        (np.array([USERS]), "got neither"),
        (pd.DataFrame({"users": USERS}), "got neither"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(
    model: Any, request_: dict[str, Any] | list[str] | NDArray[Any] | pd.DataFrame, complaint: str
) -> None:
    with pytest.raises(MlflowException) as refusal:
        ask(model, request_)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


USER_BODIES = [
    {"dataframe_split": {"columns": ["user_id"], "data": [[user] for user in USERS]}},
    {"dataframe_records": [{"user_id": user} for user in USERS]},
    {"inputs": {"user_id": USERS}},
    {"inputs": [{"user_id": user} for user in USERS]},
    {"instances": [{"user_id": user} for user in USERS]},
    {"instances": {"user_id": USERS}},
    {"inputs": {"user_id": USERS, "history": [None, None]}},
    {"dataframe_records": [{"user_id": user, "history": None} for user in USERS]},
]


@pytest.mark.parametrize("body", USER_BODIES)
def test_every_payload_gets_the_same_over_http(
    server: TestClient, expected: dict[str, list[dict[str, Any]]], body: dict[str, Any]
) -> None:
    response = server.post("/invocations", json={**body, "params": PARAMS})
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == expected["users"]


@pytest.mark.parametrize("dtype", ["string[pyarrow]", "category"])
def test_a_parquet_file_gets_the_same_over_http(server: TestClient, model: Any, dtype: str) -> None:
    file = io.BytesIO()
    pd.DataFrame({"user_id": USERS}, dtype=dtype).to_parquet(file)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    response = server.post("/invocations", content=file.getvalue(), headers=headers)
    assert response.json()["predictions"] == ask(model, pd.DataFrame({"user_id": USERS}), {})


def test_lines_of_text_are_refused(server: TestClient) -> None:
    response = server.post("/invocations", content="user_id\nu03\n", headers={"Content-Type": "text/csv"})
    assert response.status_code == 400


def test_a_record_may_leave_out_what_another_has(server: TestClient, model: Any) -> None:
    whole = ask(model, pd.DataFrame({"user_id": ["u03", None], "history": [None, HISTORIES[0]]}))
    for name in ("dataframe_records", "inputs"):
        body = {name: [{"user_id": "u03"}, {"history": HISTORIES[0]}], "params": PARAMS}
        rows = server.post("/invocations", json=body).json()["predictions"]
        assert rows == whole
        assert [row["source"] for row in rows] == ["user", "user", "history", "history"]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": USERS},
        {"instances": USERS},
        {"inputs": {"user_id": [["u03"], ["u07"]]}},
        {"instances": [{"history": ["i01"]}, {"history": HISTORIES[1]}]},
        {"dataframe_split": {"columns": ["user_id"], "data": [[1.5]]}},
        {"dataframe_records": [{"user_id": "u03"}], "params": {"k": 0}},
    ],
)
def test_a_refusal_over_http_has_no_traceback(server: TestClient, body: dict[str, Any]) -> None:
    response = server.post("/invocations", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "stack_trace" not in response.json()
    assert "Traceback" not in response.text


@pytest.fixture(scope="module")
def numbered(model: Any) -> Iterator[Any]:
    """A model whose users are 1 and 2 and whose items are numbers."""
    from copy import deepcopy
    from dataclasses import replace

    wrapped = model.unwrap_python_model()
    bundle = wrapped.recommender.bundle
    item_ids = np.array(["", *(str(number) for number in range(1, len(bundle.item_ids)))], dtype=object)
    users = {str(index): index for index in bundle.user_index.values()}
    items = {item: index for index, item in enumerate(item_ids) if index}
    copied = deepcopy(wrapped.recommender)
    copied.bundle = replace(bundle, user_index=users, item_ids=item_ids, item_index=items)
    before, wrapped.recommender = wrapped.recommender, copied
    yield model
    wrapped.recommender = before


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series([1, 2]),
        pd.Series([1, 2], dtype="int32"),
        pd.Series([1, 2], dtype="uint64"),
        pd.Series([1, 2], dtype="Int64"),
        pd.Series([1, 2], dtype="int64[pyarrow]"),
        pd.Series([1.0, 2.0]),
        pd.Series([1, "2"], dtype=object),
        pd.Series([1, 2], dtype="category"),
        pd.Series(["1", "2"], dtype="category"),
        pd.Series(["1", "2"], dtype="string[pyarrow]"),
    ],
)
def test_a_column_of_any_type_names_the_same_users(numbered: Any, ids: pd.Series[Any]) -> None:
    assert ask(numbered, pd.DataFrame({"user_id": ids})) == ask(numbered, pd.DataFrame({"user_id": ["1", "2"]}))


@pytest.mark.parametrize("dtype", ["float64", "Int64", "category", "object", "int64[pyarrow]"])
def test_a_missing_user_makes_no_stranger_of_the_others(numbered: Any, dtype: str) -> None:
    rows = ask(numbered, pd.DataFrame({"user_id": pd.Series([1, None, 2], dtype=dtype)}))
    assert [row["source"] for row in rows] == ["user"] * 2 + ["fallback"] * 2 + ["user"] * 2
    assert [row["user_id"] for row in rows] == ["1"] * 2 + [None] * 2 + ["2"] * 2


def test_items_may_be_numbers(numbered: Any) -> None:
    texts = ask(numbered, pd.DataFrame({"history": [["1", "5"]]}))
    assert texts[0]["source"] == "history"
    for history in ([1, 5], np.array([1, 5]), [1.0, 5]):
        assert ask(numbered, pd.DataFrame({"history": [history]})) == texts
