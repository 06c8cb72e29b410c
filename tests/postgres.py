"""A PostgreSQL server of one's own: on a free loopback port, in a folder that is gone afterwards, with a password."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

USER = "mlflow"
PLACES = "/usr/lib/postgresql/*/bin"


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the address of an empty database, user and password in it; skips the test where there is no server."""
    binaries = find_binaries()
    folder = Path(tempfile.mkdtemp(prefix="toy-postgres-"))
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    options = _become_somebody(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **options)

    data = str(folder / "data")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-t", "120", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def find_binaries() -> Path:
    """Where the server's programs are."""
    on_path = shutil.which("initdb")
    found = [*sorted(Path("/").glob(f"{PLACES[1:]}/initdb")), *([Path(on_path)] if on_path else [])]
    if not found:
        pytest.skip("no PostgreSQL here: initdb is neither on the PATH nor in " + PLACES)
    return found[-1].resolve().parent


def _become_somebody(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.getuid():
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    somebody = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    for path in (folder, folder / "password"):
        os.chown(path, somebody.pw_uid, somebody.pw_gid)
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}
