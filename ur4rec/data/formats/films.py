"""Films of MovieLens: the year behind the title gets a column of its own, and flags become genres."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.columns import GENRE_SEPARATOR, GENRES, TITLE, YEAR
from ur4rec.data.formats.atomic import ATOMIC, AtomicReader, open_atomic
from ur4rec.data.formats.delimited import open_delimited, sniff_separator, split_lines
from ur4rec.data.formats.reader import DerivedReader, Format, Reader, Rows
from ur4rec.data.formats.streams import TextFile
from ur4rec.data.movielens import GENRES_100K, RECBOLE_UNKNOWN, YEAR_BEHIND

HEADER = ["movieId", TITLE, GENRES]
ATOMIC_TITLE, ATOMIC_YEAR = "movie_title", "release_year"
HEADER_SEEN = 200
FLAGS = tuple(GENRES_100K.split(GENRE_SEPARATOR))


class FilmReader(DerivedReader):
    """A table of films."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns, with those that are made of others."""
        names = [name for name in self.rows.names if name not in FLAGS]
        return [*names, YEAR, *((GENRES,) if self._has_flags else ())]

    @property
    def _has_flags(self) -> bool:
        return GENRES not in self.rows.names

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names."""
        has_flags = self._has_flags and GENRES in names
        needed = {*names, TITLE, *(FLAGS if has_flags else ())}
        read = self.rows.read([name for name in self.rows.names if name in needed])
        columns = dict(zip(read.columns.column_names, read.columns.columns, strict=True))
        columns[TITLE] = pc.utf8_trim_whitespace(columns[TITLE])
        found = pc.extract_regex(columns[TITLE], YEAR_BEHIND.pattern)
        columns[YEAR] = pc.struct_field(found, "year").fill_null("")
        if has_flags:
            chosen = [pc.if_else(pc.equal(columns[flag], "1"), flag, None) for flag in FLAGS]
            columns[GENRES] = pc.binary_join_element_wise(*chosen, GENRE_SEPARATOR, null_handling="skip")
        return Rows(pa.table({name: columns[name] for name in names}), read.num_ragged)


class AtomicFilmReader(AtomicReader):
    """An atomic file of films, whose titles get their years back: there are several films of one name."""

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names."""
        read = super().read(list(dict.fromkeys([*names, ATOMIC_TITLE, ATOMIC_YEAR])))
        titles, years = read.columns[ATOMIC_TITLE], read.columns[ATOMIC_YEAR]
        whole = pc.binary_join_element_wise(titles, " (", years, ")", "")
        whole = pc.if_else(pc.equal(titles, RECBOLE_UNKNOWN), "unknown", whole)
        year = pc.struct_field(pc.extract_regex(whole, YEAR_BEHIND.pattern), "year").fill_null("")
        made = {ATOMIC_TITLE: whole, ATOMIC_YEAR: year}
        return Rows(pa.table({name: made.get(name, read.columns[name]) for name in names}), read.num_ragged)


def _is_films(file: TextFile) -> bool:
    return next(split_lines(file.head, sniff_separator(file.head)), None) == HEADER


def _open_films(file: TextFile) -> Reader:
    return FilmReader(open_delimited(file, "MovieLens films"))


def _is_atomic_films(file: TextFile) -> bool:
    return ATOMIC.recognise(file) and f"\t{ATOMIC_TITLE}:token_seq\t{ATOMIC_YEAR}:token\t" in file.head[:HEADER_SEEN]


def _open_atomic_films(file: TextFile) -> Reader:
    return AtomicFilmReader(open_atomic(file).rows)


ATOMIC_FILMS = Format("RecBole atomic file of films", _is_atomic_films, _open_atomic_films)
FILMS = Format("MovieLens films", _is_films, _open_films)
