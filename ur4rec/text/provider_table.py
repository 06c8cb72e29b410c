"""The table of what writes texts. A new provider is a class in a file of its own and an entry here.

Reading the table imports none of the classes, for some take a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ur4rec.text.llm.chat import ChatAnswer, ChatClient, ChatRequest, FatalError, Reason

if TYPE_CHECKING:
    from ur4rec.text.providers import TextProvider


@dataclass(frozen=True)
class OfflineWriter:
    """Writes texts by itself, without a service.

    Args:
        create: Makes the provider.
    """

    create: Callable[[], TextProvider]


@dataclass(frozen=True)
class LanguageModelService:
    """Answers the prompts about items and users.

    Args:
        connect: Makes a client from a base URL (None: the service's own), a key and the longest duration of a call in
            seconds.
        key_variable: Variable of the environment that holds the key.
        needs_key: Whether it answers nobody without a key.
        example_address: Such as users have to name; empty where the service has an address of its own.
    """

    connect: Callable[[str | None, str, float], ChatClient]
    key_variable: str
    needs_key: bool = True
    example_address: str = ""


def _create_template() -> TextProvider:
    from ur4rec.text.providers import TemplateProvider

    return TemplateProvider()


def _connect_to_dashscope(base_url: str | None, api_key: str, timeout_s: float) -> ChatClient:
    from ur4rec.text.llm.dashscope_client import DashScopeClient

    return DashScopeClient(base_url, api_key, timeout_s)


def _connect_to_openai(base_url: str | None, api_key: str, timeout_s: float) -> ChatClient:
    from ur4rec.text.llm.openai_client import OpenAIClient

    assert base_url is not None
    return OpenAIClient(base_url, api_key, timeout_s)


PROVIDERS: dict[str, OfflineWriter | LanguageModelService] = {
    "template": OfflineWriter(_create_template),
    "dashscope": LanguageModelService(_connect_to_dashscope, "DASHSCOPE_API_KEY"),
    "openai": LanguageModelService(
        _connect_to_openai, "OPENAI_API_KEY", needs_key=False, example_address="http://vllm:8000/v1"
    ),
}
SERVICES = {name: entry for name, entry in PROVIDERS.items() if isinstance(entry, LanguageModelService)}
API_KEYS = {name: service.key_variable for name, service in SERVICES.items()}
"""Provider → variable of the environment that holds its key."""


def create_client(provider: str, base_url: str | None, api_key: str, timeout_s: float) -> ChatClient:
    """A client of a language model.

    Args:
        provider: Name of a service.
        base_url: Where the service is; `None` is the provider's own default, which `openai` has not.
        api_key: Key of the account; may be empty for `openai`.
        timeout_s: Longest duration of a call.

    Raises:
        FatalError: The key is missing or malformed, or the base URL missing.
    """
    service = SERVICES[provider]
    if not re.fullmatch(r"[!-~]*", api_key):
        raise FatalError(
            f"{service.key_variable} holds a line break, a space or something else that no key has; copy the key again",
            Reason.API_KEY,
        )
    if service.needs_key and not api_key:
        raise FatalError(f"no API key for {provider}; set {service.key_variable}", Reason.API_KEY)
    if service.example_address and base_url is None:
        message = f"the provider {provider} needs a base URL, for example {service.example_address}"
        raise FatalError(message, Reason.NOT_FOUND)
    return _LateClient(lambda: service.connect(base_url, api_key, timeout_s))


class _LateClient:
    """A client that is made with the first call: a run that finds every answer need not wait for an SDK.

    Args:
        connect: Makes it.
    """

    def __init__(self, connect: Callable[[], ChatClient]) -> None:
        self._connect = connect
        self._client: ChatClient | None = None

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Makes one exchange; see `ChatClient`."""
        self._client = self._client or self._connect()
        return await self._client.complete(request)

    async def aclose(self) -> None:
        """Closes the connections, where there are any."""
        if self._client:
            await self._client.aclose()
