"""Check-ins, plays, clicks and shops: delimited texts, most of them without column names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.field_formats.log import Format, Log, Sample, sample, write_times

HEADERLESS = r"column names|--columns"
EXCLUDE = ("--set", "bad_rows=exclude")


def write_table(path: Path, columns: Mapping[Any, object], separator: str = ",", header: bool = True) -> Path:
    """Writes columns of one length, or one value for every row."""
    pd.DataFrame(dict(columns)).to_csv(path, sep=separator, header=header, index=False)
    return path


def name_reviews(log: Log, user: str = "A{:013d}") -> pd.DataFrame:
    """Returns the rows with ids as Amazon's and whole stars."""
    rows = log.name(user, "B{:09d}")
    return rows.assign(rating=np.ceil(rows.rating))


def write_amazon_2014_ratings(log: Log, folder: Path) -> Sample:
    """The user comes first."""
    rows = name_reviews(log)
    columns = rows[["user_id", "item_id", "rating", "timestamp"]]
    return sample(write_table(folder / "ratings_Beauty.csv", dict(columns), header=False), rows)


def write_amazon_2018_ratings(log: Log, folder: Path) -> Sample:
    """The item comes first."""
    rows = name_reviews(log)
    columns = rows[["item_id", "user_id", "rating", "timestamp"]]
    return sample(write_table(folder / "All_Beauty.csv", dict(columns), header=False), rows)


def write_amazon_2023_csv(log: Log, folder: Path) -> Sample:
    """A 5-core file before the split; times are milliseconds."""
    rows = name_reviews(log, "AG{:026d}")
    columns = {
        "user_id": rows.user_id,
        "parent_asin": rows.item_id,
        "rating": rows.rating,
        "timestamp": rows.timestamp * 1000 + 456,
    }
    return sample(write_table(folder / "Toys_and_Games.csv", columns), rows)


def write_amazon_2023_history(log: Log, folder: Path) -> Sample:
    """A file of the split with the history beside every row."""
    rows = name_reviews(log, "AG{:026d}")
    found = write_amazon_2023_csv(log, folder)
    before = rows.groupby("user_id").item_id.transform(lambda items: [" ".join(items[:n]) for n in range(len(items))])
    table = pd.read_csv(found.path).assign(history=before)
    return sample(write_table(folder / "Toys_and_Games.train.csv", dict(table)), rows)


def write_gowalla(log: Log, folder: Path) -> Sample:
    """Check-ins, newest first: user, time, latitude, longitude, place."""
    rows = log.name()
    columns = {
        "user": rows.user_id,
        "time": write_times(rows, "%Y-%m-%dT%H:%M:%SZ"),
        "latitude": 30.2359091167,
        "longitude": -97.7951395833,
        "place": rows.item_id,
    }
    table = pd.DataFrame(columns)[::-1]
    return sample(write_table(folder / "loc-gowalla_totalCheckins.txt", dict(table), "\t", header=False), rows)


def write_foursquare(log: Log, folder: Path) -> Sample:
    """Check-ins of TSMC 2014 in Latin-1; a time is written as in a mail."""
    rows = log.name("{}", "4{:023x}")
    columns = {
        "user": rows.user_id,
        "venue": rows.item_id,
        "category": "4bf58dd8d48988d16d941735",
        "name": "Café",
        "latitude": 40.7,
        "longitude": -74.0,
        "offset": -240,
        "time": write_times(rows, "%a %b %d %H:%M:%S +0000 %Y"),
    }
    path = folder / "dataset_TSMC2014_NYC.txt"
    pd.DataFrame(columns).to_csv(path, sep="\t", header=False, index=False, encoding="latin-1")
    return sample(path, rows)


def write_lastfm(log: Log, folder: Path) -> Sample:
    """Plays, newest first; one track in twenty has no id."""
    rows = log.name("user_{:06d}", "{:08x}-8a3d-4a21-95a1-53b1a2e8d7c4")
    known = rows.index % 20 != 3
    columns = {
        "user": rows.user_id,
        "time": write_times(rows, "%Y-%m-%dT%H:%M:%SZ"),
        "artist": "f1b1cf71-bd35-4e99-8624-24a6e15f133a",
        "artist name": 'The "Quoted',
        "track": rows.item_id.where(known, ""),
        "track name": "Song's Title",
    }
    path = folder / "userid-timestamp-artid-artname-traid-traname.tsv"
    pd.DataFrame(columns)[::-1].to_csv(
        path, sep="\t", header=False, index=False, quoting=csv.QUOTE_NONE, quotechar="\0"
    )
    return sample(path, rows[known], len(rows))


def write_retailrocket(log: Log, folder: Path) -> Sample:
    """Views, carts and buys of visitors; times are milliseconds."""
    views = log.name().assign(event="view")
    carts = views[::5].assign(event="addtocart", timestamp=views.timestamp + 60)
    buys = views[::10].assign(event="transaction", timestamp=views.timestamp + 120)
    rows = pd.concat([views, carts, buys]).sort_values("timestamp", kind="stable", ignore_index=True)
    columns = {
        "timestamp": rows.timestamp * 1000 + 83,
        "visitorid": rows.user_id,
        "event": rows.event,
        "itemid": rows.item_id,
        "transactionid": pd.Series("", rows.index).mask(rows.event == "transaction", "4000"),
    }
    return sample(write_table(folder / "events.csv", columns), rows)


