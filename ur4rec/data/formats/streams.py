"""A file of text as a stream of UTF-8, whatever it is compressed and encoded by."""

from __future__ import annotations

import codecs
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from ur4rec.data.errors import DataError
from ur4rec.data.formats.encodings import propose_encodings

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 18
"""What formats are recognised by."""
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UTF_8 = ("utf-8", "utf-8-sig")


@dataclass(frozen=True)
class TextFile:
    """A file as a stream; its compression is known by its first bytes, its encoding by the option or its mark."""

    path: Path
    given_encoding: str | None = None

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
        return marked or (self.given_encoding if self.given_encoding and not self._is_utf_8() else UTF_8[0])

    @cached_property
    def head(self) -> str:
        """First characters of the text, without a byte order mark; what does not decode is replaced."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        return decoder.decode(self.start).removeprefix("\ufeff")

    def describe(self, name: str) -> str:
        """Return the name of a format with how the file is packed and encoded."""
        packed = f"{self.compression}-compressed " if self.compression else ""
        return packed + name + ("" if self.encoding in UTF_8 else f" in {self.encoding}")

    def open(self) -> pa.NativeFile:
        """Open the text as a stream of UTF-8."""
        stream = self._unpack()
        return stream if self.encoding in UTF_8 else pa.transcoding_input_stream(stream, self.encoding, "utf-8")

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open the text, without a byte order mark and with the line ends that it has."""
        with io.TextIOWrapper(self.open(), encoding="utf-8-sig", newline="") as text:
            yield text

    def check(self, suspicious: str = "") -> bool:
        """Return whether the text holds some characters; refuse a file that does not decode to its end.

        Raises:
            DataError: The file is damaged or in another encoding; names the line, the byte and what to do.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        lines, found = 1, False
        with self._reading(), self._unpack() as stream:
            while True:
                chunk = stream.read(CHUNK_BYTES)
                try:
                    text = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise DataError(self._explain(error, lines)) from None
                if not chunk:
                    return found
                lines += text.count("\n")
                found = found or (bool(suspicious) and suspicious in text)

    def _unpack(self) -> pa.NativeFile:
        if self.compression == "xz":
            return pa.PythonFile(lzma.open(self.path), mode="r")
        return pa.input_stream(str(self.path), compression=self.compression)

    def _is_utf_8(self) -> bool:
        """Whether there is text outside of ASCII, and all of it is UTF-8, which hardly another encoding looks like."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        is_ascii = True
        with self._reading(), self._unpack() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                is_ascii = is_ascii and chunk.isascii()
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    return False
        return not is_ascii

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, lzma.LZMAError) as error:
            kind = f"{self.compression}-compressed, and damaged or cut off" if self.compression else "not readable"
            raise DataError(f"{self.path}: {kind} ({error}); get or write the file again") from None

    def _explain(self, error: UnicodeDecodeError, lines: int) -> str:
        before = error.object[: error.start].decode(self.encoding, errors="replace")
        found = f"{self.path}, line {lines + before.count(chr(10))}: byte {error.object[error.start]:#04x} is not "
        if self.given_encoding:
            return f"{found}{self.encoding}, which the option encoding names; leave it out, or name another"
        with io.BufferedReader(self._unpack()) as stream:
            return f"{found}UTF-8; {propose_encodings(stream)}"
