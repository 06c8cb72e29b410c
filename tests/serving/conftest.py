"""A server that the tests of this folder share."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from toy_server import CONFIG, LENGTH, NUM_ITEMS, NUM_USERS, start_server

from benchmarks.generated_bundle import write_generated_bundle
from ur4rec.recommender.recommender import Recommender


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "bundle"
    write_generated_bundle(path, NUM_USERS, NUM_ITEMS, LENGTH, CONFIG)
    return path


@pytest.fixture(scope="session")
def recommender(bundle: Path) -> Recommender:
    return Recommender.load(bundle)


@pytest.fixture(scope="session")
def client(bundle: Path) -> Iterator[httpx.Client]:
    """Talks to a server that has to end well, with nothing worse to tell than that somebody spoke no HTTP."""
    process, address = start_server(bundle)
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        output, complaints = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "stopped\n")
    assert set(complaints.splitlines()) <= {"Invalid HTTP request received."}
