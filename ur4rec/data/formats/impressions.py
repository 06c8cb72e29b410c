"""MIND's `behaviors.tsv`: what was shown to a user at a time, clicked (`N1-1`) or not (`N2-0`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.columns import ITEM_ID, TIMESTAMP, USER_ID
from ur4rec.data.formats.delimited import DelimitedReader, Dialect
from ur4rec.data.formats.reader import DerivedReader, Format, Reader, Rows
from ur4rec.data.formats.streams import TextFile

FIRST_LINE = re.compile(r"\s*\d+\tU\d+\t\d+/\d+/\d{4} \d+:\d\d:\d\d [AP]M\t[^\t\n]*\t(N\d+-[01] ?)+\r?(\n|$)")
TIME = "%m/%d/%Y %I:%M:%S %p"
SHOWN, CLICKED = "impressions", "-1"
COLUMNS = ("impression_id", USER_ID, TIMESTAMP, "history", SHOWN)


class ImpressionReader(DerivedReader):
    """Clicks; what was shown and not clicked makes no row."""

    names = (*COLUMNS[:-1], ITEM_ID)

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names, a row a click."""
        needed = [name for name in COLUMNS if name in (*names, SHOWN)]
        read = self.rows.read(needed)
        shown = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(read.columns[SHOWN])).combine_chunks()
        is_click = pc.ends_with(shown.values, CLICKED)
        places = pc.list_parent_indices(shown).filter(is_click)
        columns = {name: read.columns[name].take(places) for name in needed}
        columns[ITEM_ID] = pc.utf8_slice_codeunits(shown.values.filter(is_click), 0, -len(CLICKED))
        if TIMESTAMP in columns:
            columns[TIMESTAMP] = pc.strptime(columns[TIMESTAMP], TIME, unit="s", error_is_null=True)
        return Rows(pa.table({name: columns[name] for name in names}), read.num_ragged, places.to_numpy())


def _open_impressions(file: TextFile) -> Reader:
    dialect = Dialect("\t", quoted=False, names=COLUMNS)
    return ImpressionReader(DelimitedReader(file, "MIND impressions, of which clicks are used", dialect))


IMPRESSIONS = Format("MIND impressions", lambda file: bool(FIRST_LINE.match(file.head)), _open_impressions)
