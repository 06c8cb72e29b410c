"""The published layouts of the field, as they are, in our reader and in those of other packages.

    python -m benchmarks.peer_formats outputs/bench/formats \
        --peer recbole=PYTHON --peer rectools=PYTHON --peer cornac=PYTHON --peer datarec=PYTHON

writes every layout of `benchmarks/field_formats`, reads each with `ur4rec data preprocess`, and lets the interpreter of
each peer's environment read them with this same file, which imports nothing of ours there. A peer gets the options of
its own reader that fit the file best (separator, columns, kind of layout), and its file by the name that it asks for.
Code around the reader is not written: what needs it counts as not read.

| outcome | meaning |
|---|---|
| yes | users, items and their order in time are those of the file |
| yes, N options | the same, when the user says so much |
| no order | the pairs are right; the times came back as text that does not sort |
| wrong | reads without an error; what comes out differs from the file |
| no | an error, or no reader |
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = ["user", "item", "time"]
Options = dict[str, Any]
RATINGS_CSV: Options = {
    "sep": ",", "header": 0, "user_col": "userId", "item_col": "movieId", "timestamp_col": "timestamp"
}  # fmt: skip
AMAZON_JSON: Options = {"user_col": "reviewerID", "item_col": "asin", "timestamp_col": "unixReviewTime"}


def _numbered(sep: str, num_columns: int, user: int, item: int, time: int | None = None, **more: object) -> Options:
    """Options of datarec for a text without column names; with `header=None` it would take the first row for names."""
    columns = {"user_col": f"c{user}", "item_col": f"c{item}", "timestamp_col": None if time is None else f"c{time}"}
    return {"sep": sep, "cols": [f"c{position}" for position in range(num_columns)]} | columns | more


def _named(sep: str, user: str, item: str, time: str | None = None, **more: object) -> Options:
    """Options of datarec for a text with column names."""
    return {"sep": sep, "header": 0, "user_col": user, "item_col": item, "timestamp_col": time} | more


DATAREC: dict[str, tuple[str, str, Options]] = {
    "ml-100k, folder": ("transactions_tabular", "u.data", _numbered("\t", 4, 0, 1, 3)),
    "ml-1m, folder": ("transactions_tabular", "ratings.dat", _numbered("::", 4, 0, 1, 3, engine="python")),
    "ml-1m, ratings.dat": ("transactions_tabular", "", _numbered("::", 4, 0, 1, 3, engine="python")),
    "ml-10m, folder": ("transactions_tabular", "ratings.dat", _numbered("::", 4, 0, 1, 3, engine="python")),
    "ml-latest-small, folder": ("transactions_tabular", "ratings.csv", RATINGS_CSV),
    "ml-25m, folder": ("transactions_tabular", "ratings.csv", RATINGS_CSV),
    "ml-20m, two files": ("transactions_tabular", "", RATINGS_CSV),
    "ml-32m, ratings.csv": ("transactions_tabular", "", RATINGS_CSV),
    "torch-rechub, ml-1m sample": ("transactions_tabular", "", _named(",", "user_id", "movie_id", "timestamp")),
    "RecBole .inter and .item": (
        "transactions_tabular", "", _named("\t", "user_id:token", "item_id:token", "timestamp:float")
    ),
    "RecBole folder": (
        "transactions_tabular", "films.inter", _named("\t", "user_id:token", "item_id:token", "timestamp:float")
    ),
    "Amazon 2014, JSON lines": ("transactions_jsonl", "", AMAZON_JSON),
    "Amazon 2014, JSON lines .gz": ("transactions_jsonl", "", AMAZON_JSON),
    "Amazon 2018, JSON lines .gz": ("transactions_jsonl", "", AMAZON_JSON),
    "Amazon 2023, JSON lines": (
        "transactions_jsonl", "", {"user_col": "user_id", "item_col": "parent_asin", "timestamp_col": "timestamp"}
    ),
    "Steam, Python literals": (
        "transactions_jsonl", "", {"user_col": "username", "item_col": "product_id", "timestamp_col": "date"}
    ),
    "Yelp, JSON lines": (
        "transactions_jsonl", "", {"user_col": "user_id", "item_col": "business_id", "timestamp_col": "date"}
    ),
    "Goodreads, JSON lines .gz": (
        "transactions_jsonl", "", {"user_col": "user_id", "item_col": "book_id", "timestamp_col": "date_added"}
    ),
    "Amazon 2014, ratings only": ("transactions_tabular", "", _numbered(",", 4, 0, 1, 3)),
    "Amazon 2018, ratings only": ("transactions_tabular", "", _numbered(",", 4, 1, 0, 3)),
    "Amazon 2023, 5-core CSV": ("transactions_tabular", "", _named(",", "user_id", "parent_asin", "timestamp")),
    "Amazon 2023, CSV with history": ("transactions_tabular", "", _named(",", "user_id", "parent_asin", "timestamp")),
    "Gowalla": ("transactions_tabular", "", _numbered("\t", 5, 0, 4, 1)),
    "Foursquare TSMC 2014": ("transactions_tabular", "", _numbered("\t", 8, 0, 1, 7, encoding="latin-1")),
    "LastFM-1K": ("transactions_tabular", "", _numbered("\t", 6, 0, 4, 1, quotechar=None)),
    "RetailRocket": ("transactions_tabular", "", _named(",", "visitorid", "itemid", "timestamp")),
    "Yoochoose, clicks": ("transactions_tabular", "", _numbered(",", 4, 0, 2, 1)),
    "Yoochoose, prepared": ("transactions_tabular", "", _named("\t", "SessionId", "ItemId", "Time")),
    "Diginetica": ("transactions_tabular", "", _named(";", "userId", "itemId", "eventdate")),
    "KuaiRec": ("transactions_tabular", "", _named(",", "user_id", "video_id", "timestamp")),
    "Goodreads, CSV": ("transactions_tabular", "", _named(",", "user_id", "book_id")),
    "Book-Crossing": ("transactions_tabular", "", _named(";", "User-ID", "ISBN", encoding="latin-1")),
    "S3-Rec, BERT4Rec sequences": (
        "sequence_tabular_wide", "", {"user_col": "user", "item_col": "item", "col_sep": " "}
    ),
    "LightGCN sequences": ("sequence_tabular_wide", "", {"user_col": "user", "item_col": "item", "col_sep": " "}),
    "SASRec pairs": ("transactions_tabular", "", _numbered(" ", 2, 0, 1)),
    "RecBole .inter with token_seq": (
        "sequence_tabular_inline",
        "",
        {"user_col": "session_id:token", "sequence_col": "item_id_list:token_seq", "col_sep": "\t", "header": 0},
    ),
    "Netflix blocks": (
        "transactions_blocks",
        "",
        {"block_by": "item", "event_layout": "id,rating,timestamp", "sep": ",", "rating_col": "rating"}
        | {"timestamp_col": "timestamp"},
    ),
    "CSV": ("transactions_tabular", "", _named(",", "user_id", "item_id", "timestamp")),
    "TSV": ("transactions_tabular", "", _named("\t", "user_id", "item_id", "timestamp")),
    "CSV with semicolons": ("transactions_tabular", "", _named(";", "user_id", "item_id", "timestamp")),
} | {
    f"CSV {ending}": ("transactions_tabular", "", _named(",", "user_id", "item_id", "timestamp"))
    for ending in (".gz", ".bz2", ".xz", ".zst")
}  # fmt: skip
"""Layout → the reader after `read_`, the file in a folder, and its options."""

CORNAC: dict[str, tuple[str, Options]] = {
    "ml-100k, folder": ("u.data", {"fmt": "UIRT"}),
    "ml-1m, folder": ("ratings.dat", {"fmt": "UIRT", "sep": "::"}),
    "ml-1m, ratings.dat": ("", {"fmt": "UIRT", "sep": "::"}),
    "ml-10m, folder": ("ratings.dat", {"fmt": "UIRT", "sep": "::"}),
    "ml-latest-small, folder": ("ratings.csv", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "ml-25m, folder": ("ratings.csv", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "ml-20m, two files": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "ml-32m, ratings.csv": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "torch-rechub, ml-1m sample": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "RecBole .inter and .item": ("", {"fmt": "UIRT", "skip_lines": 1}),
    "RecBole folder": ("films.inter", {"fmt": "UIRT", "skip_lines": 1}),
    "Amazon 2014, ratings only": ("", {"fmt": "UIRT", "sep": ","}),
    "Amazon 2018, ratings only": ("", {"fmt": "UIRT", "sep": ","}),
    "Amazon 2023, 5-core CSV": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "Amazon 2023, CSV with history": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "Gowalla": ("", {"fmt": "UIRT"}),
    "Yoochoose, clicks": ("", {"fmt": "UIR", "sep": ","}),
    "Yoochoose, prepared": ("", {"fmt": "SIT", "skip_lines": 1}),
    "Diginetica": ("", {"fmt": "UIRT", "sep": ";", "skip_lines": 1}),
    "KuaiRec": ("", {"fmt": "UIR", "sep": ",", "skip_lines": 1}),
    "Goodreads, CSV": ("", {"fmt": "UIR", "sep": ",", "skip_lines": 1}),
    "Book-Crossing": ("", {"fmt": "UIR", "sep": ";", "skip_lines": 1, "encoding": "latin-1"}),
    "S3-Rec, BERT4Rec sequences": ("", {"fmt": "UI", "sep": " "}),
    "LightGCN sequences": ("", {"fmt": "UI", "sep": " "}),
    "SASRec pairs": ("", {"fmt": "UI", "sep": " "}),
    "Netflix blocks": ("", {"fmt": "UIR", "sep": ","}),
    "CSV": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
    "TSV": ("", {"fmt": "UIRT", "skip_lines": 1}),
    "CSV with semicolons": ("", {"fmt": "UIRT", "sep": ";", "skip_lines": 1}),
    "CSV .gz": ("", {"fmt": "UIRT", "sep": ",", "skip_lines": 1}),
}
"""Layout → the file in a folder, and the options of `Reader` and `read`; the order of the fields is the reader's."""


