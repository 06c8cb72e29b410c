"""Downloads that go on where they stopped: a file is there whole, or as a part of it beside."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ur4rec.data.errors import SourceError
from ur4rec.data.published import MAX_DOWNLOAD_BYTES
from ur4rec.storage.writing import writing
from ur4rec.terminal import PlainColumn, PlainConsole

TIMEOUT_S = 20
CHUNK_BYTES = 1 << 16
PARTIAL = 206
NOT_SATISFIABLE = 416


def download(url: str, target: Path, max_bytes: int = MAX_DOWNLOAD_BYTES) -> Path:
    """Download a file, with a progress bar if standard error is a terminal.

    What came before the connection broke is kept as `NAME.part`. The next call goes on from there, unless the file has
    changed at its address.

    Raises:
        SourceError: The file cannot be had within the timeout, ends too early, or is absurdly large.
    """
    part, version = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.version")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, version, max_bytes)
        part.replace(target)
        version.unlink(missing_ok=True)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    return target


def _receive(url: str, part: Path, version: Path, max_bytes: int) -> None:
    """Append to the part what the server has behind it, or begin anew."""
    columns = (PlainColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = PlainConsole(stderr=True)
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    with _open(url, part, version) as response, bar as progress, writing(part):
        goes_on = getattr(response, "status", None) == PARTIAL
        before = part.stat().st_size if goes_on else 0
        if not goes_on:
            version.write_text(_name_version(response.headers))
        length = response.headers.get("Content-Length")
        total = before + int(length) if length else None
        task = progress.add_task(part.stem, total=total, completed=before)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                progress.advance(task, len(chunk))
                if file.tell() > max_bytes:
                    raise SourceError(f"{url}: more than {max_bytes:,} bytes; refused")
            received = file.tell()
    if total is not None and received < total:
        raise SourceError(f"{url}: the connection ended after {received:,} of {total:,} bytes; the next try goes on")


def _open(url: str, part: Path, version: Path) -> http.client.HTTPResponse:
    """Ask for what is missing, if the server can tell whether the file is still the same."""
    known = version.read_text() if part.is_file() and version.is_file() else ""
    headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": known} if known else {}
    try:
        return _ask(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE:
            raise
        with suppress(OSError):
            error.close()
    return _ask(url, {})


def _ask(url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - constant address
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    return response


def _name_version(headers: Message) -> str:
    """Return what tells one version of a file from another; a weak tag does not."""
    tag = headers.get("ETag") or ""
    return tag if tag.startswith('"') else headers.get("Last-Modified") or ""
