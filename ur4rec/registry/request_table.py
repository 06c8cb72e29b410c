"""The reader of requests, under the name by which models know it that were registered before it moved."""

from ur4rec.recommender.requests import read_columns

__all__ = ["read_columns"]
