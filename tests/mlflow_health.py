"""Waits for an MLflow server."""

import subprocess
import time
from urllib.error import URLError
from urllib.request import urlopen

START_LIMIT_S = 300.0


def wait_until_healthy(address: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Returns when an MLflow server answers."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, "the server ended"
        try:
            with urlopen(f"{address}/health", timeout=10):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"no MLflow server at {address} after {START_LIMIT_S:g} s")
