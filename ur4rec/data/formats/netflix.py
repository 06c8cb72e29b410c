"""The blocks of the Netflix prize: `film:`, then a line `user,stars,date` for each rating of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from ur4rec.data.formats.delimited import open_lines
from ur4rec.data.formats.reader import DerivedReader, Format, Rows

NAME = "Netflix ratings in blocks"
FIRST_LINES = re.compile(r"\d+:\s+\d+,[1-5],\d{4}-\d\d-\d\d\s")
FILM = r"^\s*\d+:\s*$"
RATED = rf"^(?P<{USER_ID}>\d+),(?P<{RATING}>[^,]*),(?P<{TIMESTAMP}>[^,]*)$"


class NetflixReader(DerivedReader):
    """Ratings in blocks of a film."""

    names = (USER_ID, RATING, TIMESTAMP, ITEM_ID)

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names, a row a rating; a line that is none has no user."""
        lines = self.rows.read(self.rows.names).columns[0].combine_chunks()
        is_film = pc.match_substring_regex(lines, FILM).to_numpy(zero_copy_only=False)
        films = pc.replace_substring_regex(lines.filter(pa.array(is_film)), r"[\s:]", "")
        places = np.flatnonzero(~is_film)
        block = (np.cumsum(is_film) - 1)[places]
        rated = pc.extract_regex(lines.take(pa.array(places)), RATED)
        columns = {name: pc.struct_field(rated, name) for name in self.names[:-1]} | {
            ITEM_ID: films.take(pa.array(block))
        }
        return Rows(pa.table({name: columns[name] for name in names}), places=places)


NETFLIX = Format(
    NAME, lambda file: bool(FIRST_LINES.match(file.head)), lambda file: NetflixReader(open_lines(file, NAME))
)
