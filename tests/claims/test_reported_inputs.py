"""Inputs that practitioners have, by command: what is said of each, and what comes out.

Every file is generated small. What the parts do is tested beside them; this is the whole way from the file to the
sequences.
"""

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_commands import Outcome, accept, preprocess, refuse, run

from benchmarks.field_formats import make_log
from benchmarks.field_formats.log import DAY_S

LOG = make_log()
GOOD = LOG.name()
"""177 interactions of 20 users with 30 items; ids are whole numbers, times are seconds."""
FIRST_S = int(GOOD.timestamp.min())
EXCLUDE = ("--set", "bad_rows=exclude")
DRAW = np.random.default_rng(3)


def write(folder: Path, table: pd.DataFrame, name: str = "plays.csv") -> Path:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / name, index=False)
    return folder / name


def write_items(folder: Path, name: str = "songs.csv", encoding: str = "utf-8", **columns: object) -> Path:
    table = pd.DataFrame({"item_id": LOG.items.item, "title": LOG.items.title, "genres": "Drama|Comedy"} | columns)
    table.to_csv(folder / name, index=False, encoding=encoding)
    return folder / name


def shuffle(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    return table.sample(frac=1, random_state=seed)


def check_rows(outcome: Outcome, expected: pd.DataFrame) -> None:
    """Every user's items and times, in their order."""
    wanted = expected.astype({"user_id": str, "item_id": str, "timestamp": int})
    order = ["user_id", "timestamp"]
    pd.testing.assert_frame_equal(
        outcome.rows.sort_values(order, kind="stable", ignore_index=True),
        wanted[["user_id", "item_id", "timestamp"]].sort_values(order, kind="stable", ignore_index=True),
        check_dtype=False,
    )


def test_repeated_consumption_is_told_with_the_setting_that_it_asks_for(tmp_path: Path) -> None:
    plays = pd.DataFrame({"user_id": np.repeat(np.arange(40), 30), "item_id": DRAW.integers(0, 8, 1200)})
    path = write(tmp_path, plays.assign(timestamp=FIRST_S + np.arange(1200) * 60))
    outcome = accept(path, tmp_path / "out")
    told = outcome.shown + run("data", "show", tmp_path / "out").shown
    for text in (outcome.shown, told):
        assert re.search(r"\d[\d.]* ?% of .*targets", text)
        assert "seen_items" in text
    assert "seen_items" not in accept(write(tmp_path, GOOD), tmp_path / "fresh").shown


@pytest.mark.slow
def test_titles_that_the_encoder_cannot_read_stop_the_encoding(tmp_path: Path) -> None:
    signs = "潜声暗林平风红甄月余围水鬼西黑记年灯的榜图浒盗白"
    titles = ["".join(DRAW.choice(list(signs), 5)) for _ in LOG.items.item]
    items = write_items(tmp_path, title=titles, genres="科幻|小说")
    sequences, texts = tmp_path / "sequences", tmp_path / "texts"
    accept(write(tmp_path, GOOD), sequences, items=items)
    assert run("text", "generate", sequences, "-o", texts).code == 0
    outcome = run("text", "encode", sequences, texts, "-o", tmp_path / "embeddings")
    assert outcome.code == 2
    assert "multilingual" in outcome.error
    assert "text_model_name" in outcome.error
    assert re.search(r"\d+ ?%", outcome.error)
    assert not (tmp_path / "embeddings").exists()


@pytest.mark.parametrize("word", ["NA", "NULL", "null", "nan", "NaN", "None", r"\N", "", " "])
@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_word_for_nothing_is_no_id(tmp_path: Path, word: str, column: str) -> None:
    known = GOOD.index % 5 != 2
    path = write(tmp_path, GOOD.assign(**{column: GOOD[column].where(known, word)}))
    assert re.search(rf"line 4, column '{column}'", refuse(path, tmp_path / "no"))
    outcome = accept(path, tmp_path / "out", *EXCLUDE)
    check_rows(outcome, GOOD[known])
    assert outcome.manifest.details["excluded_rows"] == {f"missing_{column}": int((~known).sum())}
    assert f"{(~known).sum()}" in outcome.shown


def test_one_user_with_a_large_share_of_all_rows_is_told(tmp_path: Path) -> None:
    own = pd.DataFrame({"user_id": "unknown", "item_id": GOOD.item_id, "timestamp": GOOD.timestamp + 1})
    shown = accept(write(tmp_path, pd.concat([GOOD, own])), tmp_path / "out").shown
    assert re.search(r"warning.*'unknown'", shown)
    assert re.search(r"50(\.\d)? ?%", shown)


@pytest.mark.parametrize(
    ("encoding", "title", "named"),
    [
        ("gb18030", "潜伏在鬼吹灯的故事里面", "gb18030|gbk|gb2312"),
        ("big5", "流浪地球與三體的故事", "big5"),
        ("shift_jis", "千と千尋の神隠し、となりのトトロ", "shift_?jis|cp932"),
        ("cp1251", "Война и мир, и ещё одна история", "1251"),
        ("utf-16", "Le café de la gare", "utf-?16"),
        ("latin-1", "Les misérables à l'été", "latin|8859|1252"),
    ],
)
def test_an_encoding_is_told_and_read_when_it_is_named(tmp_path: Path, encoding: str, title: str, named: str) -> None:
    items = write_items(tmp_path, encoding=encoding, title=[f"{title} {n}" for n in LOG.items.item])
    plays = write(tmp_path, GOOD)
    outcome = preprocess(plays, tmp_path / "as_it_is", items=items)
    if outcome.code:
        line = refuse(plays, tmp_path / "no", items=items)
        assert re.search(named, line, re.IGNORECASE), line
        outcome = accept(plays, tmp_path / "out", "--encoding", encoding, items=items)
    assert outcome.titles["1"] == f"{title} 1"


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: bytes(pa.compress(content, codec="zstd", asbytes=True)),
}


