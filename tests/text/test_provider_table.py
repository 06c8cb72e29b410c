"""The table of providers: an entry is enough for the setting, the key and the opening."""

import asyncio
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from ur4rec.config_section import ConfigError
from ur4rec.text.config import GridConfig, TextConfig, WritingConfig
from ur4rec.text.generate import open_provider
from ur4rec.text.llm.chat import ChatAnswer, ChatRequest, FatalError
from ur4rec.text.provider_table import API_KEYS, PROVIDERS, SERVICES, LanguageModelService, OfflineWriter, create_client
from ur4rec.text.providers import Advance, Text
from ur4rec.text.requests import ItemRequest

ASKED = ChatRequest("toy", "m", "v", (("user", "x"),), 0.0, 9, 0, True)


class Parrot:
    """Repeats the title."""

    name = "parrot"
    version = "1"

    def describe_items(self, requests: Iterable[Any], advance: Advance) -> Iterator[Text]:
        for request in requests:
            advance(1)
            yield Text(request.title, self.name)

    describe_users = describe_items

    def finish(self) -> dict[str, object]:
        return {}


class ToyClient:
    made = 0

    def __init__(self, base_url: str | None, api_key: str, timeout_s: float) -> None:
        ToyClient.made += 1

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        return ChatAnswer("yes", 1, 1)

    async def aclose(self) -> None: ...


def test_the_setting_takes_the_names_of_the_table_and_no_others() -> None:
    annotation = GridConfig.model_fields["text_provider"].annotation
    assert get_args(annotation) == tuple(PROVIDERS)
    for name in PROVIDERS:
        values = {"text_provider": name, "text_base_url": "http://vllm:8000/v1"}
        config = WritingConfig.parse(values)
        assert config.asks_a_model == (name in SERVICES) == (type(config.read()) is WritingConfig)
    *names, last = map(repr, PROVIDERS)
    with pytest.raises(ConfigError, match=f"{', '.join(names)} or {last}, got 'nobody'"):
        TextConfig.parse({"text_provider": "nobody"})


def test_a_service_without_an_address_of_its_own_has_to_be_given_one() -> None:
    for name, service in SERVICES.items():
        if service.example_address:
            with pytest.raises(ConfigError, match=f"text_provider {name} needs an address, such as http"):
                TextConfig.parse({"text_provider": name})
        else:
            TextConfig.parse({"text_provider": name})


def test_every_service_has_a_key_of_its_own() -> None:
    assert API_KEYS == {"dashscope": "DASHSCOPE_API_KEY", "openai": "OPENAI_API_KEY"}
    assert len(set(API_KEYS.values())) == len(SERVICES)


def test_an_entry_opens_an_offline_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "parrot", OfflineWriter(Parrot))
    config = TextConfig().model_copy(update={"text_provider": "parrot"})
    assert not config.asks_a_model
    steps: list[int] = []
    with open_provider(config, None) as provider:
        items = [ItemRequest("1", "Up"), ItemRequest("2", "Heat")]
        assert [text.text for text in provider.describe_items(items, steps.append)] == ["Up", "Heat"]
    assert steps == [1, 1]


def test_a_key_is_needed_and_for_openai_a_base_url() -> None:
    with pytest.raises(FatalError, match="set DASHSCOPE_API_KEY"):
        create_client("dashscope", None, "", 1.0)
    with pytest.raises(FatalError, match="needs a base URL"):
        create_client("openai", None, "", 1.0)
    with pytest.raises(FatalError, match="OPENAI_API_KEY holds a line break"):
        create_client("openai", "http://vllm:8000", "sk-1\nsk-2", 1.0)


def test_a_client_is_made_with_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, "toy", LanguageModelService(ToyClient, "TOY_KEY"))

    async def run() -> list[int]:
        client, made = create_client("toy", None, "sk", 1.0), [ToyClient.made]
        await client.aclose()  # nothing to close yet
        for _ in range(2):
            assert (await client.complete(ASKED)).text == "yes"
            made.append(ToyClient.made)
        await client.aclose()
        return made

    assert asyncio.run(run()) == [0, 1, 1]


def test_reading_the_table_loads_no_client(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, ur4rec.text.config; print({'aiohttp', 'dashscope', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "set()"
