"""The published data sets of the field load as they are, with their very ids and times, or one line says what to do."""

import re
from pathlib import Path

import pandas as pd
import pytest
from data_commands import Outcome, accept, refuse

from benchmarks.field_formats import CONTAINERS, PUBLISHED, Format, Sample, make_log, write_sample

FORMATS = [*PUBLISHED, *CONTAINERS]
ALL = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
REFUSED = [form for form in FORMATS if form.refusal]


def by_user(rows: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
    return {
        str(user): list(zip(part.item_id, part.timestamp.astype(int), strict=True))
        for user, part in rows.groupby("user_id", sort=False)
    }


def check_outcome(outcome: Outcome, written: Sample) -> None:
    assert by_user(outcome.rows) == by_user(written.expected)
    details = outcome.manifest.details
    assert details["num_users"] == written.expected.user_id.nunique()
    assert details["num_items"] == written.expected.item_id.nunique()
    assert details["num_interactions"] == len(written.expected)
    assert details["rows"]["read"] - sum(details["excluded_rows"].values()) == len(written.expected)
    assert details["timestamps"]["first_s"] == written.expected.timestamp.min()
    if written.titles:
        for item, title in outcome.titles.items():
            assert title.removesuffix(f" ({outcome.years[item]})") == written.titles[item].split(" (")[0]
        assert details["items"]["without_row"] == 0


@ALL
def test_what_comes_out_is_what_the_files_hold(form: Format, tmp_path: Path) -> None:
    written = write_sample(form, tmp_path / "in")
    if form.refusal and not form.options:
        pytest.skip("holds no interactions in an order")
    check_outcome(accept(written.path, tmp_path / "out", *form.options, items=written.items), written)


@pytest.mark.parametrize("form", REFUSED, ids=lambda form: form.name)
def test_what_needs_a_decision_is_one_line(form: Format, tmp_path: Path) -> None:
    written = write_sample(form, tmp_path / "in")
    line = refuse(written.path, tmp_path / "out", items=written.items)
    assert re.search(form.refusal, line), line


def test_at_least_34_of_41_load_as_they_are() -> None:
    assert len(PUBLISHED) == 41
    assert sum(not form.refusal for form in PUBLISHED) >= 34


def test_the_samples_are_small_and_alike() -> None:
    log = make_log()
    assert 50 <= len(log.rows) <= 500
    assert log.rows.equals(make_log().rows)
    assert not log.rows.duplicated(["user", "item"]).any()
    assert not pd.DataFrame({"user": log.rows.user, "day": log.rows.time // 86_400}).duplicated().any()
