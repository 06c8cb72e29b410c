"""The HTTP interface of a recommender: JSON in, JSON out; what is wrong with a call is a 400 that names the field."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

import ur4rec
from ur4rec.recommender.recommender import Recommender, tabulate
from ur4rec.recommender.requests import Answer, Query, RecommendError, resolve
from ur4rec.serving import calls
from ur4rec.serving.identity import Identity
from ur4rec.serving.microbatches import BusyError, Microbatches

MAX_BODY_BYTES = 4 << 20
MAX_DISCARDED_BYTES = 64 << 20
"""Read and thrown away of a body that is too large, so that its sender gets to read why."""
BODY_TIMEOUT_S = 20
MAX_PROBLEMS = 10
BUSY = {"Retry-After": "1"}
NOTHING_LEFT = "everything in the catalogue has been seen; exclude_seen: false recommends it again"
NOTHING_ALLOWED = "nothing is left of what allow and deny leave over, or all of it has been seen"
RULES = {
    "exclude": "This model leaves out what a request's history holds, unless `exclude_seen` is false.",
    "include": "This model recommends again what a request's history holds, unless `exclude_seen` is true.",
}
"""What `exclude_seen` is where a call does not say."""
EMPTY_BODY = "Invalid JSON: EOF while parsing a value at line 1 column 0"
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": calls.CallRefusal, "description": "The body is no such call; each problem names its field"},
    408: {"model": calls.Refusal, "description": "The body does not come in time"},
    413: {"model": calls.Refusal, "description": f"The body has more than {MAX_BODY_BYTES:,} bytes"},
    503: {"model": calls.Refusal, "description": "Too many requests wait, or too many connections are open; try again"},
    "default": {"model": calls.Refusal, "description": "The server has a defect"},
}


def create_app(recommender: Recommender, identity: Identity, queue: Microbatches) -> FastAPI:
    """Returns the routes over one loaded model, with `/openapi.json` and `/docs`, which needs nothing from outside."""
    routes = _Routes(recommender, identity, queue)
    app = FastAPIOffline(
        title="UR4Rec",
        summary="Top-K recommendations of one model for users, histories and strangers.",
        description=RULES[identity.seen_items],
        version=ur4rec.__version__,
        redoc_url=None,
        static_url="/docs/files",
        swagger_ui_parameters={"validatorUrl": None},  # else the page may send the schema to a checker outside
        exception_handlers={RequestValidationError: _refuse_call, HTTPException: _refuse, Exception: _admit_defect},
    )
    app.router.route_class = _Route
    app.post("/recommend", responses=REFUSALS)(routes.recommend)
    app.post("/invocations", responses=REFUSALS)(routes.invocations)
    about: dict[str, Callable[..., Any]] = {"/health": routes.health, "/ping": routes.health, "/ready": routes.ready}
    for path, answer in {**about, "/version": routes.version}.items():
        app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)(answer)
        # For the schema alone, which is to be without HEAD.
        app.get(path, responses={503: {"model": calls.Status}} if path == "/ready" else None)(answer)
    return app


class _Route(APIRoute):
    """Reads bodies of limited size in limited time."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handle_bounded


