"""One source of column names."""

USER_ID = "user_id"
ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
RATING = "rating"
EVENT = "event"
TITLE = "title"
YEAR = "year"
GENRES = "genres"
DESCRIPTION = "description"
AS_OF = "as_of"
TEXT = "text"

USER, ITEM, TIMESTAMP_S = 0, 1, 2
"""Columns of the two-dimensional sequence arrays."""

GENRE_SEPARATOR = "|"
