"""Errors of the data tasks, for users."""

from __future__ import annotations


class DataError(ValueError):
    """Input data that cannot be used; names the file, the row and the column, and says what to do."""


class EmptyFileError(DataError):
    """A file without content."""


class SourceError(DataError):
    """A place that does not give the data set; says why."""
