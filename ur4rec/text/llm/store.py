"""Answers paid for once: an SQLite file keyed by content, shared between runs.

An answer is a line of JSON with a checksum of its own, here as in the files of lines that earlier versions wrote in a
folder and that are kept below a prefix in cloud storage. The lines of such files are taken over when a cache opens.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Self, get_args

Status = Literal["accepted", "answered", "refused", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
FAILURE = STATUSES.index("refused")
"""Rank from which on a status says that there is no answer."""
LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","answer":(.*)\}\n?')

FILE = "answers.sqlite"
SUFFIX = ".jsonl"
"""Of files of lines."""
LINES_AT_ONCE = 10_000
"""Lines that are taken over in one transaction, which keeps other writers waiting."""
PATIENCE_S = 60.0
"""How long to wait for another process that writes."""
PAGES_KB = 32 << 10
"""Memory for pages of the file."""
LAYOUT = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, expires_at_s INTEGER, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS taken_over (file TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL);
PRAGMA user_version = {LAYOUT};
COMMIT;
"""
LOCAL_FILE_SYSTEMS = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}
"""Where processes that share a file share memory too, which a write-ahead log needs."""


class CacheError(ValueError):
    """A cache that cannot be read or written; names its location and what to do."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What became of one request."""

    key: str
    """sha256 of the request, in hexadecimal."""
    status: Status
    text: str
    """The text that was accepted, the raw answer that was not, or why there is none."""
    tokens_in: int
    tokens_out: int
    stored_at_s: int
    """Seconds since 1970."""
    expires_at_s: int | None
    """From this second on the entry counts as absent; None: never."""
    estimated: bool = False
    """Whether the service told no tokens; in a line only where it is so, which earlier versions cannot read."""

    @property
    def is_well_formed(self) -> bool:
        """Whether every field is of its type; a text may hold what is no valid Unicode, so no library can tell."""
        numbers = type(self.tokens_in), type(self.tokens_out), type(self.stored_at_s), type(self.expires_at_s or 0)
        texts = type(self.key), type(self.status), type(self.text)
        return texts == (str, str, str) and numbers == (int, int, int, int) and self.status in STATUSES

    @property
    def precedence(self) -> tuple[int, int, str]:
        """Of several entries of a key the smallest counts: an answer before a failure, then the first stored."""
        return min(STATUSES.index(self.status), FAILURE), self.stored_at_s, self.text

    def is_expired(self, now_s: float) -> bool:
        """Whether the entry counts as absent."""
        return self.expires_at_s is not None and self.expires_at_s <= now_s


def encode_line(answer: CachedAnswer) -> bytes:
    """A line of JSON with a checksum of its own; pure ASCII, so that no text can break it."""
    fields = {name: value for name, value in asdict(answer).items() if name != "estimated" or value}
    body = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return b'{"crc32":"%08x","answer":%b}\n' % (zlib.crc32(body), body)


def decode_line(line: bytes) -> CachedAnswer | None:
    """The answer of a line, or None where it is torn, corrupt or of an unknown layout."""
    match = LINE.fullmatch(line)
    if match is None or zlib.crc32(match[2]) != int(match[1], 16):
        return None
    try:
        answer = CachedAnswer(**json.loads(match[2].decode("ascii")))
    except (TypeError, ValueError):
        return None
    return answer if answer.is_well_formed else None