@pytest.mark.parametrize("ending", COMPRESS)
def test_what_is_compressed_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"plays.csv.{ending}"
    path.write_bytes(COMPRESS[ending](GOOD.to_csv(index=False).encode()))
    check_rows(accept(path, tmp_path / "out"), GOOD)


@pytest.mark.parametrize("ending", COMPRESS)
def test_what_is_compressed_under_another_name_is_read_or_called_what_it_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "plays.csv"
    path.write_bytes(COMPRESS[ending](GOOD.to_csv(index=False).encode()))
    outcome = preprocess(path, tmp_path / "out")
    if outcome.code == 0:
        check_rows(outcome, GOOD)
    else:
        names = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd|Zstandard"}
        line = refuse(path, tmp_path / "no")
        assert re.search(names[ending], line)
        assert "iconv" not in line


def test_dates_in_digits_are_dates(tmp_path: Path) -> None:
    days = GOOD.timestamp - GOOD.timestamp % DAY_S
    dates = pd.to_datetime(days, unit="s").dt.strftime("%Y%m%d")
    outcome = accept(write(tmp_path, GOOD.assign(timestamp=dates)), tmp_path / "out")
    check_rows(outcome, GOOD.assign(timestamp=days))
    assert "times: 2017-07-15" in outcome.shown


def test_days_of_a_spreadsheet_are_dates_or_a_question(tmp_path: Path) -> None:
    serial = GOOD.timestamp / DAY_S + 25_569
    path = write(tmp_path, GOOD.assign(timestamp=serial.map("{:.6f}".format)))
    outcome = preprocess(path, tmp_path / "out")
    if outcome.code == 0:
        assert (outcome.rows.timestamp.min() - FIRST_S) in (-1, 0)
    else:
        assert re.search("Excel|spreadsheet", refuse(path, tmp_path / "no"))


@pytest.mark.parametrize(
    ("divisor", "unit"), [(1 / 1000, "milliseconds"), (1 / 10**6, "microseconds"), (1 / 10**9, "nanoseconds")]
)
def test_finer_units_are_read_and_told(tmp_path: Path, divisor: float, unit: str) -> None:
    factor = round(1 / divisor)
    outcome = accept(write(tmp_path, GOOD.assign(timestamp=GOOD.timestamp * factor + 1)), tmp_path / "out")
    check_rows(outcome, GOOD)
    assert unit in outcome.shown


