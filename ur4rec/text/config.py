"""Configuration of the two text tasks, apart from them so that reading it loads no encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ur4rec.config_section import ConfigSection


class TextConfig(ConfigSection):
    """What writes the texts, and how often a user gets a new one."""

    text_provider: Literal["template"] = "template"
    snapshot_base: int = Field(10, ge=1)
    """Interactions behind a user's first text; the following ones come at 2, 4, 8, … times as many."""


class EncodeConfig(ConfigSection):
    """How texts become vectors."""

    text_model_name: str = Field("all-MiniLM-L6-v2", min_length=1)
    """Packaged model, folder of a sentence-transformers model, or name on the Hugging Face hub."""
    text_batch_size: int = Field(128, ge=1)
    max_sentences: int = Field(6, ge=1)
    """Sentences kept of one user text, from its beginning."""