class AnswerCache:
    """Key → answer, for any number of processes on one machine; an answer that is stored is seen by all at once.

    Args:
        location: For messages.
        folder: Holds the SQLite file, and perhaps files of lines; it may be missing until something is stored.
        is_scratch: Whether the file is gone with the process, so that it need not survive a crash of the machine.

    Raises:
        CacheError: The folder cannot be read, or the file is damaged.
    """

    def __init__(self, location: str, folder: Path, is_scratch: bool = False) -> None:
        self.location = location
        self.skipped_lines = 0
        """Torn or corrupt lines of files that the opening left out, one that was just being written among them."""
        self._path = folder / FILE
        self._synchronous = "OFF" if is_scratch else "FULL"
        self._journal = "WAL" if find_file_system(folder) in LOCAL_FILE_SYSTEMS else "DELETE"
        self._reader: sqlite3.Connection | None = None
        self._is_reader_stale = False
        self._writer: sqlite3.Connection | None = None
        self._gathering, self._waiting = Lock(), _Group()
        self._writing = ThreadPoolExecutor(1, "answers")
        self._is_closed = False
        with ExitStack() as stack:
            stack.callback(self.close)
            self._take_over(sorted(folder.glob(f"*{SUFFIX}")))
            stack.pop_all()

    def __len__(self) -> int:
        """Entries that have not expired."""
        connection = self._open_reader()
        counted = "SELECT count(*) FROM answers WHERE expires_at_s IS NULL OR expires_at_s > ?"
        with self._explaining():
            return int(connection.execute(counted, (time.time(),)).fetchone()[0]) if connection else 0

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> CachedAnswer | None:
        """The answer of a key; None where there is none or it has expired.

        Args:
            key: sha256 of the request, in hexadecimal.

        Raises:
            CacheError: The file cannot be read, or the cache is closed.
        """
        try:
            connection = self._open_reader()
            return _find(connection, key) if connection else None
        except sqlite3.Error as error:  # without a context manager, which takes as long as the look-up
            raise CacheError(f"{self._path}: {_explain(error, 'read')}") from None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One view of the file for many look-ups, which makes each of them twice as fast."""
        with self._explaining():
            connection = self._open_reader()
            if connection:
                connection.execute("BEGIN")
        try:
            yield
        finally:
            if connection:
                connection.execute("COMMIT")

    async def put(self, answer: CachedAnswer) -> None:
        """Stores an answer; it is durable when this returns.

        All answers that wait while a group is being written become the next group: one transaction, or one object. An
        answer over which the present one takes precedence is not stored.

        Raises:
            CacheError: The group could not be written; every `put` that waits for it raises the same.
        """
        present = self.get(answer.key)
        if present and present.precedence <= answer.precedence:
            return
        with self._gathering:
            group = self._waiting
            group.answers.append(answer)
            begins = len(group.answers) == 1
        if begins:
            try:
                await asyncio.sleep(0)  # what is put in the same turn of the event loop goes along
            finally:
                self._writing.submit(self._write_group)
        await asyncio.shield(asyncio.wrap_future(group.written))  # one that is cancelled must not take the others along

    def close(self) -> None:
        """Waits for what is being written, and closes the file."""
        self._is_closed = True
        self._writing.shutdown()
        for connection in (self._reader, self._writer):
            if connection:
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write_group(self) -> None:
        with self._gathering:
            group, self._waiting = self._waiting, _Group()
        try:
            self._write(group.answers)
        except BaseException as error:
            group.written.set_exception(error)
        else:
            group.written.set_result(None)

    def _write(self, answers: Sequence[CachedAnswer]) -> None:
        """Stores answers durably, on the thread that writes."""
        with self._transaction() as connection:
            for answer in answers:
                _enter(connection, answer, encode_line(answer))

    def _take_over(self, files: Iterable[Path]) -> None:
        """Stores the lines of files that are not stored yet; a line that another process is writing has its time."""
        with self._explaining():
            known = self._open_reader()
            sizes = dict(known.execute("SELECT file, size_bytes FROM taken_over")) if known else {}
            grown = [file for file in files if file.stat().st_size > sizes.get(file.name, 0)]
        for file in grown:
            while self._take_over_lines(file):
                pass

    def _take_over_lines(self, file: Path) -> bool:
        """Stores the next lines of a file; returns whether there may be more."""
        with self._transaction() as connection:
            row = connection.execute("SELECT size_bytes FROM taken_over WHERE file = ?", (file.name,)).fetchone()
            begin = row[0] if row else 0
            with self._explaining(), file.open("rb") as opened:
                opened.seek(begin)
                lines = list(islice(opened, LINES_AT_ONCE))
            answers = [decode_line(line) for line in lines]
            for answer, line in zip(answers, lines, strict=True):
                if answer and not answer.is_expired(time.time()):
                    _enter(connection, answer, line)
            whole = (len(line) for line in lines if line.endswith(b"\n"))
            connection.execute("REPLACE INTO taken_over VALUES (?, ?)", (file.name, begin + sum(whole)))
        self.skipped_lines += answers.count(None)
        return len(lines) == LINES_AT_ONCE and lines[-1].endswith(b"\n")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One that no other writer interferes with; after a failure the file is opened anew."""
        with self._explaining("written to"):
            try:
                (self._path if self._writer else self._path.parent).stat()  # a file that was removed takes writes too
                self._writer = self._writer or self._connect()
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer:
                    self._writer.close()
                self._writer, self._is_reader_stale = None, True
                raise

    def _open_reader(self) -> sqlite3.Connection | None:
        """None where nothing was ever stored: reading makes no file."""
        if self._is_closed:
            raise CacheError(f"{self.location}: the cache is closed; open it again")
        if self._reader and self._is_reader_stale:
            self._reader.close()
            self._reader, self._is_reader_stale = None, False
        if self._reader is None and self._path.exists():
            self._reader = self._connect()
        return self._reader

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        with ExitStack() as stack:
            stack.callback(connection.close)
            layout = connection.execute("PRAGMA user_version").fetchone()[0]
            if layout > LAYOUT:
                raise CacheError(f"{self._path}: was written by a later version; update ur4rec or choose another cache")
            _set_journal(connection, self._journal)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA cache_size = -{PAGES_KB}")
            if layout < LAYOUT:
                connection.executescript(SCHEMA)
            stack.pop_all()
        return connection

    @contextmanager
    def _explaining(self, doing: str = "read") -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CacheError(f"{self._path}: {_explain(error, doing)}") from None
        except OSError as error:
            raise CacheError(f"{self.location}: cannot be {doing} ({error.strerror}); {_ADVICE[doing]}") from None


