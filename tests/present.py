"""For what may be missing by its type and is never missing in a test."""

from typing import TypeVar

Thing = TypeVar("Thing")


def present(value: Thing | None) -> Thing:
    """Return the value, and fail where there is none."""
    assert value is not None
    return value
