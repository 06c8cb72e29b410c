"""Damaged files of the field: every row is used, or counted as left out, or the cause of a refusal in one line."""

import re
from pathlib import Path

import pandas as pd
import pytest
from data_commands import Outcome, preprocess

from benchmarks.field_formats import CONTAINERS, PUBLISHED, Format, Sample, make_log
from benchmarks.field_formats.damage import ANY, COMPRESS, RECORDS, TABLE, Variant, draw_variants, find_text, unpack
from benchmarks.field_formats.lists import FORMATS as LISTS

LOG = make_log(num_users=12, seed=11)
EACH, SEED = 7, 2
FORMATS = [form for form in (*PUBLISHED, *CONTAINERS) if not form.refusal or form.options]
CHANGES_A_ROW = {
    "cut inside a line",
    "stray quote",
    "NUL",
    "ends in NULs",
    "byte that is no text",
    "one time is 0",
    "fields of a row reversed",
    "field emptied",
    "word in a field",
    "odd number in a field",
    "quote opened in a field",
    "an id with a half",
    "value of another type",
    "another separator in a row",
    "total at the end",
}
"""What stands in the row afterwards may be a value like any other."""
CHANGES_ALL = {"flipped bits", "packed file flipped"}
"""Other values like any other, which no reader can know."""
LEFT_OUT_BY_RULE = {"duplicate_row", "user_below_min_seq_len"}


def count_lines(path: Path) -> tuple[int, int]:
    """Lines with something in them, without and with those that hold blanks alone."""
    content = unpack(path.read_bytes(), path.suffix) if path.suffix in COMPRESS else path.read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    lines = re.split("\r\n|\r|\n", text)
    return sum(bool(line.strip()) for line in lines), sum(bool(line) for line in lines)


def list_rows(rows: pd.DataFrame, form: Format) -> set[tuple[object, ...]]:
    """Users, items and times; without the times where they are positions, which follow from the rest."""
    columns = ["user_id", "item_id", *([] if form in LISTS else ["timestamp"])]
    return set(rows[columns].itertuples(index=False, name=None))


def check_refusal(outcome: Outcome, written: Sample) -> None:
    assert len(outcome.error.splitlines()) == 1, outcome.error
    assert outcome.error.startswith("Error: ")
    assert find_text(written.path).name in outcome.error or str(written.path) in outcome.error
    assert len(outcome.error) < 1200
    assert not outcome.folder.exists()


def check_rows(outcome: Outcome, variant: Variant, written: Sample, strict: bool) -> None:
    details = outcome.manifest.details
    excluded = details["excluded_rows"]
    read, used = details["rows"]["read"], details["num_interactions"]
    assert read == used + sum(excluded.values())
    if strict:
        assert set(excluded) <= LEFT_OUT_BY_RULE
    for reason, count in excluded.items():
        assert f"{count:,}" in outcome.shown
        assert reason.replace("_", " ").split()[0] in outcome.shown
    if variant.form not in LISTS and written.path.suffix != ".parquet" and written.path.is_file():
        filled, lines = count_lines(written.path)
        assert filled - 1 <= read <= lines + (variant.damage == "two records in a line")
    columns = details["reading"]["interactions"]["columns"]
    if variant.damage == "column dropped" and "sessionId" in columns.values():
        assert "sessionId" in outcome.shown  # without users, the sessions stand for them, as is told
    elif variant.damage not in CHANGES_ALL:
        strange = list_rows(outcome.rows, variant.form) - list_rows(written.expected, variant.form)
        allowed = 1 if variant.damage in CHANGES_A_ROW else 0
        assert len(strange) <= allowed or "warning" in outcome.shown, (strange, outcome.shown)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_nothing_of_a_damaged_file_is_lost_in_silence(form: Format, tmp_path: Path) -> None:
    for number, variant in enumerate(draw_variants(form, LOG, tmp_path / "whole", EACH, seed=SEED)):
        written = variant.write(LOG, tmp_path / f"{number}")
        options = [option for option in form.options if option not in ("--set", "bad_rows=exclude")]
        for bad_rows in ("error", "exclude"):
            out = tmp_path / f"{number}" / bad_rows
            try:
                outcome = preprocess(written.path, out, *options, "--set", f"bad_rows={bad_rows}", items=written.items)
                assert outcome.code in (0, 2), outcome.error
                if outcome.code == 2:
                    check_refusal(outcome, written)
                else:
                    check_rows(outcome, variant, written, strict=bad_rows == "error")
                    break
            except Exception as error:
                error.add_note(f"{variant}, bad_rows {bad_rows}")
                raise


def test_300_files_are_damaged_in_every_way(tmp_path: Path) -> None:
    variants = [
        variant
        for number, form in enumerate(FORMATS)
        for variant in draw_variants(form, LOG, tmp_path / f"{number}", EACH, seed=SEED)
    ]
    assert len(variants) >= 300
    assert {variant.damage for variant in variants} >= {*ANY, *TABLE, *RECORDS}
