"""A service shaped like DashScope on the loopback interface: both routes, and faults by script or by chance.

Run as a process with `python -m tests.text.llm.server --port 0 --latency-ms 200 --throttled 0.1 --failing 0.03
--seed 1`; its first line of output is its URL. What chance decides is a function of the seed, the prompt and how
often that prompt was asked, so it does not depend on the order in which calls arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web

NATIVE = "/api/v1/services/aigc/text-generation/generation"
COMPATIBLE = "/compatible-mode/v1/chat/completions"
HTML = "<html><head><title>502</title></head>\n<body><h1>Bad gateway</h1></body></html>"


class Fault(StrEnum):
    THROTTLED = "throttled"
    THROTTLED_FOR = "throttled-for"  # with Retry-After
    FAILING = "failing"
    BAD_GATEWAY = "bad-gateway"
    DROPPED = "dropped"
    SLOW = "slow"
    FILTERED = "filtered"  # once and for all for a prompt
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    CHATTY = "chatty"  # words instead of JSON
    ARREARS = "arrears"
    UNKNOWN_MODEL = "unknown-model"
    TOO_LONG = "too-long"
    HTML_AS_OK = "html-as-ok"
    ECHOED_KEY = "echoed-key"  # tells the key in its message, as some services do


# status, native code, code of the compatible route, message
ERRORS = {
    Fault.THROTTLED: (429, "Throttling.RateQuota", "limit_requests", "Requests rate limit exceeded."),
    Fault.THROTTLED_FOR: (429, "Throttling.AllocationQuota", "insufficient_quota", "Allocated quota exceeded."),
    Fault.FAILING: (500, "InternalError.Algo", "internal_error", "An internal error has occurred."),
    Fault.FILTERED: (400, "DataInspectionFailed", "data_inspection_failed", "Input may hold inappropriate content."),
    Fault.ARREARS: (400, "Arrearage", "Arrearage", "Access denied, the account is not in good standing."),
    Fault.UNKNOWN_MODEL: (404, "ModelNotFound", "model_not_found", "The model does not exist."),
    Fault.TOO_LONG: (400, "InvalidParameter", "invalid_parameter_error", "Range of input length is exceeded."),
    Fault.ECHOED_KEY: (400, "InvalidParameter", "invalid_parameter_error", "Unknown parameter."),
}
WRONG_KEY = (401, "InvalidApiKey", "invalid_api_key", "Invalid API-key provided.")


@dataclass
class Behaviour:
    """How the server answers."""

    latency_ms: float = 0.0
    shares: Mapping[Fault, float] = field(default_factory=dict)
    script: list[Fault | None] = field(default_factory=list)
    """Faults of the first calls, in the order of their arrival; `None` answers well."""
    api_key: str | None = None
    retry_after_s: float = 1.0
    slow_s: float = 5.0
    seed: int = 0
    thoughts: str = "{}"
    """What stands around an answer, unless the request turns thinking off."""
    answer_field: str = "content"
    """Where the answer is; the content is then empty."""
    tells_usage: bool = True
    unknown_fields: frozenset[str] = frozenset()
    """Fields of a request that are refused with 400."""


class ChatServer:
    """The two routes and `/counts`."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.url = ""
        self.last_body: dict[str, Any] = {}
        self._script = list(behaviour.script)
        self._calls: Counter[str] = Counter()
        self._successes: Counter[str] = Counter()
        self._faults: defaultdict[str, int] = defaultdict(int)
        self._in_flight = self._peak = self._wrong_key = 0

    def application(self) -> web.Application:
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post(NATIVE, self._answer)
        application.router.add_post(COMPATIBLE, self._answer)
        application.router.add_get("/counts", self._tell)
        return application

    def counts(self, per_prompt: bool = False) -> dict[str, Any]:
        counts: dict[str, Any] = {
            "calls": sum(self._calls.values()) + self._wrong_key,
            "successes": sum(self._successes.values()),
            "prompts": len(self._calls),
            "answered_prompts": len(self._successes),
            "most_successes": max(self._successes.values(), default=0),
            "peak_in_flight": self._peak,
            "wrong_key": self._wrong_key,
            "faults": dict(self._faults),
        }
        if per_prompt:
            counts["per_prompt"] = {
                prompt: {"calls": calls, "successes": self._successes[prompt]} for prompt, calls in self._calls.items()
            }
        return counts

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response(self.counts("per_prompt" in request.query))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        try:
            return await self._respond(request)
        except ConnectionError:  # the client gave up
            return web.Response()
        finally:
            self._in_flight -= 1

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        native = request.path == NATIVE
        expected = self.behaviour.api_key
        if expected is not None and request.headers.get("Authorization") != f"Bearer {expected}":
            self._wrong_key += 1
            await asyncio.sleep(self.behaviour.latency_ms / 1000)
            return _error(native, *WRONG_KEY)
        body = await request.json()
        self.last_body = body
        messages = body["input"]["messages"] if native else body["messages"]
        prompt = hashlib.sha256(json.dumps([body["model"], messages]).encode()).hexdigest()
        self._calls[prompt] += 1
        if unknown := self.behaviour.unknown_fields & {*body, *body.get("parameters", {})}:
            return _error(native, 400, "InvalidParameter", "invalid_request_error", f"Unrecognized: {sorted(unknown)}")
        fault = self._choose_fault(prompt)
        await asyncio.sleep(self.behaviour.latency_ms / 1000)
        answer = self._shape(native, body, _answer_body(native, body, messages))
        if fault is None:
            self._successes[prompt] += 1
            return web.json_response(answer)
        self._faults[fault] += 1
        return await self._misbehave(request, native, fault, answer)

    def _shape(self, native: bool, body: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """As a service answers whose model thinks, or that counts no tokens."""
        fields = body.get("parameters" if native else "chat_template_kwargs", {})
        message = (answer["output"] if native else answer)["choices"][0]["message"]
        if fields.get("enable_thinking", True):
            message["content"] = self.behaviour.thoughts.replace("{}", message["content"])
        if self.behaviour.answer_field != "content":
            message[self.behaviour.answer_field] = message["content"]
            message["content"] = None
        if not self.behaviour.tells_usage:
            del answer["usage"]
        return answer

    def _choose_fault(self, prompt: str) -> Fault | None:
        if self._script:
            return self._script.pop(0)
        shares = self.behaviour.shares
        if _chance(self.behaviour.seed, prompt, "filtered") < shares.get(Fault.FILTERED, 0.0):
            return Fault.FILTERED
        drawn = _chance(self.behaviour.seed, prompt, self._calls[prompt])
        for fault, share in shares.items():
            if fault is not Fault.FILTERED and (drawn := drawn - share) < 0:
                return fault
        return None

    async def _misbehave(
        self, request: web.Request, native: bool, fault: Fault, good: dict[str, Any]
    ) -> web.StreamResponse:
        text = json.dumps(good)
        match fault:
            case Fault.THROTTLED_FOR:
                return _error(native, *ERRORS[fault], headers={"Retry-After": f"{self.behaviour.retry_after_s:g}"})
            case Fault.ECHOED_KEY:
                return _error(native, *ERRORS[fault][:3], f"Bad key {request.headers['Authorization']}\nin <b>it</b>")
            case Fault.BAD_GATEWAY:
                return web.Response(status=502, text=HTML, content_type="text/html")
            case Fault.HTML_AS_OK:
                return web.Response(text=HTML, content_type="text/html")
            case Fault.MALFORMED:
                return web.json_response({"output": "none", "choices": 3})
            case Fault.TRUNCATED:
                return web.Response(text=text[: len(text) // 2], content_type="application/json")
            case Fault.EMPTY | Fault.CHATTY:
                return web.json_response(_with_text(native, good, "Sure!" if fault is Fault.CHATTY else ""))
            case Fault.SLOW:
                return await self._drip(request, text)
            case Fault.DROPPED:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case _:
                return _error(native, *ERRORS[fault])

    async def _drip(self, request: web.Request, text: str) -> web.StreamResponse:
        """A body whose bytes never pause for long and take `slow_s` in all."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
        await response.prepare(request)
        pieces = max(10, round(self.behaviour.slow_s / 0.05))
        width = -(-len(text) // pieces)
        with suppress(ConnectionError):  # the client gave up
            for start in range(0, len(text), width):
                await response.write(text[start : start + width].encode())
                await asyncio.sleep(self.behaviour.slow_s / pieces)
        return response


def answer_text(messages: list[dict[str, str]]) -> str:
    """A pure function of the prompt: JSON of the shape that it asks for, in plain English."""
    asked = " ".join(message["content"] for message in messages if message["role"] == "system")
    asked += messages[-1]["content"]
    draw = _Draw(json.dumps(messages))
    if "preferred_types" in asked:
        return json.dumps(
            {
                "preferred_types": [f"Prefers {draw('quality')} {draw('genre')} films about {draw('theme')}."],
                "features_of_interest": [
                    f"Values {draw('feature')} and {draw('other')} more than loud spectacle.",
                    f"Returns to stories with {draw('quality')} heroes and patient endings.",
                ],
                "potential_directions": [
                    f"May enjoy {draw('quality')} {draw('genre')} films about {draw('theme')} next."
                ],
            }
        )
    if "description" in asked:
        first = f"A {draw('quality')} {draw('genre')} story about {draw('theme')}, known for {draw('feature')}."
        return json.dumps({"description": f"{first} It suits viewers who enjoy {draw('other')} and {draw('theme')}."})
    return f"A {draw('quality')} answer about {draw('theme')} and {draw('feature')}."


WORDS = {
    "quality": ("quiet", "tense", "warm", "dark", "playful", "slow", "bold", "gentle", "sharp", "tender"),
    "genre": ("crime", "western", "war", "romance", "science fiction", "family", "mystery", "comedy", "drama"),
    "theme": ("loyalty and betrayal", "growing up", "love and loss", "life at sea", "hard choices", "old friends"),
    "feature": ("careful dialogue", "strong characters", "clever plots", "rich settings", "honest humour"),
    "other": ("long silences", "moral doubt", "small towns", "bright music", "dry wit", "open landscapes"),
}


class _Draw:
    def __init__(self, prompt: str) -> None:
        self._digest = hashlib.sha256(prompt.encode()).digest()
        self._drawn = 0

    def __call__(self, kind: str) -> str:
        words = WORDS[kind]
        self._drawn += 1
        return words[self._digest[self._drawn] % len(words)]


def _answer_body(native: bool, body: Mapping[str, Any], messages: list[dict[str, str]]) -> dict[str, Any]:
    text = answer_text(messages)
    tokens_in, tokens_out = sum(len(message["content"]) for message in messages) // 4, len(text) // 4
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    if native:
        usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        return {"output": {"choices": [choice]}, "usage": usage, "request_id": "1"}
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, **choice}],
        "usage": usage,
    }


def _with_text(native: bool, body: dict[str, Any], text: str) -> dict[str, Any]:
    (body["output"] if native else body)["choices"][0]["message"]["content"] = text
    return body


def _error(
    native: bool, status: int, code: str, compatible_code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    if native:
        body: dict[str, Any] = {"code": code, "message": message, "request_id": "1"}
    else:
        error = {"message": message, "type": compatible_code, "param": None, "code": compatible_code}
        body = {"error": error, "request_id": "1"}
    return web.json_response(body, status=status, headers=headers)


def _chance(*parts: object) -> float:
    """Uniform in [0, 1), a function of its arguments."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


async def _start(server: ChatServer, port: int) -> web.AppRunner:
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    host, bound, *_ = runner.addresses[0]
    server.url = f"http://{host}:{bound}"
    return runner


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[ChatServer]:
    """A server in a thread of this process."""
    server = ChatServer(behaviour)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(server, 0), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _run(behaviour: Behaviour, port: int) -> None:
    server = ChatServer(behaviour)
    await _start(server, port)
    print(server.url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--api-key", help="any other is answered with 401; without it, every key is right")
    parser.add_argument("--retry-after-s", type=float, default=1.0)
    parser.add_argument("--slow-s", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    for fault in Fault:
        parser.add_argument(f"--{fault}", type=float, default=0.0, metavar="SHARE")
    arguments = parser.parse_args()
    shares = {fault: getattr(arguments, fault.replace("-", "_")) for fault in Fault}
    behaviour = Behaviour(
        latency_ms=arguments.latency_ms,
        shares={fault: share for fault, share in shares.items() if share},
        api_key=arguments.api_key,
        retry_after_s=arguments.retry_after_s,
        slow_s=arguments.slow_s,
        seed=arguments.seed,
    )
    asyncio.run(_run(behaviour, arguments.port))


if __name__ == "__main__":
    main()
