"""Which column of a file plays which role."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from ur4rec.data.errors import DataError


def match_columns(
    found: Sequence[str], required: Sequence[str], optional: Sequence[str], given: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the column of each role: the one that is given, else the one of the role's own name.

    Raises:
        DataError: A required role has no column, or a given column is not there.
    """
    wanted = {role: given.get(role, role) for role in (*required, *optional)}
    missing = [role for role, name in wanted.items() if name not in found and (role in required or role in given)]
    if missing:
        raise DataError(_explain_missing(missing, found, required))
    return {role: name for role, name in wanted.items() if name in found}


def _explain_missing(missing: Sequence[str], found: Sequence[str], required: Sequence[str]) -> str:
    spelling = {name.strip().lower(): name for name in found if name not in required}
    nearest = difflib.get_close_matches(missing[0], spelling, n=1, cutoff=0.4)
    hint = f"is it {spelling[nearest[0]]!r}? Rename that column" if nearest else "the file must name its columns"
    return f"no column {', '.join(map(repr, missing))} among {', '.join(map(repr, found))}; {hint}"
