"""Toy sequences, and `generate_text` over the loopback server on them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from server import ChatServer, answer_text

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import Manifest
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.llm.answers import parse_answer
from ur4rec.text.llm.lookup import Questions
from ur4rec.text.plan import TextPlan, plan_texts
from ur4rec.text.requests import ItemRequest, UserRequest

KEY = "sk-toy-0123456789abcdef"
NUM_ITEMS = 30
LENGTHS = {"a": 30, "b": 18, "c": 12, "d": 10, "e": 4}
"""With a snapshot base of 3 these users have 4, 3, 2, 2 and no snapshots."""
GENRES = ("Drama", "Comedy", "Crime", "War", "Western")
BASES = {"dashscope": "/api/v1", "openai": "/compatible-mode/v1"}
FILES = ("item_descriptions.json", "user_preferences.json", "user_snapshots.parquet")
Row = tuple[str, str, int]
BuildSequences = Callable[..., Path]


def draw_rows(lengths: Mapping[str, int], num_items: int = NUM_ITEMS, seed: int = 0) -> list[Row]:
    """Random distinct items at distinct times, every item in turn a user's first."""
    random = np.random.default_rng(seed)
    rows = []
    for user, length in lengths.items():
        chosen = random.permutation(num_items)[:length]
        rows += [(user, f"i{item}", 10 * time) for time, item in enumerate(chosen)]
    return rows


def describe_items(num_items: int = NUM_ITEMS) -> pd.DataFrame:
    """A table of items with titles, years and genres."""
    numbers = np.arange(num_items)
    return pd.DataFrame(
        {
            "item_id": [f"i{number}" for number in numbers],
            "title": [f"Story {number}" for number in numbers],
            "year": 1950 + numbers % 50,
            "genres": [f"{GENRES[number % 5]}|{GENRES[(number + 1) % 5]}" for number in numbers],
        }
    )


def build_toy(build_sequences: BuildSequences, lengths: Mapping[str, int] = LENGTHS) -> Path:
    """Sequences of these users over all toy items."""
    return build_sequences(draw_rows(lengths), describe_items(), min_seq_len=3)


def make_config(server: ChatServer | str, cache: Path | str, provider: str = "openai", **fields: Any) -> TextConfig:
    """Asks a server, or an address, without much concurrency."""
    base = server if isinstance(server, str) else server.url + BASES[provider]
    values = {"text_provider": provider, "text_base_url": base, "text_cache": str(cache), "snapshot_base": 3}
    return TextConfig.parse(values | {"text_concurrency": 4} | fields)


def generate(server: ChatServer, sequences: Path, output: Path, cache: Path, **fields: Any) -> Manifest:
    """The task against a server."""
    return generate_text(sequences, output, make_config(server, cache, **fields))


def read_files(output: Path) -> dict[str, bytes]:
    """Name → bytes of the three files."""
    return {name: (output / name).read_bytes() for name in FILES}


def read_sources(output: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """User and `as_of` → text and its source."""
    table = pd.read_parquet(output / FILES[2])
    columns = (table[name].tolist() for name in ("user_id", "as_of", "text", "source"))
    return {(user, as_of): (text, source) for user, as_of, text, source in zip(*columns, strict=True)}


def list_requests(plan: TextPlan) -> list[ItemRequest | UserRequest]:
    """Every request of a plan."""
    return [*plan.item_requests(), *plan.user_requests()]


def list_prompts(sequences: Path, config: TextConfig) -> list[tuple[tuple[str, str], ...]]:
    """The messages of every text, in order."""
    questions = Questions(config)
    return [
        questions.ask(request).chat.messages for request in list_requests(plan_texts(load_sequences(sequences), config))
    ]


def expect_texts(sequences: Path, config: TextConfig) -> list[str]:
    """The text of every prompt as the server's answer gives it."""
    questions = Questions(config)
    asked = [questions.ask(request) for request in list_requests(plan_texts(load_sequences(sequences), config))]
    return [parse_answer(question.prompt, answer_to(question.chat.messages)) for question in asked]


def answer_to(messages: tuple[tuple[str, str], ...]) -> str:
    """What the server answers."""
    return answer_text([{"role": role, "content": content} for role, content in messages])
