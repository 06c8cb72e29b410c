"""Configuration of the task `preprocess_sequences`."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ur4rec.config_section import ConfigSection
from ur4rec.data.column_names import SYNONYMS

BadRows = Literal["error", "exclude"]
NewItems = Literal["exclude", "include"]
TimeUnit = Literal[
    "auto",
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "excel_days",
    "julian_days",
    "dotnet_ticks",
    "windows_ticks",
    "webkit_microseconds",
    "yyyymm",
    "yyyymmdd",
    "yyyymmddhhmm",
    "yyyymmddhhmmss",
    "day_first",
    "month_first",
]


class DataConfig(ConfigSection):
    """Which interactions are kept and how they are split."""

    dataset_name: str = ""
    """Shown in results; empty: the name of the file, or of the folder."""
    min_rating: float | None = None
    """Interactions rated lower are left out."""
    min_seq_len: int = Field(3, ge=3)
    """Users with fewer interactions are left out: one each goes to training, validation and test."""
    k_core: bool = False
    """Whether `min_seq_len` holds for items too, applied until nothing changes."""
    split: Literal["leave_one_out", "time"] = "leave_one_out"
    time_split_quantile: float = Field(0.9, gt=0, lt=1)
    """`split: time` cuts at this quantile of the timestamps."""
    drop_last: int = Field(0, ge=0)
    """`split: leave_one_out` first drops this many of each user's newest interactions: the protocol, so many steps
    earlier."""
    new_items: NewItems = "exclude"
    """Whether items of the item table without an interaction that is kept stand in the catalogue, too; their text alone
    recommends them."""
    bad_rows: BadRows = "error"
    """A malformed row stops the run, or is dropped and counted."""
    encoding: str | None = None
    """Encoding, such as `gb18030`, of input texts that are neither UTF-8 nor have a byte order mark."""
    columns: dict[str, str] = Field(default_factory=dict)
    """What stands in a column → its name in the file, or its position from 1 where the file names none; also as the
    text `user_id=userId,item_id=movieId`."""
    time_unit: TimeUnit = "auto"
    """What the timestamps are, where their values have two readings."""
    events: tuple[str, ...] | dict[str, float] = ()
    """Names of the events that are kept; none: all. With numbers (`purchase=3,view=1`), each is the rating of its rows,
    which `min_rating` compares."""
    literal_item_ids: tuple[str, ...] = ()
    """Items that are really called `NA`, `null` or the like, which otherwise stand for a missing item."""

    @field_validator("encoding")
    @classmethod
    def _refuse_unknown_encoding(cls, value: str | None) -> str | None:
        try:
            "a".encode(value or "utf-8")
        except (LookupError, UnicodeError):
            raise ValueError("not an encoding of text; examples: gb18030, big5, shift_jis, cp1251, cp1252") from None
        return value

    @field_validator("columns", "events", "literal_item_ids", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Take `a,b` and `a=1,b=2` as well, and the position of a column as a number."""
        if info.field_name != "columns" and type(value) is int:
            value = [value]
        if isinstance(value, list):
            return [str(name) if type(name) is int else name for name in value]
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",") if part.strip()]
            is_mapping = info.field_name == "columns" or any("=" in part for part in parts)
            value = dict(_split_pair(part) for part in parts) if is_mapping else parts
        if info.field_name == "columns" and isinstance(value, dict):
            return {role: str(name) if type(name) is int else name for role, name in value.items()}
        return value

    @field_validator("columns")
    @classmethod
    def _refuse_unknown_role(cls, value: dict[str, str]) -> dict[str, str]:
        for role in value:
            if role not in SYNONYMS:
                nearest = difflib.get_close_matches(role, SYNONYMS, n=1, cutoff=0.0)[0]
                raise ValueError(f"{role!r} is none of {', '.join(SYNONYMS)}; did you mean {nearest!r}?")
        return value

    @field_validator("events")
    @classmethod
    def _refuse_unused_weights(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict) and value and info.data.get("min_rating") is None:
            raise ValueError("the numbers are ratings, which only min_rating reads; set it, or give the names alone")
        return value

    @field_validator("drop_last")
    @classmethod
    def _refuse_with_time_split(cls, value: int, info: ValidationInfo) -> int:
        # Users end at different times, so what is left without their newest rows is no earlier point in time.
        if value and info.data.get("split") == "time":
            raise ValueError("belongs to split: leave_one_out; an earlier time split has a lower time_split_quantile")
        return value


def _split_pair(part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals:
        raise ValueError(f"expected NAME=VALUE, and so with every comma, at {part!r}")
    return key.strip(), value.strip()