@pytest.mark.parametrize(
    "times",
    [
        pytest.param((GOOD.timestamp - FIRST_S) // DAY_S, id="days from 0"),
        pytest.param(GOOD.timestamp // 60, id="minutes"),
    ],
)
def test_coarser_units_are_taken_with_a_warning_of_the_range(tmp_path: Path, times: "pd.Series[int]") -> None:
    outcome = preprocess(write(tmp_path, GOOD.assign(timestamp=times)), tmp_path / "out")
    told = outcome.shown + outcome.error
    assert re.search(r"19[78]\d|warning", told)
    assert "seconds" in told or "minutes" in told


def test_ticks_since_year_1_are_not_called_nanoseconds(tmp_path: Path) -> None:
    ticks = GOOD.timestamp * 10**7 + 621_355_968 * 10**9
    path = write(tmp_path, GOOD.assign(timestamp=ticks))
    outcome = preprocess(path, tmp_path / "out")
    if outcome.code == 0:
        check_rows(outcome, GOOD)
    else:
        assert "ticks" in refuse(path, tmp_path / "no")


@pytest.mark.parametrize("columns", [["item_id"], ["user_id"], ["user_id", "item_id"]])
def test_whole_numbers_with_a_point_are_the_ids_without_it(tmp_path: Path, columns: list[str]) -> None:
    pointed = {column: GOOD[column] + ".0" for column in columns}
    outcome = accept(write(tmp_path, GOOD.assign(**pointed)), tmp_path / "out", items=write_items(tmp_path))
    check_rows(outcome, GOOD)
    assert outcome.manifest.details["items"]["without_row"] == 0


def test_half_of_a_column_with_a_point_is_still_one_user_each(tmp_path: Path) -> None:
    half = GOOD.user_id.where(GOOD.index % 2 == 0, GOOD.user_id + ".0")
    check_rows(accept(write(tmp_path, GOOD.assign(user_id=half)), tmp_path / "out"), GOOD)


def test_ids_of_the_item_table_are_read_by_the_same_rule(tmp_path: Path) -> None:
    items = write_items(tmp_path, item_id=LOG.items.item.astype(float))
    outcome = accept(write(tmp_path, GOOD), tmp_path / "out", items=items)
    assert outcome.manifest.details["items"]["without_row"] == 0


def test_missing_users_beside_numbers_with_a_point_are_counted(tmp_path: Path) -> None:
    known = GOOD.index % 7 != 0
    users = (GOOD.user_id + ".0").where(known, "")
    check_rows(accept(write(tmp_path, GOOD.assign(user_id=users)), tmp_path / "out", *EXCLUDE), GOOD[known])


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param((GOOD.user_id.astype(int) + 1.2e18).map("{:.1e}".format), id="pandas"),
        pytest.param((GOOD.user_id.astype(int) + 1e11).map("{:.5E}".format), id="spreadsheet"),
    ],
)
def test_numbers_that_have_lost_digits_are_refused(tmp_path: Path, ids: "pd.Series[str]") -> None:
    line = refuse(write(tmp_path, GOOD.assign(user_id=ids)), tmp_path / "out")
    assert re.search("digits|rounded", line)
    assert ids[0] in line


def test_floats_over_two_to_the_53_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    GOOD.assign(user_id=GOOD.user_id.astype(int) + 2.0**60).to_parquet(path)
    assert re.search("digits|rounded|2\\^53|2⁵³", refuse(path, tmp_path / "out"))


def test_an_item_table_that_fits_nothing_is_refused_with_an_id_of_each_side(tmp_path: Path) -> None:
    items = write_items(tmp_path, item_id=[f"tt{n:07d}" for n in LOG.items.item])
    line = refuse(write(tmp_path, GOOD), tmp_path / "out", items=items)
    assert "tt0000001" in line
    assert re.search(r"'\d+'", line)


def test_ties_that_decide_the_targets_are_counted(tmp_path: Path) -> None:
    tied = GOOD.assign(timestamp=GOOD.groupby("user_id").timestamp.transform("min") // DAY_S * DAY_S)
    outcome = accept(write(tmp_path, shuffle(tied, 1)), tmp_path / "out")
    assert re.search(r"20 of 20 test targets|100(\.0)? ?% of (the )?(test )?targets", outcome.shown)
    assert "order" in outcome.shown
    assert "warning" in outcome.shown
    assert outcome.manifest.details["timestamps"]["tied_targets"]
    assert "order of the file" not in accept(write(tmp_path, GOOD), tmp_path / "untied").shown


EVENTS = pd.concat([GOOD.assign(event="view"), GOOD[::5].assign(event="buy", timestamp=GOOD.timestamp + 60)])


def test_types_of_events_are_told_with_their_counts_and_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, EVENTS.drop(columns="rating"))
    shown = accept(path, tmp_path / "all").shown
    assert re.search(r"view\D+177", shown)
    assert re.search(r"buy\D+36", shown)
    assert "--events" in shown
    views = accept(path, tmp_path / "views", "--events", "view")
    check_rows(views, GOOD)
    assert 36 in views.manifest.details["excluded_rows"].values()
    assert "click" in refuse(path, tmp_path / "no", "--events", "click")


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    outcome = accept(write(tmp_path, GOOD.assign(device="phone")), tmp_path / "out")
    assert "device" in outcome.shown
    assert "rating" in outcome.shown


