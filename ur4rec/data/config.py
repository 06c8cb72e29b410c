"""Configuration of the task `preprocess_sequences`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from ur4rec.config_section import ConfigSection

BadRows = Literal["error", "exclude"]


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
    bad_rows: BadRows = "error"
    """A malformed row stops the run, or is dropped and counted."""

    @field_validator("drop_last")
    @classmethod
    def _refuse_with_time_split(cls, value: int, info: ValidationInfo) -> int:
        # Users end at different times, so what is left without their newest rows is no earlier point in time.
        if value and info.data.get("split") == "time":
            raise ValueError("belongs to split: leave_one_out; an earlier time split has a lower time_split_quantile")
        return value
