"""CSV and its relatives: rows of fields between separators, with the names of the columns in the first line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv

from ur4rec.data.errors import DataError
from ur4rec.data.formats.reader import Format, Rows, TextReader
from ur4rec.data.formats.streams import TextFile

MAX_FIELD_CHARACTERS = (1 << 31) - 1
BLOCK_BYTES = 1 << 24
"""What pyarrow parses at once; no single row may be longer."""
NO_ROWS = "no rows below the column names; nothing to read"
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", "::": "double colons", " ": "spaces"}
"""Of two that make as many fields, the first is meant; a space is, where no other one makes two."""
NUMBER = re.compile(r"-?\d+([.,]\d+)?")
SEPARATOR_NOTE = re.compile(r"sep=.(?=\r?\n)", re.IGNORECASE)
STAND_IN = "\x1f"
"""What a separator of more than one character becomes on its way to the parser."""
QUOTE, ESCAPED_QUOTE = '"', '\\"'


@dataclass(frozen=True)
class Dialect:
    """How the fields of a row are told apart."""

    separator: str = ","
    quoted: bool = True
    """Whether quotes around a field belong to the format and not to the field."""
    names: tuple[str, ...] = ()
    """Names of the columns where the file has no line for them."""

    @property
    def character(self) -> str:
        """The single character that separates what the parser gets."""
        return self.separator if len(self.separator) == 1 else STAND_IN


@dataclass(frozen=True)
class DelimitedReader(TextReader):
    """A delimited file; every column is read as text."""

    dialect: Dialect

    def __post_init__(self) -> None:
        if self._counts[ESCAPED_QUOTE] and self.dialect.quoted:
            self._refuse_escaped_quotes()

    @cached_property
    def _counts(self) -> Counter[str]:
        return self.file.count(QUOTE, ESCAPED_QUOTE)

    @cached_property
    def names(self) -> Sequence[str]:
        """The names in the first line that is not blank."""
        if self.dialect.names:
            return self.dialect.names
        with self._open_records() as reader:
            header: list[str] = next((record for record in reader if record), [])
        return header

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names."""
        spans_lines: list[bool] = []

        def note_ragged(row: pa_csv.InvalidRow) -> str:
            if row.text.strip():
                spans_lines.append("\n" in row.text)
            return "skip"

        try:
            with self._open() as stream:
                columns = pa_csv.read_csv(stream, *self._parse_options(names, note_ragged))
        except pa.ArrowException as error:
            if not self._has_rows():
                return Rows(pa.table({name: pa.array([], pa.string()) for name in names}))
            raise DataError(f"{self.path}: not readable as CSV ({error}); is a quote left open?") from None
        if any(spans_lines):
            raise DataError(
                f"{self.path}, {self.locate_ragged()}: a quote is opened and never closed; double or drop it"
            )
        if self.dialect.quoted and self._counts[QUOTE] and self._counts["\n"] > columns.num_rows + len(spans_lines):
            self._refuse_open_quote()
        return Rows(columns, len(spans_lines), has_decimal_commas=self.dialect.separator == ";")

    def locate(self, row: int) -> str:
        """Tell the 1-based line of the unpacked file where a row begins."""
        line, _, _ = next(islice(self._iterate_records(ragged=False), row, None), (row + 2, 0, 0))
        return f"line {line}"

    def locate_ragged(self) -> str:
        """Tell the line of the first row with too few or too many fields, and the two numbers."""
        line, found, expected = next(self._iterate_records(ragged=True), (1, 0, 0))
        return f"line {line} ({found} fields instead of {expected})"

    def _parse_options(self, names: Sequence[str], note_ragged: Any) -> tuple[Any, ...]:
        dialect = self.dialect
        return (
            pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=dialect.names or None),
            pa_csv.ParseOptions(
                delimiter=dialect.character,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.quoted,
                invalid_row_handler=note_ragged,
            ),
            pa_csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )

    def _open(self) -> pa.NativeFile:
        stream = self.file.open()
        if self.dialect.character == self.dialect.separator:
            return stream
        return pa.TransformInputStream(stream, _Replacement(self.dialect.separator, self.dialect.character))

    @contextmanager
    def _open_records(self, strict: bool = False) -> Iterator[Any]:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.dialect.quoted else csv.QUOTE_NONE
        limit = csv.field_size_limit(MAX_FIELD_CHARACTERS)
        try:
            with io.TextIOWrapper(self._open(), encoding="utf-8", newline="") as text:
                yield csv.reader(text, delimiter=self.dialect.character, quoting=quoting, strict=strict)
        finally:
            csv.field_size_limit(limit)

    def _iterate_records(self, ragged: bool) -> Iterator[tuple[int, int, int]]:
        """Yield first line, fields and expected fields of the rows below the header; blank ones do not count."""
        with self._open_records() as reader:
            expected = len(self.dialect.names)
            line = 1
            for record in reader:
                is_ragged = len(record) != expected
                is_blank = is_ragged and not self.dialect.character.join(record).strip()
                if expected and is_ragged == ragged and not is_blank:
                    yield line, len(record), expected
                expected = expected or len(record)
                line = reader.line_num + 1

    def _refuse_open_quote(self) -> None:
        """Refuse a quote that nothing closes, or another stray one does: the rows between would be part of a field."""
        begins = 0
        with self._open_records(strict=True) as reader:
            try:
                for _ in reader:
                    begins = reader.line_num
            except csv.Error as error:
                never = "end of data" in str(error)
                closed = "never closed" if never else f"closed within a field of line {reader.line_num}"
                raise DataError(
                    f"{self.path}, line {begins + 1}: a quote is opened and {closed}; double or drop it"
                ) from None

    def _has_rows(self) -> bool:
        return any(next(self._iterate_records(ragged), None) for ragged in (False, True))

    def _refuse_escaped_quotes(self) -> None:
        """Refuse a backslash before a quote inside of quotes, where it would end the field."""
        with self._open_records(strict=True) as reader:
            try:
                for _ in reader:
                    pass
            except csv.Error:
                raise DataError(
                    f"{self.path}, line {reader.line_num}: a quote inside of quotes, which no backslash keeps from "
                    'ending the field; write it doubled (""), in Spark by option("escape", "\\"")'
                ) from None


