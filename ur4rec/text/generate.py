"""The task `generate_text`: a description of every item, snapshots of every user's preferences."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ur4rec.auto.settle import settle
from ur4rec.data.sequences import load_sequences
from ur4rec.progress import show_progress
from ur4rec.storage.artifacts import ArtifactWriter, Manifest, read_artifact, write_artifact
from ur4rec.text.artifact import IMPORTED, LEAK_CHECK, SEQUENCES_DIGEST
from ur4rec.text.config import WritingConfig
from ur4rec.text.imports import open_given_texts
from ur4rec.text.leaks.check import LeakReport, check_leaks, describe_leaks
from ur4rec.text.plan import TextPlan, plan_texts
from ur4rec.text.provider_table import PROVIDERS, OfflineWriter
from ur4rec.text.providers import TextProvider

PRODUCER = "generate_text"
UNNAMED_SHARE = 0.5
"""More items than this without title, genres and description are worth a warning."""


def generate_text(
    sequences: Path,
    output: Path,
    config: WritingConfig,
    item_text: str | Path | None = None,
    user_text: str | Path | None = None,
    asked: Sequence[str] = (),
    text_digest: str = "",
) -> Manifest:
    """Writes the texts of every item and user, and checks that those of users know nothing of what comes after.

    Imported texts go first; the provider writes what they leave out. A user with imported texts gets no
    others.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        output: Folder to write; an older one there is replaced.
        config: Provider and grid.
        item_text: JSON file of item texts that exist already, here or below `gs://` or `s3://`.
        user_text: JSON file of user texts that exist already, or a parquet of them with `as_of`; the same.
        asked: What the tasks that asked beforehand say of it; what they spent is taken off the budget.
        text_digest: Taken earlier by `digest_texts`: the result is kept under it, so the texts that exist must be the
            same still. Empty: not checked.

    Raises:
        TextImportError: A file of texts cannot be used, or has changed meanwhile.
        StoreError: Cloud storage has nothing there, or cannot be read.
        ArtifactError: The sequences are incomplete or altered.
        TextGenerationError: A language model cannot be used, or too many texts failed.
        BudgetError: The budget is spent; what is answered is kept.
        CacheError: The cache of answers cannot be read or written.
        LeakError: The texts of users name what the users did later; the folder is written all the
            same, for a look at it, but cannot be encoded.
    """
    with open_given_texts(item_text, user_text, text_digest) as files:
        data = load_sequences(Path(sequences))
        config = settle(config, data, PRODUCER)
        work = plan_texts(data, config, **files)
        with (
            write_artifact(output, PRODUCER, config, {"sequences": Path(sequences), **files}) as writer,
            open_provider(config, find_budget_left(config, asked)) as provider,
        ):
            judged = _write(work, writer, provider, str(output))
    manifest = read_artifact(output)
    _report(manifest.details, config)
    print(f"{PRODUCER}: leak check: {judged.verdict}")
    if not judged.passed:
        print(describe_leaks(check_leaks(Path(sequences), output)))
    judged.raise_for_leaks()
    return manifest


def _write(work: TextPlan, writer: ArtifactWriter, provider: TextProvider, name: str) -> LeakReport:
    gc.freeze()  # the data live to the end: looking through them for garbage takes an eighth of the time
    try:
        with show_progress(PRODUCER, work.num_texts) as advance:
            counts = work.write(writer.folder, provider, advance)
    finally:
        gc.unfreeze()
    writer.details |= {SEQUENCES_DIGEST: work.data.digest, "provider": f"{provider.name} {provider.version}"}
    writer.details |= counts
    judged = work.judge(name)
    writer.details[LEAK_CHECK] = judged.verdict
    if finished := provider.finish():
        writer.details["language_model"] = finished
    return judged


def find_budget_left(config: WritingConfig, asked: Sequence[str]) -> float | None:
    """What of the budget is left after the tasks that asked beforehand; none: no limit."""
    if config.text_budget is None:
        return None
    return max(0.0, config.text_budget - sum(json.loads(used).get("cost") or 0.0 for used in asked))


@contextmanager
def open_provider(config: WritingConfig, budget: float | None) -> Iterator[TextProvider]:
    """The provider that a configuration names.

    Args:
        config: Provider, model, prompts, cache.
        budget: Most that may be spent, in the currency of the prices; none: no limit.
    """
    provider = PROVIDERS[config.text_provider]
    if isinstance(provider, OfflineWriter):
        yield provider.create()
        return
    from ur4rec.text.llm.provider import open_language_model

    with open_language_model(config, budget) as model:
        yield model


def _report(details: dict[str, Any], config: WritingConfig) -> None:
    items, users, snapshots = details["items"], details["users"], details["snapshots"]
    lines = [
        f"{items['total']:,} item descriptions: {_list_counts(items['by_source'])}",
        f"{snapshots['total']:,} user snapshots: {_list_counts(snapshots['by_source'])}",
        f"{users['without_text']:,} of {users['total']:,} users have fewer than {config.snapshot_base} "
        "interactions to write from and no text",
    ]
    for what, counts in (("items", items), ("users", users)):
        if counts["imported_ids_not_in_data"]:
            lines.append(f"{counts['imported_ids_not_in_data']:,} imported {what} are not in the data, left out")
    if IMPORTED in details["provenance"]:
        lines.append(f"user texts: {details['provenance'][IMPORTED]}")
    if "language_model" in details:
        lines.append(_describe_usage(details["language_model"]))
    if (unnamed := items["of_an_id_alone"]) > UNNAMED_SHARE * items["total"]:
        lines.append(
            f"warning: nothing but the id is known of {unnamed:,} of {items['total']:,} items, so texts say nothing of "
            "them; give a table of titles, `ur4rec data preprocess … --items`, or texts by --item-text"
        )
    for line in lines:
        print(f"{PRODUCER}: {line}")


def _describe_usage(used: dict[str, Any]) -> str:
    cost = "" if used["cost"] is None else f", {used['cost']:.4f} {used['currency']}"
    if used["cached"] and cost:
        cost += f" ({used['cost_of_texts']:.4f} for all of these texts, at present prices)"
    if used["calls_with_estimated_tokens"] or used["texts_with_estimated_tokens"]:
        cost += "; tokens estimated where the service told none"
    fallen = f"; fallen back: {_list_counts(used['fallen_back'])}" if used["fallen_back"] else ""
    return (
        f"{used['model']}: {used['cached']:,} of {used['texts']:,} texts from the cache, {used['calls']:,} calls, "
        f"{used['tokens_in']:,} + {used['tokens_out']:,} tokens{cost}{fallen}"
    )


def _list_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {source}" for source, count in sorted(counts.items())) or "none"