def read_datarec(name: str, path: Path) -> tuple[pd.DataFrame, int]:
    """The rows, and how many options were needed."""
    import datarec.io.readers.sequences.tabular as sequences
    from datarec.io.readers.transactions import blocks, jsonl, tabular

    reader, file, options = DATAREC[name]
    modules = (tabular, jsonl, blocks, sequences)
    read = next(getattr(module, f"read_{reader}") for module in modules if hasattr(module, f"read_{reader}"))
    raw = read(str(path / file if file else path), **options)
    columns = [raw.user_col, raw.item_col, *([raw.timestamp_col] if raw.timestamp_col else [])]
    rows = raw.data[columns].set_axis(COLUMNS[: len(columns)], axis=1)
    return rows, len([value for value in options.values() if value is not None])


def read_cornac(name: str, path: Path) -> tuple[pd.DataFrame, int]:
    """The rows, and how many options were needed."""
    from cornac.data import Reader

    file, options = CORNAC[name]
    rest = {key: value for key, value in options.items() if key != "encoding"}
    tuples = Reader(encoding=options.get("encoding", "utf-8")).read(str(path / file if file else path), **rest)
    names = [{"U": "user", "S": "user", "I": "item", "R": "rating", "T": "time"}[sign] for sign in options["fmt"]]
    names += ["rating"] * (len(names) == 2)
    frame = pd.DataFrame(tuples, columns=names)
    return frame[[name for name in COLUMNS if name in frame]], len(options)


