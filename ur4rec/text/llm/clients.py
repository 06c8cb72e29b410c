"""The choice of a client."""

from __future__ import annotations

import re
from typing import Literal

from ur4rec.text.llm.chat import ChatClient, FatalError, Reason

API_KEYS = {"dashscope": "DASHSCOPE_API_KEY", "openai": "OPENAI_API_KEY"}
"""Provider → variable of the environment that holds its key."""


def create_client(
    provider: Literal["dashscope", "openai"], base_url: str | None, api_key: str, timeout_s: float
) -> ChatClient:
    """A client of a provider.

    Args:
        provider: Which route to speak.
        base_url: Where the service is; `None` is the provider's own default, which `openai` has not.
        api_key: Key of the account; may be empty for `openai`.
        timeout_s: Longest duration of a call.

    Raises:
        FatalError: The key is missing or malformed, or the base URL missing.
    """
    if not re.fullmatch(r"[!-~]*", api_key):
        raise FatalError(
            f"{API_KEYS[provider]} holds a line break, a space or something else that no key has; copy the key again",
            Reason.API_KEY,
        )
    match provider:
        case "dashscope":
            from ur4rec.text.llm.dashscope_client import DashScopeClient  # the SDK takes a second to import

            if not api_key:
                raise FatalError(f"no API key for dashscope; set {API_KEYS[provider]}", Reason.API_KEY)
            return DashScopeClient(base_url, api_key, timeout_s)
        case "openai":
            from ur4rec.text.llm.openai_client import OpenAIClient

            if base_url is None:
                raise FatalError(
                    "the provider openai needs a base URL, for example http://vllm:8000/v1", Reason.NOT_FOUND
                )
            return OpenAIClient(base_url, api_key, timeout_s)
