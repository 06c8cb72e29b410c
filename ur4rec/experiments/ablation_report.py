"""Shows an ablation: `ablation.json`, `ablation.md`, and the cells of a table on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from ur4rec.experiments.ablation_table import LONG_TAIL_BELOW, AblationTable, Row
from ur4rec.markdown import escape_markdown, make_code_span, make_table
from ur4rec.ranking.bootstrap import Estimate
from ur4rec.storage.artifacts import write_texts_atomic

ABLATION_JSON, ABLATION_MD = "ablation.json", "ablation.md"
LEGEND = (
    "± is the standard deviation over seeds. A difference is to the reference, per user and averaged over the seeds "
    "that both have; the bracket is its 95 % bootstrap interval over users, * marks one without zero."
)


def write_ablation(table: AblationTable, output: Path) -> None:
    """Writes both files, or neither."""
    text = json.dumps(table.model_dump(), indent=2, allow_nan=False, ensure_ascii=False)
    write_texts_atomic({output / ABLATION_JSON: text + "\n", output / ABLATION_MD: _markdown(table)})


def sections(table: AblationTable) -> list[tuple[str, list[Row]]]:
    """Title and rows of each table there is: all targets, and the long tail."""
    data = table.dataset
    found = [(f"{data.name}: all {data.num_targets:,} test targets", table.rows)]
    if table.long_tail:
        share = f"{data.num_long_tail:,} test targets with fewer than {LONG_TAIL_BELOW} training interactions"
        found.append((f"{data.name}: the {share}", table.long_tail))
    return found


def columns(table: AblationTable) -> list[str]:
    """Heads of the columns."""
    tests = dict.fromkeys((table.metric, "hit@10"))
    return [
        "variant",
        "seeds",
        f"validation {table.metric}",
        *(f"test {metric}" for metric in tests),
        f"difference to {table.reference}",
    ]


def cells(row: Row) -> list[str]:
    """One line of a table."""
    return [
        row.name,
        str(len(row.seeds)) if row.seeds else "–",
        str(row.validation),
        *map(str, row.test.values()),
        _describe(row.difference),
    ]


def _describe(difference: Estimate | None) -> str:
    if difference is None:
        return "–"
    low, high = difference.ci95
    return f"{difference.value:+.4f} [{low:+.4f}, {high:+.4f}]{' *' if difference.excludes_zero else ''}"


def _markdown(table: AblationTable) -> str:
    lines = ["# Ablation", ""]
    for title, rows in sections(table):
        shown = [[escape_markdown(cell) for cell in line] for line in (columns(table), *map(cells, rows))]
        lines += [f"## {escape_markdown(title)}", "", make_table(shown[0], shown[1:]), ""]
    lines += [escape_markdown(LEGEND), "", f"Data set digest `{table.dataset.digest[:8]}`.", ""]
    lines += [
        f"* {make_code_span(row.name)}: {escape_markdown(row.description)}{_list_settings(row)}." for row in table.rows
    ]
    lines += [f"* {escape_markdown(note)}." for note in table.notes]
    failures = [f"* {escape_markdown(f'{unit}: {error}')}" for unit, error in table.failures.items()]
    return "\n".join([*lines, *(["", "## Failed", "", *failures] if failures else [])]) + "\n"


def _list_settings(row: Row) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in row.settings.items())
    return f" ({make_code_span(settings)})" if settings else ""