def read_recbole(name: str, path: Path) -> tuple[pd.DataFrame, int]:
    """The rows; the file is put where RecBole looks for it."""
    from recbole.config import Config
    from recbole.data import create_dataset

    file = next(iter(path.glob("*.inter")), None) if path.is_dir() else path
    if file is None or b"\0" in file.read_bytes():
        raise ValueError("no reader")
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "x").mkdir()
        (Path(scratch) / "x/x.inter").write_bytes(file.read_bytes())
        settings = {"data_path": scratch, "load_col": None, "state": "ERROR", "USER_ID_FIELD": "user_id"}
        if "token_seq" in name:
            settings |= {"USER_ID_FIELD": "session_id"}
        data = create_dataset(Config(model="BPR", dataset="x", config_dict=settings))
    feature = data.inter_feat
    user, item = data.uid_field, data.iid_field
    rows = {"user": data.id2token(user, feature[user]), "item": data.id2token(item, feature[item])}
    if "item_id_list" in feature:  # the items before that one
        before = [list(data.id2token("item_id_list", items)) for items in feature["item_id_list"]]
        lists = [[*items, last] for items, last in zip(before, rows["item"], strict=True)]
        return pd.DataFrame({"user": rows["user"], "item": lists}).explode("item"), 0
    return pd.DataFrame(rows | ({"time": feature["timestamp"]} if "timestamp" in feature else {})), 0


