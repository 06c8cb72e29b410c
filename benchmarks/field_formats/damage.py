"""What goes wrong with a file on its way: seeded damages of the samples.

Each damage takes the bytes of a text (unpacked) and a generator, and gives the bytes that are written instead. Some are
tied to a kind of text, others fit all.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.field_formats.log import Format, Log, Sample

Damage = Callable[[bytes, random.Random], bytes]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(pa.compress(content, codec="zstd", asbytes=True)),
}
MIB = 1 << 20
PARQUET = ".parquet"


def unpack(content: bytes, suffix: str) -> bytes:
    """Returns the text inside a compressed file."""
    if suffix == ".zst":
        return bytes(pa.CompressedInputStream(pa.BufferReader(content), "zstd").read(MIB))
    return {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(suffix, bytes)(content)


def _edit_line(content: bytes, draw: random.Random, edit: Callable[[bytes], bytes]) -> bytes:
    lines = content.splitlines(keepends=True)
    position = draw.randrange(1, len(lines))
    lines[position] = edit(lines[position].rstrip(b"\r\n")) + b"\n"
    return b"".join(lines)


def _edit_fields(
    content: bytes, draw: random.Random, edit: Callable[[list[bytes]], list[bytes]], everywhere: bool = False
) -> bytes:
    separator = find_separator(content)
    lines = content.splitlines()
    chosen = range(len(lines)) if everywhere else [draw.randrange(1, len(lines))]
    for position in chosen:
        lines[position] = separator.join(edit(lines[position].split(separator)))
    return b"\n".join(lines) + b"\n"


def find_separator(content: bytes) -> bytes:
    """Returns what stands between the fields of a table."""
    first = content.splitlines()[1]
    return max((b"::", b"\t", b";", b"|", b",", b" "), key=lambda sign: (first.count(sign), len(sign)))


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) // 3, len(content) - 2)]


def _cut_at_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[: draw.randrange(len(lines) // 2, len(lines))]).rstrip(b"\r\n")


def _empty(content: bytes, draw: random.Random) -> bytes:
    return b""


def _only_first_line(content: bytes, draw: random.Random) -> bytes:
    return content.splitlines(keepends=True)[0]


def _drop_field(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: fields[:-1])


def _add_field(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: [*fields, b"surplus"])


def _drop_column(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content.splitlines()[0].split(find_separator(content))))
    return _edit_fields(content, draw, lambda fields: fields[:position] + fields[position + 1 :], everywhere=True)


def _double_column(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content.splitlines()[0].split(find_separator(content))))
    return _edit_fields(
        content, draw, lambda fields: [*fields, fields[min(position, len(fields) - 1)]], everywhere=True
    )


def _reverse_columns(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: fields[::-1], everywhere=True)


def _reverse_fields(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: fields[::-1])


def _blank_field(content: bytes, draw: random.Random) -> bytes:
    return _set_field(content, draw, b"")


def _set_field(content: bytes, draw: random.Random, value: bytes) -> bytes:
    def edit(fields: list[bytes]) -> list[bytes]:
        position = draw.randrange(len(fields))
        return [*fields[:position], value, *fields[position + 1 :]]

    return _edit_fields(content, draw, edit)


def _word_field(content: bytes, draw: random.Random) -> bytes:
    words = [b"NA", b"NULL", b"nan", b"None", b"\\N", b"n/a", b"inf", b"0x10", b"true", b"-1", b"1e400", b"1,5", b"?"]
    return _set_field(content, draw, draw.choice(words))


def _odd_number(content: bytes, draw: random.Random) -> bytes:
    values = [b"1.2e+18", b"9" * 30, b"-5", b"2100-01-01", b"99999999999999999999", b"1e18", b"00", b"\xd9\xa1"]
    return _set_field(content, draw, draw.choice(values))


def _wrong_separator(content: bytes, draw: random.Random) -> bytes:
    separator = find_separator(content)
    other = draw.choice([sign for sign in (b",", b"\t", b";", b"|") if sign != separator])
    return _edit_line(content, draw, lambda line: line.replace(separator, other))


def _all_other_separators(content: bytes, draw: random.Random) -> bytes:
    separator = find_separator(content)
    return content.replace(separator, draw.choice([sign for sign in (b"^", b"~", b"\x01", b"||") if sign != separator]))


def _stray_quote(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content) // 4, len(content))
    return content[:position] + b'"' + content[position:]


def _quote_field(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: [b'"' + fields[0], *fields[1:]])


def _bom(content: bytes, draw: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + content


def _two_boms(content: bytes, draw: random.Random) -> bytes:
    return b"\xef\xbb\xbf" * 2 + content


def _nul(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content) // 4, len(content))
    return content[:position] + b"\0" + content[position:]


def _nul_block(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content) // 2, len(content))
    return content[:position] + b"\0" * 512


def _windows_lines(content: bytes, draw: random.Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _mixed_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines()
    return b"".join(line + draw.choice([b"\n", b"\r\n"]) for line in lines)


def _old_mac_lines(content: bytes, draw: random.Random) -> bytes:
    return content.replace(b"\n", b"\r")


def _utf_16(content: bytes, draw: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode("utf-16")


def _utf_16_unmarked(content: bytes, draw: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode("utf-16-le")


def _bad_byte(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content) // 4, len(content))
    return content[:position] + draw.choice([b"\xff", b"\xe9", b"\xc3", b"\x80", b"\xed\xa0\x80"]) + content[position:]


def _blank_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    for _ in range(3):
        lines.insert(draw.randrange(1, len(lines)), b"\n")
    return b"".join(lines) + b"\n\n"


def _spaces_line(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: line + b"\n   ")


def _repeat_header(content: bytes, draw: random.Random) -> bytes:
    first = content.splitlines()[0]
    return _edit_line(content, draw, lambda line: line + b"\n" + first)


def _repeat_file(content: bytes, draw: random.Random) -> bytes:
    return content + content


def _comment(content: bytes, draw: random.Random) -> bytes:
    return b"# exported on Monday\n" + content


def _total(content: bytes, draw: random.Random) -> bytes:
    return content + b"(177 rows)\n"


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(3):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _mixed_units(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: re.sub(rb"\b(1[45]\d{8})\b", rb"\g<1>000", line))


def _half_units(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    middle = len(lines) // 2
    return b"".join(lines[:middle]) + re.sub(rb"\b(1[45]\d{8})\b", rb"\g<1>000", b"".join(lines[middle:]))


def _zero_time(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: re.sub(rb"\b1[45]\d{8,11}\b", b"0", line))


def _late_time(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: re.sub(rb"\b1[45](\d{8,11})\b", rb"41\g<1>", line))


def _float_ids(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: [fields[0] + b".0" * fields[0].isdigit(), *fields[1:]], True)


def _float_and_half(content: bytes, draw: random.Random) -> bytes:
    return _edit_fields(content, draw, lambda fields: [fields[0] + b".5" * fields[0].isdigit(), *fields[1:]])


def _page(content: bytes, draw: random.Random) -> bytes:
    return b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n"


def _pointer(content: bytes, draw: random.Random) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


ANY: dict[str, Damage] = {
    "cut inside a line": _cut,
    "cut at a line": _cut_at_line,
    "empty": _empty,
    "first line only": _only_first_line,
    "stray quote": _stray_quote,
    "byte order mark": _bom,
    "two byte order marks": _two_boms,
    "NUL": _nul,
    "ends in NULs": _nul_block,
    "Windows lines": _windows_lines,
    "mixed line ends": _mixed_lines,
    "old Mac lines": _old_mac_lines,
    "UTF-16": _utf_16,
    "UTF-16 without a mark": _utf_16_unmarked,
    "byte that is no text": _bad_byte,
    "blank lines": _blank_lines,
    "line of spaces": _spaces_line,
    "file twice": _repeat_file,
    "comment before": _comment,
    "total at the end": _total,
    "flipped bits": _flip,
    "one time in another unit": _mixed_units,
    "half of the times in another unit": _half_units,
    "one time is 0": _zero_time,
    "one time in the future": _late_time,
    "page of an error": _page,
    "pointer of large files": _pointer,
}
TABLE: dict[str, Damage] = {
    "field dropped": _drop_field,
    "field added": _add_field,
    "column dropped": _drop_column,
    "column doubled": _double_column,
    "columns reversed": _reverse_columns,
    "fields of a row reversed": _reverse_fields,
    "field emptied": _blank_field,
    "word in a field": _word_field,
    "odd number in a field": _odd_number,
    "another separator in a row": _wrong_separator,
    "another separator": _all_other_separators,
    "quote opened in a field": _quote_field,
    "header again": _repeat_header,
    "ids with a point": _float_ids,
    "an id with a half": _float_and_half,
}


def _edit_record(content: bytes, draw: random.Random, edit: Callable[[dict[str, object]], object]) -> bytes:
    def change(line: bytes) -> bytes:
        try:
            record = json.loads(line)
        except ValueError:  # a literal of Python
            return line.replace(b": u'", b": ['", 1)
        edited = edit(record)
        return json.dumps(record if edited is None else edited).encode()

    return _edit_line(content, draw, change)


def _drop_key(content: bytes, draw: random.Random) -> bytes:
    return _edit_record(content, draw, lambda record: record.pop(draw.choice(list(record))) and None)


def _other_type(content: bytes, draw: random.Random) -> bytes:
    values = [None, True, 1.5, "x", ["a", "b"], {"a": 1}, 2**70, ""]
    return _edit_record(content, draw, lambda record: record.update({draw.choice(list(record)): draw.choice(values)}))


def _not_a_record(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: draw.choice([b"[1, 2]", b"null", b"7", b'"text"', b"{}", b"[]"]))


def _array(content: bytes, draw: random.Random) -> bytes:
    return b"[" + b",\n".join(content.splitlines()) + b"]"


def _half_record(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: line[: len(line) // 2])


def _two_records(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: line + line)


def _double_key(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: line[:-1] + b"," + line[1:])


def _not_a_number(content: bytes, draw: random.Random) -> bytes:
    return _edit_line(content, draw, lambda line: re.sub(rb": ?\d[\d.]*", b": NaN", line, count=1))


RECORDS: dict[str, Damage] = {
    "key dropped": _drop_key,
    "value of another type": _other_type,
    "line that is no record": _not_a_record,
    "one array": _array,
    "half a record": _half_record,
    "two records in a line": _two_records,
    "keys doubled": _double_key,
    "NaN for a number": _not_a_number,
}

PACKED: dict[str, Damage] = {
    "packed file cut": lambda content, draw: content[: draw.randrange(len(content) // 3, len(content) - 1)],
    "packed file flipped": lambda content, draw: _flip(content, draw),
    "packed file followed by rubbish": lambda content, draw: content + b"rubbish",
}


@dataclass(frozen=True)
class Variant:
    """A sample and its damage."""

    form: Format
    damage: str
    seed: int

    def __str__(self) -> str:
        return f"{self.form.name}, {self.damage}, seed {self.seed}"

    def write(self, log: Log, folder: Path) -> Sample:
        """Writes the sample into a new folder, and damages its file of interactions."""
        folder.mkdir(parents=True)
        written = self.form.write(log, folder)
        path = find_text(written.path)
        content, draw = path.read_bytes(), random.Random(self.seed)
        if self.damage in PACKED or path.suffix == PARQUET:
            path.write_bytes((PACKED | ANY)[self.damage](content, draw))
        else:
            damaged = (ANY | TABLE | RECORDS)[self.damage](unpack(content, path.suffix), draw)
            path.write_bytes(COMPRESS.get(path.suffix, bytes)(damaged))
        return written


def find_text(path: Path) -> Path:
    """Returns the file that holds the interactions, or the first part of it."""
    if path.is_file():
        return path
    names = ("u.data", "ratings.dat", "ratings.csv", "films.inter", "behaviors.tsv")
    return next((path / name for name in names if (path / name).is_file()), None) or min(path.rglob("*.parquet"))


def draw_variants(form: Format, log: Log, folder: Path, count: int, seed: int) -> list[Variant]:
    """Draws damages that fit the files of a format, half of them of its own kind."""
    folder.mkdir(parents=True)
    path = find_text(form.write(log, folder).path)
    own = [*(RECORDS if ".json" in path.name else TABLE), *(PACKED if path.suffix in COMPRESS else {})]
    if path.suffix == PARQUET:
        own, others = ["packed file cut", "empty"], ["page of an error", "pointer of large files"]
    else:
        others = [*ANY]
    draw = random.Random(f"{form.name} {seed}")
    half = min(count // 2, len(own))
    chosen = draw.sample(own, half) + draw.sample(others, min(count - half, len(others)))
    return [Variant(form, damage, seed + number) for number, damage in enumerate(chosen)]
