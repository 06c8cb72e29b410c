"""Dates and times as the field spells them in text, without a loop over rows.

Letters: R rows, D distinct texts.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from ur4rec.data.config import TimeUnit
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers, is_text, to_mask, trim

DAY_S = 86_400
ORDERS = ("day_first", "month_first")
CLOCK = r"(?:[T ,]+(?P<H>\d{1,2}):(?P<M>\d\d)(?::(?P<S>\d\d(?:[.,]\d+)?))?(?: ?(?P<p>[AaPp])\.?[Mm]\.?)?)?"
ZONE = r"(?: ?(?P<z>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?"
WEEKDAY = r"(?:[A-Za-z]{3,9},? )?"
ISO, EITHER, NO_DATE = "iso_8601", "day_or_month_first", "no_date"
SPELLINGS = {
    ISO: r"^\d{4}(-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d([.,]\d{1,9})?)?)?)?|\d{4}T\d{6})(Z| ?UTC| ?GMT|[+-]\d\d(:?\d\d)?)?$",
    "year_first": rf"^(?P<y>\d{{4}})[-/.年](?P<m>\d{{1,2}})[-/.月](?P<d>\d{{1,2}})日?{CLOCK}{ZONE}$",
    "month_first": rf"^(?P<m>\d{{1,2}}) (?P<d>\d{{1,2}}), (?P<y>\d{{4}}){CLOCK}{ZONE}$",
    EITHER: rf"^(?P<m>\d{{1,2}})[-/.](?P<d>\d{{1,2}})[-/.](?P<y>\d{{4}}){CLOCK}{ZONE}$",
    "named_month": rf"^{WEEKDAY}(?P<b>[A-Za-z]{{3,9}})\.? +(?P<d>\d{{1,2}}),? +(?P<y>\d{{4}}){CLOCK}{ZONE}$",
    "day_and_named_month": rf"^{WEEKDAY}(?P<d>\d{{1,2}})[- ](?P<b>[A-Za-z]{{3,9}})[- ](?P<y>\d{{4}}){CLOCK}{ZONE}$",
    "year_last": rf"^{WEEKDAY}(?P<b>[A-Za-z]{{3}}) +(?P<d>\d{{1,2}}){CLOCK}{ZONE} (?P<y>\d{{4}})$",
}
"""Spelling → its pattern; `month_first` is that of Amazon, `year_last` that of C and of Twitter."""
MONTHS = pa.array(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
MOST_SAMPLED = 10_000


def read_texts(column: pa.ChunkedArray, unit: TimeUnit, where: str) -> tuple[Numbers, str]:
    """Return seconds since 1970-01-01 (UTC unless a text names its zone), and the spelling that fits most texts.

    Raises:
        DataError: No text tells whether the day or the month comes first, and the unit neither.
    """
    if seconds_of_all := _read_plain_iso(trim(column)):
        return seconds_of_all, ISO
    encoded = trim(column).combine_chunks().dictionary_encode()
    texts, codes = encoded.dictionary, encoded.indices.to_numpy()
    fits = {key: pc.match_substring_regex(texts[:MOST_SAMPLED], pattern) for key, pattern in SPELLINGS.items()}
    spelling = max(fits, key=lambda key: fits[key].true_count)
    if not fits[spelling].true_count:
        spelling, seconds = NO_DATE, np.full(len(texts), np.nan)
    elif spelling == ISO:
        seconds = _read_iso(texts)
    else:
        parts = _split(texts, SPELLINGS[spelling])
        if spelling == EITHER:
            spelling = _choose_order(parts, unit, where, texts)
        if spelling == "day_first":
            parts["m"], parts["d"] = parts["d"], parts["m"]
        seconds = _add_up(parts)
    missing, invalid = to_mask(pc.equal(texts, "")), ~np.isfinite(seconds)
    return Numbers(np.where(invalid, 0.0, seconds)[codes], missing[codes], (invalid & ~missing)[codes]), spelling


def count_days(years: Any, months: Any, days: Any) -> Float64[np.ndarray, "R"]:
    """Return the days since 1970-01-01; not a number where there is no such day."""
    exists = (months >= 1) & (months <= 12) & (days >= 1)
    first = np.where(exists, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    day = first.astype("datetime64[D]") + np.where(exists, days - 1, 0)
    return np.where(exists & (day.astype("datetime64[M]") == first), day.astype(np.float64), np.nan)


def _read_plain_iso(texts: pa.ChunkedArray) -> Numbers | None:
    """Read a column that is ISO 8601 throughout, with a zone in each text or in none."""
    spelled = pc.replace_substring(texts, " UTC", "")
    spelled = pc.if_else(pc.equal(spelled, ""), None, spelled)
    for zone in (None, "UTC"):
        with suppress(pa.ArrowInvalid):
            microseconds = spelled.cast(pa.timestamp("us", zone)).cast(pa.int64()).fill_null(0)
            return Numbers(microseconds.to_numpy() / 1e6, to_mask(spelled.is_null()), np.zeros(len(texts), dtype=bool))
    return None


def _read_iso(texts: pa.StringArray) -> Float64[np.ndarray, "D"]:
    spelled = pc.replace_substring(pc.replace_substring_regex(texts, " ?(UTC|GMT)$", "Z"), ",", ".")
    dates = pd.to_datetime(spelled.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    microseconds = dates.dt.tz_convert(None).dt.as_unit("us").to_numpy()
    exists = to_mask(pc.match_substring_regex(texts, SPELLINGS[ISO])) & ~np.isnat(microseconds)
    return np.where(exists, microseconds.astype(np.int64) / 1e6, np.nan)


def _split(texts: pa.StringArray, pattern: str) -> dict[str, Float64[np.ndarray, "D"]]:
    """Return the numbers that the texts tell, by the names in the pattern; not a number where there is none."""
    fields = pc.extract_regex(texts, pattern).flatten()
    parts = dict(zip(re.compile(pattern).groupindex, fields, strict=True))
    afternoon = pc.utf8_lower(parts.pop("p"))
    offset_s = _read_zone(parts.pop("z"))
    month = parts.pop("b", None)
    numbers = {key: _to_number(pc.replace_substring(value, ",", ".")) for key, value in parts.items()}
    if month is not None:
        numbers["m"] = 1 + _to_number(pc.index_in(pc.utf8_lower(pc.utf8_slice_codeunits(month, 0, 3)), MONTHS))
    for letter, hours in (("a", 0), ("p", 12)):
        is_half = to_mask(pc.equal(afternoon, letter).fill_null(False))
        numbers["H"] = np.where(is_half, numbers["H"] % 12 + hours, numbers["H"])
    return numbers | {"offset_s": offset_s}


def _read_zone(zones: pa.StringArray) -> Float64[np.ndarray, "D"]:
    sign, hours, minutes = pc.extract_regex(zones, r"^(?P<s>[+-])(?P<h>\d\d):?(?P<m>\d\d)?$").flatten()
    offset_s = np.nan_to_num(_to_number(hours) * 3600) + np.nan_to_num(_to_number(minutes) * 60)
    return np.asarray(np.where(to_mask(pc.equal(sign, "-").fill_null(False)), -offset_s, offset_s))


def _to_number(column: pa.Array) -> Float64[np.ndarray, "D"]:
    if is_text(column.type):
        column = pc.if_else(pc.equal(column, ""), None, column)
    values: np.ndarray = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return values


def _add_up(parts: dict[str, Float64[np.ndarray, "D"]]) -> Float64[np.ndarray, "D"]:
    days = count_days(*(np.nan_to_num(parts[key]).astype(np.int64) for key in "ymd"))
    hours, minutes, seconds = (np.nan_to_num(parts[key]) for key in "HMS")
    exists = (hours < 24) & (minutes < 60) & (seconds < 60)
    clock = hours * 3600 + minutes * 60 + seconds - parts["offset_s"]
    return np.where(exists, days * DAY_S + clock, np.nan)


def _choose_order(parts: dict[str, Any], unit: TimeUnit, where: str, texts: pa.StringArray) -> str:
    """Return whether the day or the month comes first in `03/04/2015`."""
    if unit in ORDERS:
        return unit
    day_first, month_first = (parts["m"] > 12).sum(), (parts["d"] > 12).sum()
    if day_first == month_first:
        example = texts[int(np.flatnonzero(np.isfinite(parts["m"]))[0])].as_py()
        raise DataError(
            f"{where}: dates such as {example!r} have two readings; set time_unit: day_first or time_unit: month_first"
        )
    return "day_first" if day_first > month_first else "month_first"