def write_yoochoose(log: Log, folder: Path) -> Sample:
    """Clicks: session, time, item, category."""
    rows = log.name()
    times = write_times(rows, "%Y-%m-%dT%H:%M:%S.277Z")
    columns = {"session": rows.user_id, "time": times, "item": rows.item_id, "category": "0"}
    return sample(write_table(folder / "yoochoose-clicks.dat", columns, header=False), rows)


def write_yoochoose_prepared(log: Log, folder: Path) -> Sample:
    """Clicks as session-based recommenders prepare them."""
    rows = log.name()
    columns = {"SessionId": rows.user_id, "ItemId": rows.item_id, "Time": rows.timestamp + 0.277}
    return sample(write_table(folder / "yoochoose_train_full.txt", columns, "\t"), rows)


def write_diginetica(log: Log, folder: Path) -> Sample:
    """Views with semicolons; two of three users are `NA`."""
    rows = log.name()
    known = rows.user_id.astype(int) % 3 == 0
    days = rows.timestamp - rows.timestamp % 86_400
    columns = {
        "sessionId": rows.user_id.astype(int) + 1000,
        "userId": rows.user_id.where(known, "NA"),
        "itemId": rows.item_id,
        "timeframe": (rows.timestamp - days) * 1000,
        "eventdate": write_times(rows, "%Y-%m-%d"),
    }
    path = write_table(folder / "train-item-views.csv", columns, ";")
    return sample(path, rows.assign(timestamp=days)[known], len(rows))


def write_kuairec(log: Log, folder: Path) -> Sample:
    """Watched videos; one row in twenty-five has no time."""
    rows = log.name()
    known = rows.index % 25 != 4
    columns = {
        "user_id": rows.user_id,
        "video_id": rows.item_id,
        "play_duration": 13838,
        "video_duration": 10867,
        "time": (write_times(rows, "%Y-%m-%d %H:%M:%S") + ".438").where(known, ""),
        "date": (write_times(rows, "%Y%m%d") + ".0").where(known, ""),
        "timestamp": (rows.timestamp.astype(str) + ".438").where(known, ""),
        "watch_ratio": 1.273397,
    }
    return sample(write_table(folder / "small_matrix.csv", columns), rows[known], len(rows))


def write_goodreads_csv(log: Log, folder: Path) -> Sample:
    """Shelves without a time."""
    rows = log.name()
    columns = {
        "user_id": rows.user_id,
        "book_id": rows.item_id,
        "is_read": 1,
        "rating": rows.rating.astype(int),
        "is_reviewed": 0,
    }
    return sample(write_table(folder / "goodreads_interactions.csv", columns), rows)


def write_book_crossing(log: Log, folder: Path) -> Sample:
    """Ratings without a time, every field quoted, in Latin-1."""
    rows = log.name("27{:04d}", "03452{:05d}")
    columns = {"User-ID": rows.user_id, "ISBN": rows.item_id, "Book-Rating": rows.rating.astype(int)}
    path = folder / "BX-Book-Ratings.csv"
    pd.DataFrame(columns).to_csv(path, sep=";", index=False, quoting=csv.QUOTE_ALL, encoding="latin-1")
    return sample(path, rows)


def write_criteo(log: Log, folder: Path) -> Sample:
    """Clicks on advertisements, which name neither users nor items."""
    rows = log.name()
    columns = {"label": 1} | {f"I{n}": 1.0 for n in range(1, 14)} | {f"C{n}": "68fd1e64" for n in range(1, 27)}
    table = pd.DataFrame([columns] * len(rows))
    table.to_csv(folder / "criteo_sample.csv", index=False)
    return sample(folder / "criteo_sample.csv", rows)


FORMATS = [
    Format("Amazon 2014, ratings only", write_amazon_2014_ratings),
    Format(
        "Amazon 2018, ratings only",
        write_amazon_2018_ratings,
        HEADERLESS,
        ("--columns", "item_id=1,user_id=2,rating=3,timestamp=4"),
    ),
    Format("Amazon 2023, 5-core CSV", write_amazon_2023_csv),
    Format("Amazon 2023, CSV with history", write_amazon_2023_history),
    Format("Gowalla", write_gowalla),
    Format("Foursquare TSMC 2014", write_foursquare),
    Format("LastFM-1K", write_lastfm, r"line \d+.*missing|expected an id", EXCLUDE),
    Format("RetailRocket", write_retailrocket),
    Format("Yoochoose, clicks", write_yoochoose),
    Format("Yoochoose, prepared", write_yoochoose_prepared),
    Format("Diginetica", write_diginetica, r"line \d+.*'NA'", EXCLUDE),
    Format("KuaiRec", write_kuairec, r"line \d+.*timestamp", EXCLUDE),
    Format("Goodreads, CSV", write_goodreads_csv, r"timestamp"),
    Format("Book-Crossing", write_book_crossing, r"timestamp"),
    Format("Criteo", write_criteo, r"user_id"),
]