@pytest.mark.parametrize("rating", ["NA", "view", "", "1,000"])
def test_a_rating_that_is_not_used_makes_no_row_bad(tmp_path: Path, rating: str) -> None:
    check_rows(accept(write(tmp_path, GOOD.assign(rating=rating)), tmp_path / "out"), GOOD)


def test_a_truth_value_for_a_rating_that_is_not_used_is_no_matter(tmp_path: Path) -> None:
    GOOD.assign(rating=True).to_parquet(tmp_path / "plays.parquet")
    check_rows(accept(tmp_path / "plays.parquet", tmp_path / "out"), GOOD)


def test_a_rating_that_is_used_must_be_one(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.assign(rating=GOOD.rating.astype(str).where(GOOD.index != 3, "view")))
    assert "line 5, column 'rating'" in refuse(path, tmp_path / "out", "--set", "min_rating=1")


def test_a_hint_names_a_column_that_can_be_it_and_every_missing_column_has_one(tmp_path: Path) -> None:
    shelves = pd.DataFrame({"user_id": [0], "book_id": [948], "is_read": [1], "rating": [5], "is_reviewed": [0]})
    line = refuse(write(tmp_path, shelves), tmp_path / "out")
    assert "'is_reviewed'?" not in line
    assert "timestamp" in line
    other = pd.DataFrame({"who": [1], "what": [2], "rating": [3]})
    line = refuse(write(tmp_path, other, "other.csv"), tmp_path / "out")
    assert all(name in line for name in ("user_id", "item_id", "timestamp", "--columns"))


@pytest.mark.parametrize(
    "names",
    [
        ("reviewerID", "asin", "unixReviewTime"),
        ("customer_id", "product_id", "event_time"),
        ("userId", "movieId", "timestamp"),
        ("visitorid", "itemid", "timestamp"),
        ("user_id", "parent_asin", "timestamp"),
    ],
)
def test_names_of_the_field_are_taken_without_a_question(tmp_path: Path, names: tuple[str, str, str]) -> None:
    table = GOOD.rename(columns=dict(zip(("user_id", "item_id", "timestamp"), names, strict=True)))
    outcome = accept(write(tmp_path, table), tmp_path / "out")
    check_rows(outcome, GOOD)
    assert all(name in outcome.shown for name in names if name not in ("user_id", "timestamp"))


def test_columns_are_named_by_an_option(tmp_path: Path) -> None:
    table = GOOD.rename(columns={"user_id": "who", "item_id": "what", "timestamp": "when"})
    outcome = accept(write(tmp_path, table), tmp_path / "out", "--columns", "user_id=who,item_id=what,timestamp=when")
    check_rows(outcome, GOOD)
    assert "nobody" in refuse(write(tmp_path, table), tmp_path / "no", "--columns", "user_id=nobody")


