"""What callers may send and what they get: the models that bodies are checked against and that OpenAPI describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NoReturn

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationError,
    model_validator,
    with_config,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from ur4rec.columns import USER_ID
from ur4rec.recommender.requests import Request, Source

MAX_REQUESTS = 256
MAX_HISTORY = 2000
"""Items: the memory reads a history one by one."""
MAX_LISTED = 10_000
"""Items that a request allows or denies."""
MAX_K = 1000
MAX_ID_LENGTH = 512
RECORDS = "dataframe_records"
SPLIT = "dataframe_split"
FORMS = (RECORDS, SPLIT, "inputs", "instances")
"""In which MLflow's protocol takes a table."""


def _to_text(value: object) -> object:
    """Ids are text, but many senders hold them as integers."""
    return str(value) if type(value) is int and abs(value) < 1 << 63 else value


Given = BeforeValidator(_to_text, json_schema_input_type=str | int)
Id = Annotated[str, Given, Field(strict=True, max_length=MAX_ID_LENGTH)]


class Strict(BaseModel):
    """Nothing is converted and no field is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class Options(Strict):
    """What holds for every request of a call."""

    k: Annotated[StrictInt, Field(ge=1, le=MAX_K)] = 10
    """How many items each request gets; fewer come back where fewer are left."""
    exclude_seen: StrictBool | None = None
    """Never recommend what the request's history holds, the newest item included; null: if the model was made to, which
    `seen_items` of `/version` says."""


class Record(Strict):
    """A user, a history or neither, as MLflow's server takes it too."""

    user_id: Id | None = None
    """Original id, text or integer."""
    history: Annotated[list[Id], Field(max_length=MAX_HISTORY)] | None = None
    """Original item ids, oldest first; with a known item in it, it counts whoever the user is."""

    def to_request(self, options: Options) -> Request:
        """Returns the request with the call's options."""
        return Request(**dict(self), k=options.k, exclude_seen=options.exclude_seen)


class RecommendRequest(Record):
    """A record that may name its horizon."""

    seq_end: Annotated[StrictInt, Field(ge=1)] | None = None
    """Score as of the user's first interactions, so many; for a known user without a history."""
    allow: Annotated[list[Id], Field(max_length=MAX_LISTED)] | None = None
    """Original ids of the only items to recommend; null: any. Ids that are not in the catalogue are passed over."""
    deny: Annotated[list[Id], Field(max_length=MAX_LISTED)] = []
    """Original ids of items not to recommend."""
    similar_to: Id | None = None
    """Original id of an item: the answer is what is most like it; without user, history and horizon."""


class RecommendCall(Options):
    """Body of `POST /recommend`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user_id": "1"}, {"history": ["50", "172"]}], "k": 2}]}
    )

    requests: Annotated[list[RecommendRequest], Field(min_length=1, max_length=MAX_REQUESTS)]


def _describe_forms(schema: dict[str, Any]) -> None:
    """Adds the other forms of a table to the schema, which knows the records that they stand for."""
    fields = schema["properties"]
    columns = {"type": "object", "description": "Columns: lists of equal length, or null."}
    fields["inputs"] = fields["instances"] = {"anyOf": [fields[RECORDS], columns]}
    rows = {"type": "array", "items": {"type": "array", "description": "As long as the names."}}
    names = {"type": "array", "items": {"type": "string"}}
    split = {"columns": names, "data": rows}
    fields[SPLIT] = {"type": "object", "properties": split, "required": list(split)}
    schema["oneOf"] = [{"required": [form]} for form in FORMS]
    schema["examples"] = [{RECORDS: [{"user_id": "1", "history": None}], "params": {"k": 2}}]
    del schema["required"]


class InvocationsCall(Strict):
    """Body of `POST /invocations`, as MLflow's protocol has it: one table in one of its forms, and parameters."""

    model_config = ConfigDict(json_schema_extra=_describe_forms)

    dataframe_records: Annotated[list[Record], Field(min_length=1, max_length=MAX_REQUESTS)]
    """What the other forms are read as; a refusal names the record at fault."""
    params: Options = Options()

    @model_validator(mode="before")
    @classmethod
    def _read_form(cls, call: object) -> object:
        """Reads the table, whatever its form, as records; what is no object is left to be refused."""
        if not isinstance(call, dict):
            return call
        given = [form for form in FORMS if form in call]
        if len(given) != 1:
            _refuse(f"expected one of {', '.join(FORMS)}, got {', '.join(given) or 'none'}")
        table, rest = call[given[0]], {name: value for name, value in call.items() if name not in given}
        if isinstance(table, dict):
            table = _read_split(table) if given[0] == SPLIT else _read_columns(table)
        return {**rest, RECORDS: table}


