"""Published files without column names, known by their first line: what stands where in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ur4rec.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID
from ur4rec.data.formats.delimited import DelimitedReader, Dialect
from ur4rec.data.formats.films import FLAGS, FilmReader
from ur4rec.data.formats.reader import Format, Reader
from ur4rec.data.formats.streams import TextFile

ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?"
RATED = (USER_ID, ITEM_ID, RATING, TIMESTAMP)


@dataclass(frozen=True)
class Layout:
    """A published file without a line of column names."""

    name: str
    separator: str
    columns: tuple[str, ...]
    first_line: str
    """Regular expression that the whole first line matches."""
    file_name: str = r".*"
    """The same of the file's name, where the first line says too little."""
    is_films: bool = False
    """Whether the year stands in the titles."""

    def fits(self, file: TextFile) -> bool:
        """Return whether a file is of this layout."""
        line = file.head.lstrip("\r\n").partition("\n")[0].rstrip("\r")
        return bool(re.fullmatch(self.file_name, file.path.name) and re.fullmatch(self.first_line, line))

    def open(self, file: TextFile) -> Reader:
        """Open a file of this layout; what is not UTF-8 is Latin-1, as it was published."""
        latin = replace(file, given_encoding=file.given_encoding or "latin-1")
        rows = DelimitedReader(
            latin, self.name, Dialect(self.separator, quoted=self.separator == ",", names=self.columns)
        )
        return FilmReader(rows) if self.is_films else rows


LAYOUTS = (
    Layout("MovieLens 100K ratings", "\t", RATED, r"\d+\t\d+\t[1-5]\t\d+", r"u[a1-5]?b?\.(data|base|test)(\..*)?"),
    Layout("MovieLens ratings", "::", RATED, r"\d+::\d+::[0-5](\.\d+)?::\d+"),
    Layout(
        "MovieLens 100K films",
        "|",
        (ITEM_ID, TITLE, "release_date", "video_release_date", "url", *FLAGS),
        r"\d+\|[^|]*\|[^|]*\|[^|]*\|[^|]*(\|[01]){19}",
        is_films=True,
    ),
    Layout("MovieLens films", "::", (ITEM_ID, TITLE, GENRES), r"\d+::.+::[^:]+", is_films=True),
    Layout("Amazon 2014 ratings", ",", RATED, r"A[A-Z0-9]{8,19},[A-Z0-9]{10},[0-5](\.\d+)?,\d{9,10}"),
    Layout("Yoochoose clicks", ",", (USER_ID, TIMESTAMP, ITEM_ID, "category"), rf"\d+,{ISO_TIME},\d+,[\dS]\d*"),
    Layout("Yoochoose buys", ",", (USER_ID, TIMESTAMP, ITEM_ID, "price", "quantity"), rf"\d+,{ISO_TIME},\d+,\d+,\d+"),
    Layout(
        "Gowalla check-ins",
        "\t",
        (USER_ID, TIMESTAMP, "latitude", "longitude", ITEM_ID),
        rf"\d+\t{ISO_TIME}\t-?[\d.]+\t-?[\d.]+\t\w+",
    ),
    Layout(
        "Foursquare check-ins",
        "\t",
        (USER_ID, ITEM_ID, "category_id", "category", "latitude", "longitude", "offset_minutes", TIMESTAMP),
        r"\d+\t\w{24}\t[^\t]*\t[^\t]*\t-?[\d.]+\t-?[\d.]+\t-?\d+\t\w{3} \w{3} \d\d [\d:]{8} [+-]\d{4} \d{4}",
    ),
    Layout(
        "LastFM-1K plays",
        "\t",
        (USER_ID, TIMESTAMP, "artist_id", "artist", ITEM_ID, "track"),
        rf"user_\d{{6}}\t{ISO_TIME}\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*",
    ),
    Layout(
        "MIND news",
        "\t",
        (ITEM_ID, "category", "subcategory", TITLE, "abstract", "url", "title_entities", "abstract_entities"),
        r"N\d+\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\thttp[^\t]*\t\[.*\t\[.*",
    ),
)


def _find_layout(file: TextFile) -> Layout | None:
    return None if file.by_position else next((layout for layout in LAYOUTS if layout.fits(file)), None)


def _open_layout(file: TextFile) -> Reader:
    layout = _find_layout(file)
    assert layout
    return layout.open(file)


KNOWN_LAYOUT = Format("published file without column names", lambda file: bool(_find_layout(file)), _open_layout)
