"""Fixtures of other folders that the tests of claims share."""

from toy_sequences import build_sequences

__all__ = ["build_sequences"]
