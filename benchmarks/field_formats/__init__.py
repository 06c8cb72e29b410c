"""The files of the field, written small from their published layouts, each with what must come out of it.

`PUBLISHED` are the data sets as their authors publish them, `CONTAINERS` what people keep a plain table in.
`write_all` puts them into a folder, for programs that cannot import this package.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.field_formats import containers, json_lines, lists, logs, movielens
from benchmarks.field_formats.log import Format, Log, Sample, make_log

PUBLISHED = [*movielens.FORMATS, *json_lines.FORMATS, *logs.FORMATS, *lists.FORMATS]
CONTAINERS = containers.FORMATS

__all__ = ["CONTAINERS", "PUBLISHED", "Format", "Log", "Sample", "make_log", "write_all", "write_sample"]


def write_sample(form: Format, folder: Path, log: Log | None = None) -> Sample:
    """Writes the files of one layout into a new folder."""
    folder.mkdir(parents=True)
    return form.write(log or make_log(), folder)


def write_all(folder: Path) -> Path:
    """Writes every layout, and `index.json`: name, path, users, items, interactions and first time of each."""
    entries = []
    for number, form in enumerate([*PUBLISHED, *CONTAINERS]):
        written = write_sample(form, folder / f"{number:02d}")
        expected = written.expected
        expected.to_csv(folder / f"{number:02d}.expected.csv", index=False)
        entries.append(
            {
                "name": form.name,
                "path": str(written.path.relative_to(folder)),
                "expected": f"{number:02d}.expected.csv",
                "users": expected.user_id.nunique(),
                "items": expected.item_id.nunique(),
                "interactions": len(expected),
                "first_s": int(expected.timestamp.min()),
            }
        )
    (folder / "index.json").write_text(json.dumps(entries, indent=1))
    return folder / "index.json"
