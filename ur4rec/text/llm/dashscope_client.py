"""Chats over the DashScope SDK."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import aiohttp
import dashscope
from dashscope.aigc.generation import AioGeneration
from dashscope.api_entities.dashscope_response import GenerationResponse, Message

from ur4rec.text.llm.chat import ChatAnswer, ChatError, ChatRequest
from ur4rec.text.llm.responses import (
    PooledClient,
    disconnected,
    explain,
    malformed,
    read_choice,
    read_error_body,
    timed_out,
)


class DashScopeClient(PooledClient):
    """A client of the native route, on a connection pool of its own.

    The SDK (2.0) takes base URL, key, timeout and aiohttp session a call, and hands the response's headers
    back. It repeats a call once where the connection breaks, which charges twice for an answer that was
    lost on its way; a middleware of the session keeps it from that.

    Args:
        base_url: For example `https://dashscope-intl.aliyuncs.com/api/v1`; `None` is the SDK's default, which
            `DASHSCOPE_HTTP_BASE_URL` sets.
        api_key: Key of the account.
        timeout_s: Longest duration of a call, its response included.
    """

    def __init__(self, base_url: str | None, api_key: str, timeout_s: float) -> None:
        super().__init__(base_url or dashscope.base_http_api_url, api_key, timeout_s, (_forbid_resending,))
        logging.getLogger("dashscope").addFilter(_is_no_traceback)

    async def _exchange(self, request: ChatRequest) -> ChatAnswer | ChatError:
        try:
            response = await self._call(request)
        except TimeoutError:
            return timed_out(self._timeout_s)
        except aiohttp.ContentTypeError:
            return malformed("not JSON")
        except _ConnectionLostError as error:
            return disconnected(str(error), self._host)
        except aiohttp.ClientError as error:
            return disconnected(type(error).__name__, self._host)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # The SDK reads the body without checking it, so a malformed one fails in many ways.
            return malformed(f"{type(error).__name__} in the SDK")
        return self._read(request, response)

    async def _call(self, request: ChatRequest) -> GenerationResponse:
        response = await AioGeneration.call(
            model=request.model,
            messages=[Message(role, content) for role, content in request.messages],
            api_key=self._api_key,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            seed=request.seed,
            result_format="message",
            response_format={"type": "json_object" if request.json_object else "text"},
            # Some models think by default, which a call that is not streamed may not.
            **{"enable_thinking": False, **request.request_fields},
            base_address=self._base_url,
            request_timeout=self._timeout_s,
            session=self._pool(),
        )
        assert isinstance(response, GenerationResponse)
        return response

    def _read(self, request: ChatRequest, response: GenerationResponse) -> ChatAnswer | ChatError:
        if response.status_code != 200:
            body = {"code": response.code, "message": response.message}
            return explain(read_error_body(response.status_code, body, "", response.headers or {}), self._api_key)
        usage: Mapping[str, object] = response.usage or {}
        tokens = usage.get("input_tokens"), usage.get("output_tokens")
        return read_choice(response.output.get("choices"), *tokens, request.messages)


class _ConnectionLostError(Exception):
    """Of no type that the SDK takes for a reason to send again."""


async def _forbid_resending(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except TimeoutError:
        raise
    except (aiohttp.ClientConnectionError, OSError) as error:
        kind = type(error).__name__
    raise _ConnectionLostError(kind)


def _is_no_traceback(record: logging.LogRecord) -> bool:
    """Whether to keep a record of the SDK: it logs a traceback for every call that fails, and we count them."""
    return record.exc_info is None
