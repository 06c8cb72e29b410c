"""Chats over the OpenAI-compatible route: vLLM on the same cluster, DashScope's compatible mode and others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from ur4rec.text.llm.chat import THINKING_OFF, ChatAnswer, ChatError, ChatRequest, EmptyAnswerError, RejectedError
from ur4rec.text.llm.responses import (
    PooledClient,
    disconnected,
    explain,
    malformed,
    read_choice,
    read_error_body,
    timed_out,
)


class OpenAIClient(PooledClient):
    """A client of `<base URL>/chat/completions`.

    It asks for an answer without thoughts before it. A service that refuses the fields which say so is asked without
    them, once and for all.

    Args:
        base_url: For example `http://vllm:8000/v1`.
        api_key: Sent as bearer token; empty for a service without one.
        timeout_s: Longest duration of a call, its response included.
    """

    def __init__(self, base_url: str, api_key: str, timeout_s: float) -> None:
        super().__init__(base_url, api_key, timeout_s)
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._takes_thinking_off: bool | None = None
        """Whether the service accepts `THINKING_OFF`; None: no answer has shown it yet."""

    async def _exchange(self, request: ChatRequest) -> ChatAnswer | ChatError:
        if self._takes_thinking_off is False:
            return await self._post(request, {})
        outcome = await self._post(request, THINKING_OFF)
        accepted = not isinstance(outcome, RejectedError)
        if not accepted and self._takes_thinking_off is None:
            outcome = await self._post(request, {})
        if isinstance(outcome, ChatAnswer | EmptyAnswerError) and self._takes_thinking_off is None:
            self._takes_thinking_off = accepted
        return outcome

    async def _post(self, request: ChatRequest, defaults: Mapping[str, Any]) -> ChatAnswer | ChatError:
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else None
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        body = {**defaults, **request.request_fields, **_to_body(request)}
        try:
            async with self._pool().post(self._url, json=body, headers=headers, timeout=timeout) as response:
                content = await response.read()
        except TimeoutError:
            return timed_out(self._timeout_s)
        except aiohttp.ClientError as error:
            return disconnected(type(error).__name__, self._host)
        return self._read(request, response, content)

    def _read(self, request: ChatRequest, response: aiohttp.ClientResponse, content: bytes) -> ChatAnswer | ChatError:
        body = _parse(content)
        if response.status != 200:
            text = content.decode(errors="replace")
            return explain(read_error_body(response.status, body, text, response.headers), self._api_key)
        if not isinstance(body, dict):
            return malformed("it is no JSON object")
        used = body.get("usage")
        usage = used if isinstance(used, dict) else {}
        tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        return read_choice(body.get("choices"), *tokens, request.messages)


def _parse(content: bytes) -> Any:
    """The JSON of a body; `None` where it is something else."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _to_body(request: ChatRequest) -> dict[str, object]:
    body: dict[str, object] = {
        "model": request.model,
        "messages": [{"role": role, "content": content} for role, content in request.messages],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
    }
    if request.json_object:
        body["response_format"] = {"type": "json_object"}
    return body
