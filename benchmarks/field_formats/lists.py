"""Layouts that hold many interactions in a row or a block: sequence texts, list columns, Netflix, MIND."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.field_formats.log import (
    Format,
    Log,
    Sample,
    floor_to_day,
    list_rows,
    number_positions,
    sample,
    write_times,
)


def group_items(rows: pd.DataFrame) -> pd.Series[str]:
    """Returns each user's items in the order of time; users as they stand in a file of sequences."""
    return rows.groupby("user_id", sort=False).item_id.agg(list)


def write_sequences(log: Log, folder: Path, name: str) -> Sample:
    """Writes `user item item …`, a line a user."""
    rows = log.name()
    lines = [f"{user} {' '.join(items)}" for user, items in group_items(rows).items()]
    (folder / name).write_text("\n".join(lines) + "\n")
    return sample(folder / name, number_positions(rows))


def write_s3rec(log: Log, folder: Path) -> Sample:
    """As S3-Rec and BERT4Rec publish their data."""
    return write_sequences(log, folder, "Beauty.txt")


def write_lightgcn(log: Log, folder: Path) -> Sample:
    """As LightGCN publishes its data."""
    return write_sequences(log, folder, "train.txt")


def write_sasrec(log: Log, folder: Path) -> Sample:
    """`user item`, a line an interaction, as SASRec publishes its data."""
    rows = log.name().sort_values(["user_id", "timestamp"], key=lambda column: column.astype(int))
    (folder / "Video.txt").write_text("".join(f"{row.user_id} {row.item_id}\n" for row in list_rows(rows)))
    return sample(folder / "Video.txt", number_positions(rows))


def write_token_seq(log: Log, folder: Path) -> Sample:
    """RecBole's sessions: the items so far, and the one to predict."""
    rows = log.name()
    sessions = group_items(rows)
    columns = {
        "session_id:token": sessions.index,
        "item_id_list:token_seq": sessions.str[:-1].str.join(" "),
        "item_id:token": sessions.str[-1],
    }
    pd.DataFrame(columns).to_csv(folder / "sessions.inter", sep="\t", index=False)
    return sample(folder / "sessions.inter", number_positions(rows), len(sessions))


def write_list_columns(log: Log, folder: Path) -> Sample:
    """A row a user, with the items and their times as lists."""
    rows = log.name()
    typed = rows.astype({"user_id": int, "item_id": int})
    table = typed.groupby("user_id", sort=False)[["item_id", "timestamp"]].agg(list).reset_index()
    table.to_parquet(folder / "train.parquet", index=False)
    return sample(folder / "train.parquet", rows)


def write_transformers4rec(log: Log, folder: Path) -> Sample:
    """A row a session, with the items and what belongs to them as lists, without times."""
    rows = log.name()
    typed = rows.astype({"user_id": int, "item_id": int})
    items = typed.groupby("user_id", sort=False).item_id.agg(list)
    columns = {
        "session_id": range(100, 100 + len(items)),
        "user_id": items.index,
        "country": 3,
        "item_id": items.to_list(),
        "item_category": [[1] * len(one) for one in items],
        "item_recency": [[0.5] * len(one) for one in items],
        "item_genres": [[2] * len(one) for one in items],
        "click": 1.0,
    }
    pd.DataFrame(columns).to_parquet(folder / "data.parquet", index=False)
    return sample(folder / "data.parquet", number_positions(rows))


def write_netflix(log: Log, folder: Path) -> Sample:
    """Blocks of a film, each with lines `user,stars,date`."""
    rows = floor_to_day(log.name())
    lines = rows.user_id + "," + rows.rating.clip(1).astype(int).astype(str) + "," + write_times(rows, "%Y-%m-%d")
    blocks = [f"{item}:\n" + "\n".join(part) + "\n" for item, part in lines.groupby(rows.item_id)]
    (folder / "combined_data_1.txt").write_text("".join(blocks))
    return sample(folder / "combined_data_1.txt", rows)


def write_mind(log: Log, folder: Path) -> Sample:
    """Impressions, each with the history before it and what was shown, clicked (`-1`) or not (`-0`)."""
    rows = log.name("U{}", "N{}")
    before = rows.groupby("user_id").item_id.transform(lambda items: [" ".join(items[:n]) for n in range(len(items))])
    columns = {
        "impression": range(1, len(rows) + 1),
        "user": rows.user_id,
        "time": write_times(rows, "%m/%d/%Y %I:%M:%S %p"),
        "history": before,
        "shown": rows.item_id + "-1 N999-0",
    }
    pd.DataFrame(columns).to_csv(folder / "behaviors.tsv", sep="\t", header=False, index=False)
    news = {
        "item": [f"N{number}" for number in log.items.item],
        "category": "news",
        "subcategory": "world",
        "title": log.items.title,
        "abstract": "What happened.",
        "url": "https://example.com/a.html",
        "title_entities": "[]",
        "abstract_entities": "[]",
    }
    pd.DataFrame(news).to_csv(folder / "news.tsv", sep="\t", header=False, index=False)
    return sample(folder, rows, titles=log.titles("N{}", "{title}"))


FORMATS = [
    Format("S3-Rec, BERT4Rec sequences", write_s3rec),
    Format("LightGCN sequences", write_lightgcn),
    Format("SASRec pairs", write_sasrec),
    Format("RecBole .inter with token_seq", write_token_seq),
    Format("list columns with times", write_list_columns),
    Format("Transformers4Rec list columns", write_transformers4rec),
    Format("Netflix blocks", write_netflix),
    Format("MIND", write_mind),
]