@dataclass(frozen=True)
class _Group:
    """Answers that are stored together."""

    answers: list[CachedAnswer] = field(default_factory=list)
    written: Future[None] = field(default_factory=Future)


_ADVICE = {
    "read": "correct its permissions",
    "written to": "answers stored so far are safe, free some space or correct the folder and run again",
}


def _explain(error: sqlite3.Error, doing: str) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low byte is the kind
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has kept it locked for {PATIENCE_S:g} s; end that process and run again"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return (
                f"is damaged ({error}); move it away, and what only it holds is asked for again, or save what is whole "
                "in it by `sqlite3 OLD .recover | sqlite3 NEW`"
            )
    return f"cannot be {doing} ({error}); {_ADVICE[doing]}"


def _find(connection: sqlite3.Connection, key: str) -> CachedAnswer | None:
    row = connection.execute("SELECT line FROM answers WHERE key = ?", (key,)).fetchone()
    answer = decode_line(row[0]) if row else None
    return answer if answer and answer.key == key and not answer.is_expired(time.time()) else None


def _enter(connection: sqlite3.Connection, answer: CachedAnswer, line: bytes) -> None:
    """Stores an answer unless another of its key takes precedence."""
    row = answer.key, answer.expires_at_s, line
    if connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", row).rowcount:
        return
    present = _find(connection, answer.key)
    if present is None or answer.precedence < present.precedence:
        connection.execute("REPLACE INTO answers VALUES (?, ?, ?)", row)


def _set_journal(connection: sqlite3.Connection, journal: str) -> None:
    """Waits for others, which SQLite does not do where a file changes its journal."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def find_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Type of the file system that a folder is on or would be made on; empty where that cannot be found out."""
    try:
        rows = [line.split(" ") for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    types = {re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place): kind for _, place, kind, *_ in rows}
    folder = folder.resolve()
    return next((types[str(place)] for place in (folder, *folder.parents) if str(place) in types), "")
