"""Locations, and objects in the emulator and in a server that fails on purpose."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix, ObjectExistsError


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("gs://bucket", "bucket", ""),
        ("gs://bucket/", "bucket", ""),
        ("gs://my-bucket.org/a/b c/", "my-bucket.org", "a/b c"),
    ],
)
def test_parses_locations(text: str, bucket: str, prefix: str) -> None:
    assert GcsLocation.parse(text) == GcsLocation(bucket, prefix)
    assert GcsLocation.parse(str(GcsLocation(bucket, prefix))) == GcsLocation(bucket, prefix)


@pytest.mark.parametrize(
    "text", ["bucket/a", "gs://", "gs:///a", "gs://Bucket/a", "gs://bucket//a", "gs://bucket/../a"]
)
def test_refuses_other_text(text: str) -> None:
    with pytest.raises(GcsError, match="expected gs://bucket/prefix") as caught:
        GcsLocation.parse(text)
    assert repr(text) in str(caught.value)


@pytest.fixture
def prefix(bucket: str) -> Iterator[GcsPrefix]:
    prefix = GcsPrefix(GcsLocation(bucket, "some/place"), patience_s=5.0)
    yield prefix
    prefix.close()


@pytest.mark.emulator
def test_lists_only_what_is_directly_below(prefix: GcsPrefix, bucket: str) -> None:
    for place in ("some", "some/place/deeper", "some/placeholder", ""):
        other = GcsPrefix(GcsLocation(bucket, place))
        other.upload_new("other", b"x")
        other.close()
    second, first = prefix.upload_new("b", b"12345"), prefix.upload_new("a", b"")
    assert prefix.list_objects() == [first, second]
    assert (first.name, first.size_bytes, second.size_bytes) == ("a", 0, 5)
    assert second.generation < first.generation
    assert second.created_at_s <= first.created_at_s


@pytest.mark.emulator
def test_never_replaces_an_object(prefix: GcsPrefix, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(b"mine")
    made = prefix.upload_new("a", b"mine")
    assert prefix.upload_new("a", b"mine") == made  # as after a lost answer
    assert prefix.upload_new("a", tmp_path / "same") == made
    with pytest.raises(ObjectExistsError, match="some/place/a: exists with other content"):
        prefix.upload_new("a", b"yours")
    assert prefix.list_objects() == [made]


@pytest.mark.emulator
def test_downloads_in_parallel_and_tells_what_has_gone(prefix: GcsPrefix, tmp_path: Path) -> None:
    objects = [prefix.upload_new(f"{number:02}", str(number).encode() * 1000) for number in range(20)]
    prefix.delete(objects[3:5])
    assert prefix.download(objects, tmp_path) == objects[3:5]
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {f"{number:02}": str(number) * 1000 for number in range(20) if number not in (3, 4)}


@pytest.mark.emulator
def test_deleting_twice_is_no_error(prefix: GcsPrefix) -> None:
    stored = prefix.upload_new("a", b"x")
    prefix.delete([stored])
    prefix.delete([stored])
    assert prefix.list_objects() == []


@pytest.mark.emulator
def test_missing_bucket_is_named(bucket: str) -> None:
    prefix = GcsPrefix(GcsLocation(f"{bucket}-not", "p"))
    for use in (prefix.list_objects, lambda: prefix.upload_new("a", b"x")):
        with pytest.raises(GcsError, match=f"^gs://{bucket}-not/p: no such bucket; create it"):
            use()
    prefix.close()


def test_missing_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(GcsError, match="no usable Google credentials; run `gcloud auth"):
        GcsPrefix(GcsLocation("bucket", ""))


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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
        prefix = GcsPrefix(GcsLocation("bucket", "p"), patience_s=30.0)
        if message is None:
            assert prefix.list_objects() == []
        else:
            with pytest.raises(GcsError, match=message) as caught:
                prefix.list_objects()
            assert "\n" not in str(caught.value)
        prefix.close()
    assert len(asked) == num_asked


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([503]) as (address, asked):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        prefix = GcsPrefix(GcsLocation("bucket", "p"), patience_s=0.01)
        with pytest.raises(GcsError, match=r"retried for 0\.01 s"):
            prefix.list_objects()
        prefix.close()
    assert asked
