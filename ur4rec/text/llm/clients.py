"""The choice of a client."""

from __future__ import annotations

import re
from typing import Literal

from ur4rec.text.llm.chat import ChatClient, FatalError, Reason


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
        FatalError: Key or base URL is missing or malformed.
    """
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise FatalError("the base URL starts with neither http:// nor https://; correct it", Reason.NOT_FOUND)
    if not re.fullmatch(r"[!-~]*", api_key):
        raise FatalError("the API key holds characters that no key has; copy it again", Reason.API_KEY)
    match provider:
        case "dashscope":
            from ur4rec.text.llm.dashscope_client import DashScopeClient  # the SDK takes a second to import

            if not api_key:
                raise FatalError("no API key for dashscope; set DASHSCOPE_API_KEY", Reason.API_KEY)
            return DashScopeClient(base_url, api_key, timeout_s)
        case "openai":
            from ur4rec.text.llm.openai_client import OpenAIClient

            if base_url is None:
                raise FatalError(
                    "the provider openai needs a base URL, for example http://vllm:8000/v1", Reason.NOT_FOUND
                )
            return OpenAIClient(base_url, api_key, timeout_s)