class _Replacement:
    """Replaces a separator in a stream; keeps back the half of one that a block of bytes ends with."""

    def __init__(self, separator: str, character: str) -> None:
        self._separator, self._character = separator.encode(), character.encode()
        self._kept = b""

    def __call__(self, block: pa.Buffer) -> bytes:
        content = self._kept + bytes(block)
        half = self._separator[:1]
        cut = len(content) - (len(content) - len(content.rstrip(half))) % len(self._separator)
        self._kept = content[cut:]
        return content[:cut].replace(self._separator, self._character)


def sniff_separator(head: str) -> str:
    r"""Return the separator that makes the most of the first line that is not blank; a comma where none does.

    >>> sniff_separator("user;item;time\n"), sniff_separator("user::item\n"), sniff_separator("user")
    (';', '::', ',')
    """
    counts = {separator: len(next(split_lines(head, separator), [])) for separator in SEPARATORS}
    spaces = counts.pop(" ")
    best = max(counts, key=counts.__getitem__)
    return " " if counts[best] < spaces and counts[best] == 1 else best


def split_lines(head: str, separator: str) -> Iterator[list[str]]:
    """Yield the fields of the lines that are not blank."""
    if len(separator) > 1:
        return (line.split(separator) for line in head.splitlines() if line)
    return (record for record in csv.reader(io.StringIO(head, newline=""), delimiter=separator) if record)


def open_delimited(file: TextFile, called: str = "CSV") -> DelimitedReader:
    """Open a file whose first line names the columns, or one without such a line whose columns go by positions."""
    if note := SEPARATOR_NOTE.match(file.head):
        raise DataError(f"{file.path}, line 1: {note[0]!r} is a note for spreadsheets; delete the line")
    separator = sniff_separator(file.head)
    name = called if separator == "," else f"{called} separated by {SEPARATORS[separator]}"
    fields = next(split_lines(file.head, separator), [])
    positions = tuple(str(position) for position in range(1, len(fields) + 1))
    is_headerless = file.by_position and any(map(NUMBER.fullmatch, fields))
    if is_headerless:
        name += " without column names"
    dialect = Dialect(separator, quoted=len(separator) == 1, names=positions if is_headerless else ())
    return DelimitedReader(file, name, dialect)


def open_lines(file: TextFile, name: str) -> DelimitedReader:
    """Open a file whose lines are no rows of fields, as one column of them."""
    return DelimitedReader(file, name, Dialect(STAND_IN, quoted=False, names=("line",)))


DELIMITED = Format("CSV with any separator", lambda file: True, open_delimited)
