"""MovieLens of every generation, RecBole's atomic files, and a sample in another library's repository."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.field_formats.log import Format, Log, Sample, list_rows, sample


def write_100k(log: Log, folder: Path) -> Sample:
    """`u.data`, and `u.item` in Latin-1 with 24 fields."""
    rows = log.name()
    table = rows.assign(rating=rows.rating.clip(1).astype(int))[["user_id", "item_id", "rating", "timestamp"]]
    table.to_csv(folder / "u.data", sep="\t", header=False, index=False)
    lines = [
        f"{row.item}|{row.title} ({row.year})|01-Jan-{row.year}||http://us.imdb.com/M/title-exact?{row.item}|"
        + "|".join("1" if flag in (1, 8) else "0" for flag in range(19))
        for row in list_rows(log.items)
    ]
    (folder / "u.item").write_text("\n".join(lines) + "\n", encoding="latin-1")
    (folder / "u.user").write_text("1|24|M|technician|85711\n")
    return sample(folder, rows, titles=log.titles())


def write_1m(log: Log, folder: Path) -> Sample:
    """`ratings.dat` with whole stars; `movies.dat` in Latin-1."""
    rows = write_dat(log, folder, log.name(), "latin-1")
    (folder / "users.dat").write_text("1::F::1::10::48067\n")
    return sample(folder, rows, titles=log.titles())


def write_1m_ratings(log: Log, folder: Path) -> Sample:
    """`ratings.dat` alone, named by its path."""
    rows = write_dat(log, folder, log.name(), "latin-1")
    (folder / "movies.dat").unlink()
    return sample(folder / "ratings.dat", rows)


def write_10m(log: Log, folder: Path) -> Sample:
    """`ratings.dat` with half stars; `movies.dat` in UTF-8; `tags.dat`."""
    rows = write_dat(log, folder, log.name(), "utf-8")
    (folder / "tags.dat").write_text("15::4973::excellent!::1215184630\n")
    return sample(folder, rows, titles=log.titles())


def write_dat(log: Log, folder: Path, rows: pd.DataFrame, encoding: str) -> pd.DataFrame:
    """Writes both files with `::` between the fields, and returns the rows."""
    ratings = rows.rating if encoding == "utf-8" else rows.rating.clip(1).astype(int)
    fields = [rows.user_id, rows.item_id, ratings.astype(str), rows.timestamp.astype(str)]
    text = pd.concat(fields, axis=1).to_csv(sep="\t", header=False, index=False)
    (folder / "ratings.dat").write_text(text.replace("\t", "::"))
    films = [f"{row.item}::{row.title} ({row.year})::{'|'.join(row.genres)}" for row in list_rows(log.items)]
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding=encoding)
    return rows


def write_latest(log: Log, folder: Path) -> Sample:
    """The folder of ml-latest-small, with tags and links."""
    rows = write_csvs(log, folder)
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n2,1,funny,1445714994\n")
    (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n")
    (folder / "README.txt").write_text("Summary\n=======\n")
    return sample(folder, rows, titles=log.titles())


def write_25m(log: Log, folder: Path) -> Sample:
    """The folder of ml-25m, which holds the tag genome as well."""
    found = write_latest(log, folder)
    (folder / "genome-scores.csv").write_text("movieId,tagId,relevance\n1,1,0.02875\n")
    (folder / "genome-tags.csv").write_text("tagId,tag\n1,007\n")
    return found


def write_20m_files(log: Log, folder: Path) -> Sample:
    """Both files of ml-20m, each named by its path."""
    rows = write_csvs(log, folder)
    return sample(folder / "ratings.csv", rows, items=folder / "movies.csv", titles=log.titles())


def write_32m_ratings(log: Log, folder: Path) -> Sample:
    """`ratings.csv` of ml-32m alone, named by its path."""
    rows = write_csvs(log, folder)
    (folder / "movies.csv").unlink()
    return sample(folder / "ratings.csv", rows)


def write_csvs(log: Log, folder: Path) -> pd.DataFrame:
    """Writes `ratings.csv` and `movies.csv`, and returns the rows."""
    rows = log.name()
    names = {"user_id": "userId", "item_id": "movieId"}
    rows.rename(columns=names)[["userId", "movieId", "rating", "timestamp"]].to_csv(folder / "ratings.csv", index=False)
    films = {
        "movieId": log.items.item,
        "title": [f"{row.title} ({row.year})" for row in list_rows(log.items)],
        "genres": log.items.genres.str.join("|").where(log.items.item != 1, "(no genres listed)"),
    }
    pd.DataFrame(films).to_csv(folder / "movies.csv", index=False)
    return rows


def write_torch_rechub(log: Log, folder: Path) -> Sample:
    """One CSV with the columns of user and film repeated in every row."""
    rows = log.name()
    films = log.items.set_index("item").loc[log.rows["item"]]
    table = pd.DataFrame(
        {
            "user_id": rows.user_id,
            "movie_id": rows.item_id,
            "rating": rows.rating.clip(1).astype(int),
            "timestamp": rows.timestamp,
            "title": films.title.to_numpy(),
            "genres": films.genres.str.join("|").to_numpy(),
            "gender": "F",
            "age": 25,
            "occupation": 12,
            "zip": "32793",
            "cate_id": 3,
        }
    )
    table.to_csv(folder / "ml-1m_sample.csv", index=False)
    return sample(folder / "ml-1m_sample.csv", rows)


def write_inter(log: Log, folder: Path) -> Sample:
    """An atomic file and its item file, each named by its path."""
    rows = write_atomic(log, folder)
    return sample(folder / "films.inter", rows, items=folder / "films.item", titles=log.titles(title="{title}"))


def write_atomic_folder(log: Log, folder: Path) -> Sample:
    """The folder of a RecBole data set, with its user file."""
    rows = write_atomic(log, folder)
    (folder / "films.user").write_text("user_id:token\tage:token\n1\t24\n")
    return sample(folder, rows, titles=log.titles(title="{title}"))


def write_atomic(log: Log, folder: Path) -> pd.DataFrame:
    """Writes `films.inter` and `films.item`, and returns the rows."""
    rows = log.name()
    types = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
    table = rows[list(types)].rename(columns={name: f"{name}:{kind}" for name, kind in types.items()})
    table.to_csv(folder / "films.inter", sep="\t", index=False)
    films = {
        "item_id:token": log.items.item,
        "movie_title:token_seq": log.items.title,
        "release_year:token": log.items.year,
        "class:token_seq": log.items.genres.str.join(" "),
    }
    pd.DataFrame(films).to_csv(folder / "films.item", sep="\t", index=False)
    return rows


FORMATS = [
    Format("ml-100k, folder", write_100k),
    Format("ml-1m, folder", write_1m),
    Format("ml-1m, ratings.dat", write_1m_ratings),
    Format("ml-10m, folder", write_10m),
    Format("ml-latest-small, folder", write_latest),
    Format("ml-25m, folder", write_25m),
    Format("ml-20m, two files", write_20m_files),
    Format("ml-32m, ratings.csv", write_32m_ratings),
    Format("torch-rechub, ml-1m sample", write_torch_rechub),
    Format("RecBole .inter and .item", write_inter),
    Format("RecBole folder", write_atomic_folder),
]
