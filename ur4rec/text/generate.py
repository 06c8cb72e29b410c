"""The task `generate_text`: a description of every item, snapshots of every user's preferences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.storage.artifacts import Manifest, read_artifact, write_artifact
from ur4rec.text.artifact import SEQUENCES_DIGEST, Texts, write_texts
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import ImportedItems, ImportedUsers, import_items, import_users
from ur4rec.text.providers import Text, TextProvider, create_provider
from ur4rec.text.requests import ItemRequest, build_item_requests
from ur4rec.text.snapshots import build_user_requests, compute_grid

PRODUCER = "generate_text"
IMPORTED = "imported"
EXACT = "written from the user's interactions [0, as_of) of the training prefix and nothing else"
DECLARED = "imported; as_of as the file declares it, unverified"
UNVERIFIED = "imported, unverified: the file does not say what its texts were written from; as_of = training prefix"


def generate_text(
    sequences: Path,
    output: Path,
    config: TextConfig,
    item_text: Path | None = None,
    user_text: Path | None = None,
) -> Manifest:
    """Writes the texts of every item and user.

    Imported texts go first; the provider writes what they leave out. A user with imported texts gets no
    others.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        output: Folder to write; an older one there is replaced.
        config: Provider and grid.
        item_text: JSON file of item texts that exist already.
        user_text: JSON file of user texts that exist already, or a parquet of them with `as_of`.

    Raises:
        TextImportError: A file of texts cannot be used.
        ArtifactError: The sequences are incomplete or altered.
    """
    files = {name: Path(path) for name, path in (("item_text", item_text), ("user_text", user_text)) if path}
    data = load_sequences(Path(sequences))
    histories = data.histories("validation")
    items = import_items(files["item_text"], data.item_ids) if item_text else None
    users = import_users(files["user_text"], data.user_ids, histories) if user_text else None
    with write_artifact(output, PRODUCER, config, {"sequences": Path(sequences), **files}) as writer:
        provider = create_provider(config)
        requests = build_item_requests(data.items)
        descriptions = _describe_items(requests, provider, items)
        snapshots = _describe_users(data, histories, requests, provider, config.snapshot_base, users)
        write_texts(writer.folder, _join(descriptions, snapshots), data)
        writer.details |= {SEQUENCES_DIGEST: data.digest, "provider": f"{provider.name} {provider.version}"}
        writer.details |= _count(descriptions, snapshots, data, items, users)
    manifest = read_artifact(output)
    _report(manifest.details, config)
    return manifest


@dataclass(frozen=True)
class _Snapshots:
    points: np.ndarray
    texts: list[Text]


def _describe_items(requests: list[ItemRequest], provider: TextProvider, imported: ImportedItems | None) -> list[Text]:
    known = imported.texts if imported else {}
    written = provider.describe_items(request for index, request in enumerate(requests, 1) if index not in known)
    return [Text(known[index], IMPORTED) if index in known else next(written) for index in range(1, len(requests) + 1)]


def _describe_users(
    data: Sequences,
    histories: Histories,
    items: list[ItemRequest],
    provider: TextProvider,
    base: int,
    imported: ImportedUsers | None,
) -> _Snapshots:
    points = compute_grid(histories, base)
    if imported:
        points = points[~np.isin(points[:, 0], imported.points[:, 0])]
    texts = list(provider.describe_users(build_user_requests(points, histories, items, data.user_ids)))
    if imported:
        points = np.concatenate([points, imported.points])
        texts += [Text(text, IMPORTED) for text in imported.texts]
    order = np.lexsort((points[:, 1], points[:, 0]))
    return _Snapshots(points[order], [texts[position] for position in order])


def _join(descriptions: list[Text], snapshots: _Snapshots) -> Texts:
    return Texts(
        items=[text.text for text in descriptions],
        points=snapshots.points,
        snapshots=[text.text for text in snapshots.texts],
        sources=[text.source for text in snapshots.texts],
    )


def _count(
    descriptions: list[Text],
    snapshots: _Snapshots,
    data: Sequences,
    items: ImportedItems | None,
    users: ImportedUsers | None,
) -> dict[str, Any]:
    with_text = len(np.unique(snapshots.points[:, 0]))
    imported = len(np.unique(users.points[:, 0])) if users else 0
    provenance = {"provider": EXACT}
    if users:
        provenance[IMPORTED] = DECLARED if users.as_of_declared else UNVERIFIED
    return {
        "items": {
            "total": data.num_items,
            "by_source": dict(Counter(text.source for text in descriptions)),
            "imported_ids_not_in_data": items.num_unknown if items else 0,
        },
        "users": {
            "total": data.num_users,
            "without_text": data.num_users - with_text,
            "imported": imported,
            "imported_ids_not_in_data": users.num_unknown if users else 0,
        },
        "snapshots": {
            "total": len(snapshots.texts),
            "by_source": dict(Counter(text.source for text in snapshots.texts)),
        },
        "provenance": provenance,
    }


def _report(details: dict[str, Any], config: TextConfig) -> None:
    items, users, snapshots = details["items"], details["users"], details["snapshots"]
    lines = [
        f"{items['total']:,} item descriptions: {_list_sources(items['by_source'])}",
        f"{snapshots['total']:,} user snapshots: {_list_sources(snapshots['by_source'])}",
        f"{users['without_text']:,} of {users['total']:,} users have fewer than {config.snapshot_base} "
        "interactions to write from and no text",
    ]
    for what, counts in (("items", items), ("users", users)):
        if counts["imported_ids_not_in_data"]:
            lines.append(f"{counts['imported_ids_not_in_data']:,} imported {what} are not in the data, left out")
    if IMPORTED in details["provenance"]:
        lines.append(f"user texts: {details['provenance'][IMPORTED]}")
    for line in lines:
        print(f"{PRODUCER}: {line}")


def _list_sources(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {source}" for source, count in sorted(counts.items())) or "none"
