"""Failures of the service, by a server that fails on purpose; what every store does is in `test_objects`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from emulators import answering

from ur4rec.storage.gcs import GcsStore
from ur4rec.storage.objects import StoreError
from ur4rec.storage.stores import open_store, parse_location


def test_missing_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StoreError, match="no usable Google credentials; run `gcloud auth"):
        open_store("gs://bucket")


@contextmanager
def serving(statuses: list[int]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers with the statuses in turn, the last for ever; yields its address and the listings asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses[min(len(asked), len(statuses) - 1)]
            if "/o?" in self.path:  # the client also asks about the bucket itself, in the background
                asked.append(self.path)
            body = json.dumps({"items": []}).encode() if status == 200 else b"<html>no JSON</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with answering(Handler) as address:
        yield address, asked


@pytest.mark.parametrize(
    ("statuses", "num_asked", "message"),
    [
        ([503, 200], 2, None),
        ([429, 200], 2, None),
        ([403], 1, "not allowed to list objects; expected a role such as roles/storage.objectUser"),
        ([401], 1, "no usable Google credentials"),
        ([400], 1, "could not list objects"),
    ],
)
def test_retries_only_what_may_pass(
    statuses: list[int], num_asked: int, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(statuses) as (address, asked):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        prefix = GcsStore(parse_location("gs://bucket/p"), patience_s=30.0)
        if message is None:
            assert prefix.list_objects() == []
        else:
            with pytest.raises(StoreError, match=message) as caught:
                prefix.list_objects()
            assert "\n" not in str(caught.value)
        prefix.close()
    assert len(asked) == num_asked


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([503]) as (address, asked):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        prefix = GcsStore(parse_location("gs://bucket/p"), patience_s=0.01)
        with pytest.raises(StoreError, match=r"retried for 0\.01 s"):
            prefix.list_objects()
        prefix.close()
    assert asked
