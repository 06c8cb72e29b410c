"""Columns by the names that published files give them, by the user's word, or by a question that is enough."""

from __future__ import annotations

import doctest

import pytest

from ur4rec.data import column_names
from ur4rec.data.column_names import SYNONYMS, match_columns
from ur4rec.data.errors import DataError

WHO_WHAT_WHEN = ("user_id", "item_id", "timestamp")
ITEM, ITEM_EXTRAS = ("item_id", "title"), ("genres", "description", "year")


@pytest.mark.parametrize(
    ("header", "matched"),
    [
        ("user_id,item_id,timestamp", "user_id,item_id,timestamp"),
        ("userId,movieId,rating,timestamp", "userId,movieId,timestamp"),
        ("reviewerID,asin,reviewerName,overall,unixReviewTime,reviewTime", "reviewerID,asin,unixReviewTime"),
        ("rating,title,asin,parent_asin,user_id,timestamp", "user_id,parent_asin,timestamp"),
        ("review_id,user_id,business_id,stars,date", "user_id,business_id,date"),
        ("username,hours,product_id,page_order,date,text", "username,product_id,date"),
        ("timestamp,visitorid,event,itemid,transactionid", "visitorid,itemid,timestamp"),
        ("SessionId,ItemId,Time", "SessionId,ItemId,Time"),
        ("session,aid,ts,type", "session,aid,ts"),
        ("event_time,event_type,product_id,category_id,user_id,user_session", "user_id,product_id,event_time"),
        ("userId,venueId,venueCategoryId,utcTimestamp", "userId,venueId,utcTimestamp"),
        ("user_id,video_id,play_duration,time,date,timestamp", "user_id,video_id,timestamp"),
        ("user_id,book_id,is_read,date_added,date_updated", "user_id,book_id,date_added"),
        ("t_dat,customer_id,article_id,price", "customer_id,article_id,t_dat"),
        ("session_id,user_id,item_id,timeframe,eventdate", "user_id,item_id,eventdate"),
        ("InvoiceNo,StockCode,Description,InvoiceDate,CustomerID", "CustomerID,StockCode,InvoiceDate"),
        (" USER ID ,Item-Id,TIMESTAMP", " USER ID ,Item-Id,TIMESTAMP"),
    ],
)
def test_names_of_published_interactions_need_no_question(header: str, matched: str) -> None:
    expected = dict(zip(WHO_WHAT_WHEN, matched.split(","), strict=True))
    assert match_columns(header.split(","), WHO_WHAT_WHEN, (), {}) == expected


@pytest.mark.parametrize(
    ("header", "matched"),
    [
        ("movieId,title,genres", {"item_id": "movieId", "title": "title", "genres": "genres"}),
        ("asin,title,related,brand", {"item_id": "asin", "title": "title"}),
        (
            "main_category,title,parent_asin,categories",
            {"item_id": "parent_asin", "title": "title", "genres": "categories"},
        ),
        ("id,app_name,tags", {"item_id": "id", "title": "app_name", "genres": "tags"}),
        (
            "book_id,asin,isbn,title,publication_year",
            {"item_id": "book_id", "title": "title", "year": "publication_year"},
        ),
        (
            "item_id,movie_title,release_year,class",
            {"item_id": "item_id", "title": "movie_title", "genres": "class", "year": "release_year"},
        ),
        ("business_id,name,city", {"item_id": "business_id", "title": "name"}),
        (
            "article_id,prod_name,detail_desc",
            {"item_id": "article_id", "title": "prod_name", "description": "detail_desc"},
        ),
    ],
)
def test_names_of_published_item_tables_need_no_question(header: str, matched: dict[str, str]) -> None:
    assert match_columns(header.split(","), ITEM, ITEM_EXTRAS, {}) == matched


def test_a_name_of_the_field_belongs_to_one_role() -> None:
    names = [name for role, groups in SYNONYMS.items() if role != "title" for name in " ".join(groups).split()]
    assert len(names) == len(set(names))


def test_the_name_that_the_user_gives_comes_first() -> None:
    given = {"timestamp": "seen", "title": "of the other file"}
    matched = match_columns(["user_id", "item_id", "timestamp", "seen"], WHO_WHAT_WHEN, (), given)
    assert matched == {"user_id": "user_id", "item_id": "item_id", "timestamp": "seen"}


def test_positions_are_names_too() -> None:
    given = {"user_id": "2", "item_id": "1", "timestamp": "4"}
    assert match_columns(["1", "2", "3", "4"], WHO_WHAT_WHEN, (), given) == given


def test_an_item_table_may_call_its_ids_otherwise() -> None:
    given = {"user_id": "member", "item_id": "bought"}
    assert match_columns(["asin", "title"], ITEM, (), given) == {"item_id": "asin", "title": "title"}
    assert match_columns(["asin", "bought", "title"], ITEM, (), given) == {"item_id": "bought", "title": "title"}


def test_an_optional_column_with_two_candidates_is_left_alone() -> None:
    header = ["user_id", "item_id", "timestamp", "event_type", "action"]
    assert "event" not in match_columns(header, WHO_WHAT_WHEN, ("event",), {})
    assert match_columns(header, WHO_WHAT_WHEN, ("event",), {"event": "action"})["event"] == "action"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "user_id,book_id,is_read,rating,is_reviewed",
            "timestamp: no name comes near .without times, a column that .*; say which: --set columns=timestamp=NAME$",
        ),
        (
            "usr_id,itm_id,timestamp",
            "no column 'user_id', 'item_id' among .*; user_id: is it 'usr_id'[?]; item_id: is it 'itm_id'[?]; "
            "say which: --set columns=user_id=usr_id,item_id=itm_id$",
        ),
        (
            "user_id,song_id,track_id,time",
            "^item_id: is it 'song_id' or 'track_id'[?]; .* --set columns=item_id=song_id$",
        ),
        ("user_id,item_id,time,created_at,x", "^timestamp: is it 'time' or 'created_at'[?]; say which"),
        (
            "u,a,1",
            "say which is which: --set columns=user_id=NAME,item_id=NAME,timestamp=NAME, by names or by pos",
        ),
        (",".join(["user_id", *(f"x{number}" for number in range(99))]), "'x28' and 70 more; item_id: no name"),
    ],
)
def test_a_doubtful_column_is_a_question_with_a_hint_for_each(header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        match_columns(header.split(","), WHO_WHAT_WHEN, (), {})


def test_a_given_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"no column 'movieid', which the setting columns names for item_id, .* is it 'movieId'[?]"
    ):
        match_columns(["userId", "movieId", "timestamp"], WHO_WHAT_WHEN, (), {"item_id": "movieid"})


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(column_names)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_a_column_without_a_name_is_never_meant() -> None:
    found = ["", "user_id", "item_id", " "]
    assert match_columns(found, ["user_id", "item_id"], ["rating"], {}) == {"user_id": "user_id", "item_id": "item_id"}
    with pytest.raises(DataError, match="no column 'timestamp'"):
        match_columns(found, ["user_id", "item_id", "timestamp"], [], {})


def test_one_column_is_not_two() -> None:
    with pytest.raises(DataError, match="column 'a' would be user_id and item_id"):
        match_columns(["a", "b"], ["user_id", "item_id"], [], {"user_id": "a", "item_id": "a"})
