"""Shards of the texts: several tasks ask for them at once and meet in one cache."""

from __future__ import annotations

import json
import math
from itertools import chain, islice
from pathlib import Path

from ur4rec.auto.settle import settle
from ur4rec.data.sequences import load_sequences
from ur4rec.progress import show_progress
from ur4rec.text.config import ShardsConfig, WritingConfig
from ur4rec.text.generate import open_provider
from ur4rec.text.imports import open_given_texts
from ur4rec.text.llm.costs import BudgetError
from ur4rec.text.plan import plan_texts


def plan_shards(sequences: Path, config: ShardsConfig, max_shards: int) -> list[str]:
    """Return the names of the shards, `<number>/<of>`; there is only one where the template writes the texts.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        config: Provider and grid.
        max_shards: There are at most this many.
    """
    if not config.asks_a_model:
        return ["1/1"]
    data = load_sequences(Path(sequences))
    count = min(max_shards, math.ceil(plan_texts(data, settle(config, data)).num_texts / config.texts_per_shard))
    return [f"{number}/{count}" for number in range(1, count + 1)]


def ask_shard(
    sequences: Path,
    config: WritingConfig,
    shard: str,
    item_text: str | Path | None = None,
    user_text: str | Path | None = None,
    text_digest: str = "",
) -> str:
    """Ask for the texts of one shard and leave the answers in the cache, where `generate_text` finds them.

    A shard has an equal part of the budget. Where that is spent, `generate_text` goes on with what other shards left
    over, and fails if that is not enough. `shard` is one of the names that `plan_shards` returns; the other arguments
    are those of `generate_text`.

    Returns:
        Calls, tokens, cost and failures as JSON, or an empty object for the template.

    Raises:
        TextImportError: A file of texts cannot be used, or has changed meanwhile.
        StoreError: Cloud storage has nothing there, or cannot be read.
        TextGenerationError: The language model cannot be used, or too many texts failed.
        CacheError: The cache of answers cannot be read or written.
    """
    if not config.asks_a_model:
        return "{}"  # costs nothing, so there is nothing to keep
    number, count = map(int, shard.split("/"))
    with open_given_texts(item_text, user_text, text_digest) as files:
        data = load_sequences(Path(sequences))
        config = settle(config, data)
        plan = plan_texts(data, config, **files)
    own = slice(number - 1, None, count)
    total = sum(len(range(num)[own]) for num in (plan.num_texts - len(plan.points), len(plan.points)))
    task = f"ask_texts {shard}"
    budget = None if config.text_budget is None else config.text_budget / count
    with open_provider(config, budget) as provider, show_progress(task, total) as advance:
        items = islice(plan.item_requests(), own.start, None, count)
        users = islice(plan.user_requests(), own.start, None, count)
        try:
            for _ in chain(provider.describe_items(items, advance), provider.describe_users(users, advance)):
                pass
        except BudgetError as error:
            print(f"{task}: {error}")
        return json.dumps(provider.finish())
