"""Configuration of the task `preprocess_sequences`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
    bad_rows: BadRows = "error"
    """A malformed row stops the run, or is dropped and counted."""