class _Request(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await _read_body(self)
        return self._body

    json = body
    """Left to the models, whatever type the body is said to be of."""


class _Routes:
    def __init__(self, recommender: Recommender, identity: Identity, queue: Microbatches) -> None:
        self._bundle, self._identity, self._queue = recommender.bundle, identity, queue

    async def recommend(self, call: calls.RecommendBody, request: Request) -> calls.Recommendations:
        """Answers each request from its history, else from what the user did, else with what is popular recently."""
        answers = await self._ask(request, self._resolve(call.requests, call, "requests"))
        results = [self._describe(asked.user_id, answer) for asked, answer in zip(call.requests, answers, strict=True)]
        return {"model_version": self._identity.version, "results": results}

    async def invocations(self, call: calls.InvocationsBody, request: Request) -> calls.Predictions:
        """Answers in MLflow's protocol, as `mlflow models serve` does."""
        records = call.dataframe_records
        answers = await self._ask(request, self._resolve(records, call.params, calls.RECORDS))
        rows: list[Any] = tabulate(self._bundle, [record.user_id for record in records], answers).to_dict("records")
        return {"predictions": rows}

    async def health(self) -> calls.Status:
        """Says that the process lives."""
        return {"status": "alive"}

    async def ready(self, response: Response) -> calls.Status:
        """Says whether a call would be answered soon."""
        if not self._queue.is_full:
            return {"status": "ready"}
        response.status_code = 503
        response.headers.update(BUSY)
        return {"status": "busy"}

    async def version(self) -> Identity:
        """Says which model answers."""
        return self._identity

    async def _ask(self, request: Request, queries: list[Query]) -> list[Answer]:
        """Waits for the answers; those of a caller that leaves are not worked out.

        Raises:
            HTTPException: Too many wait already, or the caller has left, to whom it is not sent.
        """
        asked = asyncio.create_task(self._queue.submit(queries))
        watch = asyncio.create_task(_cancel_when_left(request, asked))
        try:
            return await asked
        except BusyError:
            raise HTTPException(503, "too many requests wait; try again", BUSY) from None
        except asyncio.CancelledError:
            if watch.done():
                raise HTTPException(400, "the caller has left") from None
            raise
        finally:
            watch.cancel()

    def _resolve(self, records: Sequence[calls.Record], options: calls.Options, field: str) -> list[Query]:
        queries = []
        for number, record in enumerate(records):
            try:
                queries.append(resolve(record.to_request(options), self._bundle))
            except RecommendError as error:
                problem = {"type": "value_error", "loc": (field, number, error.field), "msg": error.message}
                raise RequestValidationError([problem]) from None
        return queries

    def _describe(self, user_id: str | None, answer: Answer) -> calls.Recommendation:
        ids, titles = self._bundle.item_ids[answer.items], self._bundle.titles[answer.items]
        columns = zip(ids.tolist(), titles.tolist(), answer.scores.tolist(), strict=True)
        return {
            "user_id": user_id,
            "source": answer.query.source,
            "unknown_items": answer.query.unknown_items,
            "note": None if len(answer.items) else _say_why_nothing(answer.query),
            "items": [{"item_id": item_id, "title": title, "score": score} for item_id, title, score in columns],
        }


def _say_why_nothing(query: Query) -> str:
    return NOTHING_LEFT if query.allowed is None and not len(query.denied) else NOTHING_ALLOWED


async def _cancel_when_left(request: Request, asked: asyncio.Task[list[Answer]]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    asked.cancel()


async def _read_body(request: Request) -> bytes:
    """Reads the body, up to its limit.

    Raises:
        HTTPException: It is too large, or it does not come.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_DISCARDED_BYTES:
                    break
                if size <= MAX_BODY_BYTES:
                    chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_TIMEOUT_S} s") from None
    if size > MAX_BODY_BYTES:
        raise HTTPException(413, f"expected at most {MAX_BODY_BYTES:,} bytes; send several calls")
    return b"".join(chunks)


async def _refuse_call(_: Request, error: RequestValidationError) -> Response:
    problems = [_explain(**problem) for problem in error.errors()[:MAX_PROBLEMS]]
    told = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems)
    return JSONResponse({"error": told, "problems": problems}, 400)


def _explain(loc: tuple[str | int, ...], type: str, msg: str, **_: object) -> calls.Problem:
    if type == "missing" and loc == ("body",):  # FastAPI asks no model about an empty body
        return {"field": "body", "message": EMPTY_BODY}
    return {
        "field": ".".join(map(str, loc)) or "body",
        "message": "unknown field" if type == "extra_forbidden" else msg,
    }


async def _refuse(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _admit_defect(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "a defect of the server; its log has the traceback"}, 500)
