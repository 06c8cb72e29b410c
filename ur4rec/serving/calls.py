"""What a call of the server may hold, and what is wrong with one that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
    model_validator,
)

from ur4rec.recommender.requests import Request
from ur4rec.serving.payload_forms import to_records

MAX_REQUESTS = 256
MAX_HISTORY = 2000
"""Items: the memory reads a history one by one."""
MAX_K = 1000
MAX_ID_LENGTH = 512
MAX_PROBLEMS = 10

Call = TypeVar("Call", bound="Strict")


class CallError(ValueError):
    """A call that is refused.

    Args:
        problems: Field (`body` for the whole) and what was expected of it.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in problems))
        self.problems = list(problems)


def _to_text(value: object) -> object:
    """Ids are text, but many senders hold them as integers."""
    return str(value) if type(value) is int and abs(value) < 1 << 63 else value


Id = Annotated[str, BeforeValidator(_to_text), Field(strict=True, max_length=MAX_ID_LENGTH)]


class Strict(BaseModel):
    """Nothing is converted and no field is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Options(Strict):
    """What holds for every request of a call."""

    k: Annotated[StrictInt, Field(ge=1, le=MAX_K)] = 10
    exclude_seen: StrictBool = True


class Record(Strict):
    """A user, a history or neither, as MLflow's server takes it too."""

    user_id: Id | None = None
    history: Annotated[list[Id], Field(max_length=MAX_HISTORY)] | None = None

    def to_request(self, options: Options) -> Request:
        """With the call's options."""
        return Request(self.user_id, self.history, None, options.k, options.exclude_seen)


class RecommendRequest(Record):
    """A record that may name its horizon."""

    seq_end: Annotated[StrictInt, Field(ge=1)] | None = None

    def to_request(self, options: Options) -> Request:
        """With the call's options."""
        return Request(self.user_id, self.history, self.seq_end, options.k, options.exclude_seen)


class RecommendCall(Options):
    """Body of `POST /recommend`."""

    requests: Annotated[list[RecommendRequest], Field(min_length=1, max_length=MAX_REQUESTS)]

    def to_requests(self) -> list[Request]:
        """In their order."""
        return [request.to_request(self) for request in self.requests]


class InvocationsCall(Strict):
    """Body of `POST /invocations`, as MLflow's protocol has it, in the form of records."""

    dataframe_records: Annotated[list[Record], Field(min_length=1, max_length=MAX_REQUESTS)]
    params: Options = Options()

    @model_validator(mode="before")
    @classmethod
    def _read_form(cls, call: object) -> object:
        return to_records(call)

    def to_requests(self) -> list[Request]:
        """In their order."""
        return [record.to_request(self.params) for record in self.dataframe_records]


def parse_call(model: type[Call], body: bytes) -> Call:
    """Reads a body.

    Raises:
        CallError: It is not JSON in UTF-8, or a field is unknown, of the wrong type or out of range.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS]
        raise CallError([_explain(problem["loc"], problem["type"], problem["msg"]) for problem in found]) from None


def _explain(location: tuple[Any, ...], kind: str, message: str) -> tuple[str, str]:
    field = ".".join(str(part) for part in location) or "body"
    return field, "unknown field" if kind == "extra_forbidden" else message
