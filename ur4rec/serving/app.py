"""The HTTP interface of a recommender: JSON in, JSON out; what is wrong with a call is a 400 that names the field."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ur4rec.recommender.recommender import Recommender, tabulate
from ur4rec.recommender.requests import Answer, Query, RecommendError, resolve
from ur4rec.serving.calls import CallError, InvocationsCall, RecommendCall, parse_call
from ur4rec.serving.identity import Identity
from ur4rec.serving.microbatches import BusyError, Microbatches

MAX_BODY_BYTES = 4 << 20
MAX_DISCARDED_BYTES = 64 << 20
"""Read and thrown away of a body that is too large, so that its sender gets to read why."""
BODY_TIMEOUT_S = 20
BUSY = {"Retry-After": "1"}
NOTHING_LEFT = "everything in the catalogue has been seen; exclude_seen: false recommends it again"


def create_app(recommender: Recommender, identity: Identity, queue: Microbatches) -> Starlette:
    """The routes over one loaded model."""
    routes = _Routes(recommender, identity, queue)
    return Starlette(
        routes=[
            Route("/recommend", routes.recommend, methods=["POST"]),
            Route("/invocations", routes.invocations, methods=["POST"]),
            Route("/health", routes.health),
            Route("/ping", routes.health),
            Route("/ready", routes.ready),
            Route("/version", routes.version),
        ],
        exception_handlers={
            CallError: _refuse_call,
            BusyError: _refuse_busy,
            HTTPException: _refuse,
            ClientDisconnect: _give_up,
            Exception: _admit_defect,
        },
    )


class _Routes:
    def __init__(self, recommender: Recommender, identity: Identity, queue: Microbatches) -> None:
        self._bundle, self._identity, self._queue = recommender.bundle, identity, queue

    async def recommend(self, request: Request) -> Response:
        call = parse_call(RecommendCall, await _read_body(request))
        answers = await self._ask(request, self._resolve(call, "requests"))
        results = [self._describe(asked.user_id, answer) for asked, answer in zip(call.requests, answers, strict=True)]
        return JSONResponse({"model_version": self._identity.version, "results": results})

    async def invocations(self, request: Request) -> Response:
        call = parse_call(InvocationsCall, await _read_body(request))
        answers = await self._ask(request, self._resolve(call, "dataframe_records"))
        table = tabulate(self._bundle, [record.user_id for record in call.dataframe_records], answers)
        return JSONResponse({"predictions": table.to_dict(orient="records")})

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        if self._queue.is_full:
            return JSONResponse({"status": "busy"}, 503, BUSY)
        return JSONResponse({"status": "ready"})

    async def version(self, _: Request) -> Response:
        return JSONResponse(self._identity.model_dump())

    async def _ask(self, request: Request, queries: list[Query]) -> list[Answer]:
        """Waits for the answers; those of a caller that leaves are not worked out.

        Raises:
            ClientDisconnect: The caller has left.
        """
        asked = asyncio.create_task(self._queue.submit(queries))
        watch = asyncio.create_task(_cancel_when_left(request, asked))
        try:
            return await asked
        except asyncio.CancelledError:
            if watch.done():
                raise ClientDisconnect from None
            raise
        finally:
            watch.cancel()

    def _resolve(self, call: RecommendCall | InvocationsCall, field: str) -> list[Query]:
        queries = []
        for number, request in enumerate(call.to_requests()):
            try:
                queries.append(resolve(request, self._bundle))
            except RecommendError as error:
                raise CallError([(f"{field}.{number}.{error.field}", error.message)]) from None
        return queries

    def _describe(self, user_id: str | None, answer: Answer) -> dict[str, Any]:
        ids, titles = self._bundle.item_ids[answer.items], self._bundle.titles[answer.items]
        columns = zip(ids.tolist(), titles.tolist(), answer.scores.tolist(), strict=True)
        return {
            "user_id": user_id,
            "source": answer.query.source,
            "unknown_items": answer.query.unknown_items,
            "note": None if len(answer.items) else NOTHING_LEFT,
            "items": [{"item_id": item_id, "title": title, "score": score} for item_id, title, score in columns],
        }


async def _cancel_when_left(request: Request, asked: asyncio.Task[list[Answer]]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    asked.cancel()


async def _read_body(request: Request) -> bytes:
    """The body, up to its limit.

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


async def _refuse_call(_: Request, error: Exception) -> Response:
    assert isinstance(error, CallError)
    problems = [{"field": field, "message": message} for field, message in error.problems]
    return JSONResponse({"error": str(error), "problems": problems}, 400)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _refuse_busy(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "too many requests wait; try again"}, 503, BUSY)


async def _give_up(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it: the sender has left


async def _admit_defect(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "a defect of the server; its log has the traceback"}, 500)
