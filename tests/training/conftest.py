"""Fixtures that the tests of this folder share."""

from toy_trainer import data

__all__ = ["data"]
