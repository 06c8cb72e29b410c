"""What both clients share: a connection pool, and errors that tell nothing of the key."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from urllib.parse import urlsplit

import aiohttp
import certifi

from ur4rec.text.llm.chat import ChatAnswer, ChatError, ChatRequest


class PooledClient(ABC):
    """A client on a connection pool of its own, which opens with the first call.

    Args:
        base_url: Where the service is.
        api_key: Key of the account.
        timeout_s: Longest duration of a call, its response included.
        middlewares: What wraps every exchange.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout_s: float,
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (),
    ) -> None:
        self._base_url = base_url
        self._host = urlsplit(base_url).netloc or base_url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._middlewares = middlewares
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Makes one exchange; see `ChatClient`."""
        outcome = await self._exchange(request)
        if isinstance(outcome, ChatError):
            raise outcome  # out of any except block: no library's exception, which knows the headers, is chained
        return outcome

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    @abstractmethod
    async def _exchange(self, request: ChatRequest) -> ChatAnswer | ChatError:
        """One call over the pool; whatever goes wrong is returned."""

    def _pool(self) -> aiohttp.ClientSession:
        """The pool; needs the running loop when it opens."""
        self._session = self._session or _open_session(self._middlewares)
        return self._session


def _open_session(middlewares: tuple[aiohttp.ClientMiddlewareType, ...]) -> aiohttp.ClientSession:
    """A pool without a limit of its own, for the batch bounds the number of calls.

    Trusts the system's certificates and certifi's, and reads the proxy from the environment.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    return aiohttp.ClientSession(connector=connector, middlewares=middlewares, trust_env=True)