def read_rectools(name: str, path: Path) -> tuple[pd.DataFrame, int]:
    """RecTools takes a table with `user_id, item_id, weight, datetime`; it has no reader of files."""
    from rectools.dataset import Dataset

    read: Callable[..., pd.DataFrame] = pd.read_parquet if path.suffix == ".parquet" else pd.read_csv
    data = Dataset.construct(read(path))
    return data.get_raw_interactions().set_axis(["user", "item", "weight", "time"], axis=1)[COLUMNS], 0


PEERS = {"datarec": read_datarec, "cornac": read_cornac, "recbole": read_recbole, "rectools": read_rectools}


def judge(rows: pd.DataFrame, expected: pd.DataFrame) -> str:
    """Compares the rows of a reader with those of the file; what it calls missing is left out."""
    rows = rows.dropna(ignore_index=True).astype({"user": str, "item": str}).replace(r"\.0$", "", regex=True)
    if sorted(zip(rows.user, rows["item"], strict=True)) != sorted(zip(expected.user, expected["item"], strict=True)):
        return "wrong"
    ordered = rows.sort_values("time", kind="stable") if "time" in rows else rows
    lists = [frame.groupby("user")["item"].agg(list).to_dict() for frame in (ordered, expected)]
    return "yes" if lists[0] == lists[1] else "no order"


def read_all(peer: str, folder: Path) -> dict[str, str]:
    """Layout → outcome, for one peer, in its environment."""
    outcomes = {}
    for entry in json.loads((folder / "index.json").read_text()):
        expected = pd.read_csv(folder / entry["expected"], dtype=str).set_axis(COLUMNS, axis=1)
        try:
            rows, num_options = PEERS[peer](entry["name"], folder / entry["path"])
            outcome = judge(rows, expected)
            outcomes[entry["name"]] = f"yes, {num_options} options" if outcome == "yes" and num_options else outcome
        except KeyError as error:
            outcomes[entry["name"]] = f"no: no reader for {error}"
        except Exception as error:  # whatever ends the reading, it is told
            outcomes[entry["name"]] = f"no: {type(error).__name__}: {error}".splitlines()[0][:90]
    return outcomes


def read_ours(folder: Path) -> dict[str, str]:
    """Layout → outcome of `ur4rec data preprocess`."""
    from typer.testing import CliRunner

    from benchmarks.field_formats import CONTAINERS, PUBLISHED
    from ur4rec.cli import app
    from ur4rec.data.sequences import load_sequences

    outcomes = {}
    entries = json.loads((folder / "index.json").read_text())
    for form, entry in zip([*PUBLISHED, *CONTAINERS], entries, strict=True):
        out = folder / "sequences"
        result = CliRunner(env={"COLUMNS": "1000"}).invoke(
            app, ["data", "preprocess", str(folder / entry["path"]), "-o", str(out)]
        )
        if result.exit_code:
            outcomes[form.name] = f"no: {result.stderr.strip() or result.exception}"
            continue
        data = load_sequences(out)
        history = data.histories("full")
        rows = pd.DataFrame(
            {
                "user": [data.user_ids[user] for user in history.users],
                "item": [data.item_ids[item] for item in history.items],
                "time": history.timestamps,
            }
        )
        outcomes[form.name] = judge(rows, pd.read_csv(folder / entry["expected"], dtype=str).set_axis(COLUMNS, axis=1))
    return outcomes


def main(folder: Path, interpreters: dict[str, str]) -> None:
    """Writes the layouts, lets everybody read them, and prints the table."""
    from benchmarks.field_formats import write_all

    write_all(folder)
    outcomes = {"ur4rec": read_ours(folder)}
    for peer, interpreter in interpreters.items():
        command = [interpreter, str(Path(__file__).resolve()), str(folder.resolve()), peer]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        outcomes[peer] = json.loads(done.stdout.splitlines()[-1])
    (folder / "outcomes.json").write_text(json.dumps(outcomes, indent=1))
    print(f"| layout | {' | '.join(outcomes)} |\n|{'---|' * (len(outcomes) + 1)}")
    for name in outcomes["ur4rec"]:
        print(f"| {name} | {' | '.join(outcome[name].split(':')[0] for outcome in outcomes.values())} |")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[1] in PEERS:
        print(json.dumps(read_all(arguments[1], Path(arguments[0]))))
    else:
        named = [argument.split("=", 1) for argument in arguments[1:] if argument != "--peer"]
        main(Path(arguments[0]), dict(named))
