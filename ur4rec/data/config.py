"""Configuration of the task `preprocess_sequences`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from ur4rec.config_section import ConfigSection

BadRows = Literal["error", "exclude"]


class DataConfig(ConfigSection):
    """Which interactions are kept and how they are split."""

    dataset_name: str = "ml-100k"
    """Shown in results."""
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
    bad_rows: BadRows = "error"
    """A malformed row stops the run, or is dropped and counted."""
    encoding: str | None = None
    """Encoding, such as `gb18030`, of input texts that are neither UTF-8 nor have a byte order mark."""

    @field_validator("encoding")
    @classmethod
    def _refuse_unknown_encoding(cls, value: str | None) -> str | None:
        try:
            "a".encode(value or "utf-8")
        except (LookupError, UnicodeError):
            raise ValueError("not an encoding of text; examples: gb18030, big5, shift_jis, cp1251, cp1252") from None
        return value

    @field_validator("drop_last")
    @classmethod
    def _refuse_with_time_split(cls, value: int, info: ValidationInfo) -> int:
        # Users end at different times, so what is left without their newest rows is no earlier point in time.
        if value and info.data.get("split") == "time":
            raise ValueError("belongs to split: leave_one_out; an earlier time split has a lower time_split_quantile")
        return value
