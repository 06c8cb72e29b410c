"""A file of text as a stream of UTF-8, whatever it is compressed and encoded by."""

from __future__ import annotations

import codecs
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from ur4rec.data.archives import open_only_member
from ur4rec.data.errors import DataError
from ur4rec.data.formats.encodings import propose_encodings

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 18
"""What formats are recognised by."""
ZIP = "zip"
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": ZIP,
}
UTF_8, UTF_8_MARKED = "utf-8", "utf-8-sig"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: UTF_8_MARKED,
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class TextFile:
    """A file as a stream; its compression is known by its first bytes, its encoding by the option or its mark."""

    path: Path
    given_encoding: str | None = None
    """Encoding of the text, unless a mark says otherwise or it is UTF-8."""
    by_position: bool = False
    """Whether the user names columns by their positions: there may be no line with their names."""

    @cached_property
    def compression(self) -> str | None:
        """Name of the compression; None where there is none."""
        with self.path.open("rb") as file:
            start = file.read(8)
        return next((name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), None)

    @cached_property
    def start(self) -> bytes:
        """First bytes of what is in the file once it is unpacked."""
        with self._reading(), self._unpack() as stream:
            content: bytes = stream.read(HEAD_BYTES)
        return content

    @cached_property
    def encoding(self) -> str:
        """Name of the encoding that the text is taken to have."""
        marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if self.start.startswith(mark)), None)
        return marked or (self.given_encoding if self.given_encoding and not self._reads_as_utf_8() else UTF_8)

    @property
    def is_utf_8(self) -> bool:
        """Whether the text need not be converted."""
        return self.encoding in (UTF_8, UTF_8_MARKED)

    @cached_property
    def head(self) -> str:
        """First characters of the text, without a byte order mark; what does not decode is replaced."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        return decoder.decode(self.start).removeprefix("\ufeff")

    def describe(self, name: str) -> str:
        """Return the name of a format with how the file is packed and encoded."""
        packed = f"{self.compression}-compressed " if self.compression else ""
        return packed + name + ("" if self.is_utf_8 else f" in {self.encoding}")

    def open(self) -> pa.NativeFile:
        """Open the text as a stream of UTF-8, without a byte order mark."""
        stream = self._unpack()
        if self.encoding == UTF_8_MARKED:
            stream.read(len(codecs.BOM_UTF8))
        return stream if self.is_utf_8 else pa.transcoding_input_stream(stream, self.encoding, UTF_8)

    @contextmanager
    def open_lines(self) -> Iterator[TextIO]:
        """Open the text to go through its lines; only line feeds end them."""
        with io.TextIOWrapper(self.open(), encoding=UTF_8, newline="\n") as text:
            yield text

    def count(self, *wanted: str) -> Counter[str]:
        """Return how often the text holds line ends and other pieces; refuse a file that does not decode to its end.

        Raises:
            DataError: The file is damaged or in another encoding; names the line, the byte and what to do.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        counts: Counter[str] = Counter()
        with self._reading(), self._unpack() as stream:
            while True:
                chunk = stream.read(CHUNK_BYTES)
                try:
                    text = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise DataError(self._explain(error, counts["\n"] + 1)) from None
                if not chunk:
                    return counts
                counts.update({piece: text.count(piece) for piece in ("\n", *wanted) if piece[0] in text})

    def _unpack(self) -> pa.NativeFile:
        if self.compression == ZIP:
            return pa.PythonFile(open_only_member(self.path), mode="r")
        if self.compression == "xz":
            return pa.PythonFile(lzma.open(self.path), mode="r")
        return pa.input_stream(str(self.path), compression=self.compression)

    def _reads_as_utf_8(self) -> bool:
        """Whether all is UTF-8, which hardly another encoding looks like, or ASCII that the given one reads alike."""
        decoder = codecs.getincrementaldecoder(UTF_8)()
        is_ascii, is_alike = True, True
        with self._reading(), self._unpack() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                is_ascii = is_ascii and chunk.isascii()
                is_alike = is_ascii and is_alike and chunk.decode(str(self.given_encoding), "ignore") == chunk.decode()
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    return False
        return is_alike or not is_ascii

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
            kind = f"{self.compression}-compressed, and damaged or cut off" if self.compression else "not readable"
            raise DataError(f"{self.path}: {kind} ({error}); get or write the file again") from None

    def _explain(self, error: UnicodeDecodeError, lines: int) -> str:
        before = error.object[: error.start].decode(self.encoding, errors="replace")
        found = f"{self.path}, line {lines + before.count(chr(10))}: byte {error.object[error.start]:#04x} is not "
        if self.given_encoding:
            return f"{found}{self.encoding}, which the option encoding names; leave it out, or name another"
        with io.BufferedReader(self._unpack()) as stream:
            return f"{found}UTF-8; {propose_encodings(stream)}"