@pytest.mark.parametrize(
    "layout", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+00:00"]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_times_as_text_are_read_in_utc(tmp_path: Path, layout: str, suffix: str) -> None:
    table = GOOD.assign(timestamp=pd.to_datetime(GOOD.timestamp, unit="s").dt.strftime(layout))
    path = tmp_path / f"plays.{suffix}"
    path.write_bytes(table.to_csv(index=False).encode() if suffix == "csv" else b"")
    if suffix == "parquet":
        table.to_parquet(path)
    check_rows(accept(path, tmp_path / "out"), GOOD)


def test_a_zone_of_a_time_is_obeyed(tmp_path: Path) -> None:
    local = pd.to_datetime(GOOD.timestamp + 2 * 3600, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")
    check_rows(accept(write(tmp_path, GOOD.assign(timestamp=local)), tmp_path / "out"), GOOD)


def test_times_in_both_forms_are_named_by_their_line(tmp_path: Path) -> None:
    text = pd.to_datetime(GOOD.timestamp, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S")
    mixed = text.where(GOOD.index != 4, "yesterday")
    assert "line 6" in refuse(write(tmp_path, GOOD.assign(timestamp=mixed)), tmp_path / "out")


def test_atomic_files_are_told_with_the_columns_that_are_used(tmp_path: Path) -> None:
    lines = [f"{row.user_id}\t{row.item_id}\t{row.rating}\t{row.timestamp}" for row in GOOD.itertuples()]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (tmp_path / "films.inter").write_text("\n".join([header, *lines]) + "\n")
    films = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    films += [f"{row.item}\t{row.title}\t{row.year}\tDrama Comedy" for row in LOG.items.itertuples()]
    (tmp_path / "films.item").write_text("\n".join(films) + "\n")
    outcome = accept(tmp_path / "films.inter", tmp_path / "out", items=tmp_path / "films.item")
    check_rows(outcome, GOOD)
    assert re.search("read as .*RecBole", outcome.shown)
    assert outcome.titles["2"].startswith(LOG.items.title[1])


def write_movielens(folder: Path, generation: str) -> Path:
    folder.mkdir()
    if generation == "latest":
        write(folder, GOOD.rename(columns={"user_id": "userId", "item_id": "movieId"}), "ratings.csv")
        films = pd.DataFrame({"movieId": LOG.items.item, "title": LOG.items.title + " (1961)", "genres": "Drama"})
        write(folder, films, "movies.csv")
    else:
        rows = [f"{row.user_id}::{row.item_id}::{row.rating}::{row.timestamp}" for row in GOOD.itertuples()]
        (folder / "ratings.dat").write_text("\n".join(rows) + "\n")
        films_10m = [f"{row.item}::{row.title} (1961)::Drama" for row in LOG.items.itertuples()]
        (folder / "movies.dat").write_text("\n".join(films_10m) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("generation", ["latest", "10m"])
def test_movielens_of_every_generation_is_read_with_its_years(tmp_path: Path, generation: str) -> None:
    outcome = accept(write_movielens(tmp_path / "ml", generation), tmp_path / "out")
    check_rows(outcome, GOOD)
    assert outcome.titles["1"] == f"{LOG.items.title[0]} (1961)"
    assert outcome.years["1"] == "1961"


def test_a_subset_of_movielens_is_not_sent_round_in_circles(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml", "10m")
    outcome = run("data", "fetch", "ml-1m", "--from", folder, "--cache", tmp_path / "cache")
    assert outcome.code == 2
    assert f"ur4rec data preprocess {folder}" in outcome.error.replace("\n", "")


def test_sequence_texts_have_positions_for_times(tmp_path: Path) -> None:
    lists = GOOD.groupby("user_id", sort=False).item_id.agg(" ".join)
    (tmp_path / "Beauty.txt").write_text("".join(f"{user} {items}\n" for user, items in lists.items()))
    pairs = [f"{user} {item}\n" for user, items in lists.items() for item in items.split()]
    (tmp_path / "Video.txt").write_text("".join(pairs))
    for name in ("Beauty.txt", "Video.txt"):
        outcome = accept(tmp_path / name, tmp_path / name.lower())
        check_rows(outcome, GOOD.assign(timestamp=GOOD.groupby("user_id").cumcount()))
        assert "positions" in outcome.shown
        assert "1970" not in outcome.shown


@pytest.mark.parametrize("kind", ["2014", "2018 .gz", "2023", "Steam", "Yelp"])
def test_json_lines_are_read(tmp_path: Path, kind: str) -> None:
    day = GOOD.timestamp - GOOD.timestamp % DAY_S
    moments = pd.to_datetime(GOOD.timestamp, unit="s")
    tables = {
        "2014": (("reviewerID", "asin", "unixReviewTime"), day, "reviews_Books_5.json"),
        "2018 .gz": (("reviewerID", "asin", "unixReviewTime"), day, "Books_5.json.gz"),
        "2023": (("user_id", "parent_asin", "timestamp"), GOOD.timestamp * 1000 + 7, "Books.jsonl"),
        "Steam": (("username", "product_id", "date"), moments.dt.strftime("%Y-%m-%d"), "steam_reviews.json"),
        "Yelp": (("user_id", "business_id", "date"), moments.dt.strftime("%Y-%m-%d %H:%M:%S"), "review.json"),
    }
    names, times, file = tables[kind]
    table = pd.DataFrame(dict(zip(names, (GOOD.user_id, GOOD.item_id, times), strict=True)) | {"text": 'it\'s "fine"'})
    if kind == "Steam":
        (tmp_path / file).write_text("".join(f"{record!r}\n" for record in table.to_dict("records")))
    else:
        table.to_json(tmp_path / file, orient="records", lines=True)
    expected = day if kind in ("2014", "2018 .gz", "Steam") else GOOD.timestamp
    check_rows(accept(tmp_path / file, tmp_path / "out"), GOOD.assign(timestamp=expected))


def test_a_line_that_would_run_something_is_not_run(tmp_path: Path) -> None:
    record = "{'user_id': __import__('pathlib').Path('ran').touch(), 'item_id': '1', 'timestamp': 1500000000}\n"
    (tmp_path / "steam_reviews.json").write_text(record * 4)
    assert "line 1" in refuse(tmp_path / "steam_reviews.json", tmp_path / "out")
    assert not Path("ran").exists()


@pytest.mark.parametrize("kind", ["parts", "key=value"])
def test_a_folder_of_parts_is_one_table(tmp_path: Path, kind: str) -> None:
    for number in range(2):
        folder = tmp_path / "plays" / (f"month={number + 1}" if kind == "key=value" else "")
        folder.mkdir(parents=True, exist_ok=True)
        GOOD[number * 90 : number * 90 + 90].to_parquet(folder / f"part-{number:05d}.parquet", index=False)
    (tmp_path / "plays" / "_SUCCESS").touch()
    check_rows(accept(tmp_path / "plays", tmp_path / "out"), GOOD)


def test_markup_and_lists_of_genres_are_understood(tmp_path: Path) -> None:
    titles = [f"Howard &amp; Co <b>Polish</b> {n}" for n in LOG.items.item]
    page = "<p>Great&nbsp;<br>stuff</p><script>alert(1)</script>"
    items = write_items(tmp_path, title=titles, genres="['Action', 'Drama']", description=page)
    outcome = accept(write(tmp_path, GOOD), tmp_path / "out", items=items)
    assert outcome.titles["1"] == "Howard & Co Polish 1"
    catalogue = pq.read_table(tmp_path / "out" / "items.parquet").to_pandas()
    assert set(catalogue.genres) == {"Action|Drama"}
    assert catalogue.description[0].split() == ["Great", "stuff"]


def test_a_backslash_before_a_quote_is_named_or_undone(tmp_path: Path) -> None:
    lines = "".join(f'{n},"He said \\"hi {n}\\""\n' for n in LOG.items.item)
    (tmp_path / "songs.csv").write_text(f"item_id,title\n{lines}")
    outcome = preprocess(write(tmp_path, GOOD), tmp_path / "out", items=tmp_path / "songs.csv")
    if outcome.code == 0:
        assert outcome.titles["1"] == 'He said "hi 1"'
    else:
        line = refuse(tmp_path / "plays.csv", tmp_path / "no", items=tmp_path / "songs.csv")
        assert "backslash" in line
        assert "line 2" in line


def test_year_0_is_no_year(tmp_path: Path) -> None:
    years = LOG.items.year.where(LOG.items.item != 5, 0)
    outcome = accept(write(tmp_path, GOOD), tmp_path / "out", items=write_items(tmp_path, year=years))
    assert outcome.years["5"] == ""
    assert run("text", "generate", tmp_path / "out", "-o", tmp_path / "texts").code == 0
    assert "early 0s" not in "".join(path.read_text() for path in (tmp_path / "texts").glob("*.json*"))


def test_own_data_go_by_the_name_of_their_file(tmp_path: Path) -> None:
    outcome = accept(write(tmp_path, GOOD, "vinyl_sales.csv"), tmp_path / "out")
    assert outcome.manifest.details["dataset_name"] == "vinyl_sales"
    assert "ml-100k" not in run("data", "show", tmp_path / "out").shown
    named = accept(tmp_path / "vinyl_sales.csv", tmp_path / "named", "--set", "dataset_name=sales")
    assert named.manifest.details["dataset_name"] == "sales"


@pytest.mark.slow
def test_what_the_window_of_the_encoder_cuts_is_counted(tmp_path: Path) -> None:
    items = write_items(tmp_path, description="word " * 60_000)
    sequences, texts, embeddings = (tmp_path / name for name in ("sequences", "texts", "embeddings"))
    accept(write(tmp_path, GOOD), sequences, items=items)
    assert run("text", "generate", sequences, "-o", texts).code == 0
    outcome = run("text", "encode", sequences, texts, "-o", embeddings)
    assert outcome.code == 0, outcome.error
    assert re.search(r"30 .*(cut|longer)", outcome.shown)


def test_a_row_a_user_with_lists_is_taken_apart(tmp_path: Path) -> None:
    lists = GOOD.groupby("user_id", sort=False)[["item_id", "timestamp"]].agg(list).reset_index()
    lists.to_parquet(tmp_path / "plays.parquet")
    check_rows(accept(tmp_path / "plays.parquet", tmp_path / "out"), GOOD)


def test_a_list_as_text_is_no_id(tmp_path: Path) -> None:
    lists = GOOD.groupby("user_id", sort=False).item_id.agg(lambda items: f"[{', '.join(items)}]").reset_index()
    path = write(tmp_path, lists.assign(timestamp=FIRST_S))
    outcome = preprocess(path, tmp_path / "out")
    if outcome.code == 0:
        assert set(outcome.rows.item_id) <= set(GOOD.item_id)
    else:
        assert re.search("list", refuse(path, tmp_path / "no"))


def test_genres_in_lists_of_lists_are_read(tmp_path: Path) -> None:
    ids = list(GOOD.item_id.unique())
    nested = pa.table({"item_id": ids, "title": ids, "genres": [[["Musical", "Guitars"]]] * len(ids)})
    pq.write_table(nested, tmp_path / "songs.parquet")
    outcome = accept(write(tmp_path, GOOD), tmp_path / "out", items=tmp_path / "songs.parquet")
    assert pq.read_table(outcome.folder / "items.parquet")["genres"][0].as_py() == "Musical|Guitars"


def test_ids_of_every_type_of_parquet_are_read(tmp_path: Path) -> None:
    numbers = [int(user) for user in GOOD.user_id]
    texts = [f"{number:032x}" for number in numbers]
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes.fromhex(text) for text in texts], pa.binary(16)))
    columns = {
        "uuid": (uuids, [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts]),
        "bytes": (pa.array([f"u{number}".encode() for number in numbers]), [f"u{number}" for number in numbers]),
        "decimal": (
            pa.array([number + 10**30 for number in numbers], pa.decimal128(38, 0)),
            [str(number + 10**30) for number in numbers],
        ),
    }
    for name, (users, expected) in columns.items():
        table = pa.table({"user_id": users, "item_id": GOOD.item_id, "timestamp": GOOD.timestamp})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        check_rows(accept(tmp_path / f"{name}.parquet", tmp_path / name), GOOD.assign(user_id=expected))


@pytest.mark.parametrize("twist", ["{} ", "0{}", "B{}"], ids=["blank", "zero", "case"])
def test_ids_that_nearly_agree_are_counted(tmp_path: Path, twist: str) -> None:
    ids = "b" + GOOD.item_id if twist == "B{}" else GOOD.item_id
    twisted = ids.where(GOOD.index % 2 == 0, GOOD.item_id.map(twist.format))
    outcome = accept(write(tmp_path, GOOD.assign(item_id=twisted)), tmp_path / "out")
    num_items = outcome.manifest.details["num_items"]
    assert num_items > 30
    assert re.search(r"warning: .*blanks, case, leading zeros.*: \d+ of item_id", outcome.shown)


def test_a_bad_file_ends_the_pipeline_before_its_first_task(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipelines.__main__ import app

    path = write(tmp_path, GOOD.drop(columns="timestamp"))
    arguments = ["run", "--config", "toy", "--data", str(path), "--output-dir", str(tmp_path / "outputs")]
    result = CliRunner(env={"COLUMNS": "1000", "NO_COLOR": "1"}).invoke(app, arguments)
    assert result.exit_code == 2
    assert "timestamp" in result.stderr
    assert "plays.csv" in result.stderr
    assert not list(tmp_path.glob("outputs/**/*.log"))
