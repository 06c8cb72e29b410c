"""The forms in which MLflow's protocol takes a table, as the records that they stand for."""

from __future__ import annotations

from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from ur4rec.columns import USER_ID

RECORDS = "dataframe_records"
SPLIT = "dataframe_split"
FORMS = (RECORDS, SPLIT, "inputs", "instances")


def to_records(call: object) -> object:
    """A call with its requests as `dataframe_records`; what is no object is left to be refused."""
    if not isinstance(call, dict):
        return call
    given = [form for form in FORMS if form in call]
    if len(given) != 1:
        _refuse(f"expected one of {', '.join(FORMS)}, got {', '.join(given) or 'none'}")
    table, rest = call[given[0]], {name: value for name, value in call.items() if name not in given}
    if isinstance(table, dict):
        table = _read_split(table) if given[0] == SPLIT else _read_columns(table)
    return {**rest, RECORDS: table}


def _read_split(table: dict[str, Any]) -> list[dict[str, Any]]:
    columns: Any = table.get("columns")
    rows: Any = table.get("data")
    if not _is_list_of(str, columns) or not _is_list_of(list, rows) or any(len(row) != len(columns) for row in rows):
        _refuse(f"{SPLIT}: expected columns, a list of names, and data, a list of rows as long")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _read_columns(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Of lists side by side one record each; a single user or a single history is a record."""
    nested = any(_is_list_of(list | None, cells) for cells in table.values())
    if not nested and not isinstance(table.get(USER_ID), list):
        return [table]
    columns = {name: cells for name, cells in table.items() if cells is not None}
    if not all(isinstance(cells, list) for cells in columns.values()) or len(set(map(len, columns.values()))) != 1:
        _refuse("expected columns of equal length, or null")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_list_of(kind: Any, value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def _refuse(message: str) -> NoReturn:
    raise PydanticCustomError("form", "{message}", {"message": message})