def _read_split(table: dict[str, Any]) -> list[dict[str, Any]]:
    columns: Any = table.get("columns")
    rows: Any = table.get("data")
    if not _is_list_of(str, columns) or not _is_list_of(list, rows) or any(len(row) != len(columns) for row in rows):
        _refuse(f"{SPLIT}: expected columns, a list of names, and data, a list of rows as long")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _read_columns(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads lists side by side as one record each; a single user or a single history is a record."""
    nested = any(_is_list_of(list | None, cells) for cells in table.values())
    if not nested and not isinstance(table.get(USER_ID), list):
        return [table]
    columns = {name: cells for name, cells in table.items() if cells is not None}
    if not all(isinstance(cells, list) for cells in columns.values()) or len(set(map(len, columns.values()))) != 1:
        _refuse("expected columns of equal length, or null")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_list_of(kind: Any, value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def _refuse(message: str) -> NoReturn:
    raise PydanticCustomError("form", "{message}", {"message": message})


def _read_json(model: type[Strict]) -> PlainValidator:
    """Lets the model read the bytes of a body: fast, and the messages name the types of JSON, not of Python."""

    def read(body: bytes) -> Strict:
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestValidationError(found) from None

    return PlainValidator(read, json_schema_input_type=model)


RecommendBody = Annotated[RecommendCall, _read_json(RecommendCall)]
InvocationsBody = Annotated[InvocationsCall, _read_json(InvocationsCall)]


def _answer(**example: Any) -> Callable[[type[Any]], type[Any]]:
    """Decorates what is answered: its attributes' docstrings and the example go into the schema."""
    shown: Any = {"examples": [example]} if example else {}
    return with_config(ConfigDict(use_attribute_docstrings=True, json_schema_extra=shown))


@_answer(item_id="625", title="Sword in the Stone, The (1963)", score=5.63)
class Item(TypedDict):
    """A recommended item."""

    item_id: str
    title: str
    score: float
    """Comparable within one answer."""


@_answer()
class Recommendation(TypedDict):
    """The answer to one request."""

    user_id: str | None
    """As it was given."""
    source: Source
    """What it is from: the request's history, what the known user did, an item, or what is popular recently."""
    unknown_items: int
    """Ids of the history that are not in the catalogue; they are passed over."""
    note: str | None
    """Says that nothing is left to recommend."""
    items: list[Item]
    """Best first."""


@_answer()
class Recommendations(TypedDict):
    """Answers in the order of the requests."""

    model_version: str | None
    """Of the registered model; null for a bundle folder."""
    results: list[Recommendation]


@_answer(
    request=0, user_id="1", rank=1, item_id="625", title="Sword in the Stone, The (1963)", score=5.63, source="user"
)
class Row(TypedDict):
    """A recommended item, as a row of the table that MLflow's protocol answers with."""

    request: int
    """Place of the record that is answered, from 0."""
    user_id: str | None
    rank: int
    """From 1."""
    item_id: str
    title: str
    score: float
    source: Source


class Predictions(TypedDict):
    """Rows in the order of the records."""

    predictions: list[Row]


class Status(TypedDict):
    """State of the server."""

    status: Literal["alive", "ready", "busy"]


class Refusal(TypedDict):
    """Why there is no answer."""

    error: str


@_answer(field="requests.0.k", message="unknown field")
class Problem(TypedDict):
    """What is wrong with a field."""

    field: str
    """Names and places from the body on, joined by dots; `body` for the whole."""
    message: str


@_answer(error="requests.0.k: unknown field", problems=[{"field": "requests.0.k", "message": "unknown field"}])
class CallRefusal(Refusal):
    """Why a call is refused; the first ten problems."""

    problems: list[Problem]
