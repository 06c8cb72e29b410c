"""What S3 alone has: credentials, endpoints, uploads in parts, and services that know less of its protocol."""

import random
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from emulators import ADDRESS_VARIABLES, S3_ACCESS, answering, put_at, s3_client
from fault_proxy import Fault, fault_proxy, first

from ur4rec.storage import s3
from ur4rec.storage import s3_client as clients
from ur4rec.storage.objects import NO_OBJECT, ObjectReplacedError, StoreError
from ur4rec.storage.s3 import S3Store
from ur4rec.storage.stores import open_store, parse_location

WRITERS = 8
EMPTY_LIST = b"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides what the machine that runs the tests may have."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def set_access(monkeypatch: pytest.MonkeyPatch, endpoint: str = "") -> None:
    for name, value in S3_ACCESS.items():
        monkeypatch.setenv(name, value)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)


@pytest.mark.usefixtures("_alone")
def test_missing_credentials_and_a_missing_profile_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="s3://bucket: no usable AWS credentials; set AWS_ACCESS_KEY_ID and"):
        open_store("s3://bucket")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"s3://bucket: no usable AWS credentials; .*nobody"):
        open_store("s3://bucket")


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize(
    ("address", "endpoint", "style"),
    [
        ("s3://bucket", "", "auto"),
        ("s3://bucket", "http://storage.example:9000", "path"),
        ("minio://bucket", "http://storage.example:9000", "path"),
    ],
)
def test_a_bucket_is_a_path_except_at_amazon(
    monkeypatch: pytest.MonkeyPatch, address: str, endpoint: str, style: str
) -> None:
    set_access(monkeypatch, endpoint)
    with closing(S3Store(parse_location(address))) as store:
        assert (store._client._client.meta.config.s3 or {}).get("addressing_style", "auto") == style
        assert store._client.endpoint == (endpoint or "https://s3.amazonaws.com")


@pytest.mark.usefixtures("_alone")
def test_minio_needs_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    set_access(monkeypatch)
    with pytest.raises(StoreError, match="minio://bucket/p: the address of the service is not known; set AWS_ENDPOINT"):
        open_store("minio://bucket/p")


@contextmanager
def serving(statuses: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A service that answers with the statuses in turn, the last for ever, and heeds no condition; yields requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = statuses[min(len(asked), len(statuses) - 1)]
            asked.append(f"{self.command} {self.path}")
            body = (EMPTY_LIST if self.command == "GET" else b"") if status == 200 else b"<html>no XML</html>"
            self.send_response(status)
            self.send_header("ETag", f'"{len(asked):032x}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            return

    with answering(Handler) as address:
        set_access(monkeypatch, address)
        yield asked


@pytest.mark.parametrize(
    ("statuses", "num_asked", "message"),
    [
        ([503, 200], 2, None),
        ([429, 200], 2, None),
        ([403], 1, "not allowed to list objects; expected the rights s3:ListBucket"),
        ([400], 1, "could not list objects"),
    ],
)
def test_retries_only_what_may_pass(
    statuses: list[int], num_asked: int, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(statuses, monkeypatch) as asked, closing(S3Store(parse_location("s3://bucket/p"), 30.0)) as store:
        if message is None:
            assert store.list_objects() == []
        else:
            with pytest.raises(StoreError, match=message) as caught:
                store.list_objects()
            assert "\n" not in str(caught.value)
        assert len(asked) == num_asked
        assert asked[0].startswith("GET /bucket?list-type=2")


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([503], monkeypatch) as asked, closing(S3Store(parse_location("s3://bucket/p"), 0.01)) as store:
        with pytest.raises(StoreError, match=r"retried for 0\.01 s"):
            store.list_objects()
        assert asked


def find_closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_service_that_never_answers_is_told_soon_and_given_up_before_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert clients.TOLD_AFTER_S + clients.CONNECT_TIMEOUT_S < 15
    assert clients.UNREACHABLE_S < 40  # the preflight's patience with one check
    monkeypatch.setattr(clients, "UNREACHABLE_S", 0.3)
    monkeypatch.setattr(clients, "TOLD_AFTER_S", 0.05)
    address = f"http://127.0.0.1:{find_closed_port()}"
    set_access(monkeypatch, address)
    with closing(S3Store(parse_location("s3://bucket/p"), 120.0)) as store, pytest.raises(StoreError) as caught:
        store.list_objects()
    assert str(caught.value).startswith("s3://bucket/p: no answer for 0.3 s (")
    assert "check AWS_ENDPOINT_URL, and that the service can be reached from here" in str(caught.value)
    (told,) = caplog.messages
    assert told.startswith(f"{address}: does not answer as it should; asking again for up to 0.3 s")


def test_a_service_that_has_answered_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "UNREACHABLE_S", 0.0)
    with serving([200], monkeypatch), closing(S3Store(parse_location("s3://bucket/p"), 0.5)) as store:
        assert store.list_objects() == []
        set_access(monkeypatch, f"http://127.0.0.1:{find_closed_port()}")
        monkeypatch.setattr(store._client, "_client", clients._connect(store.location))
        with pytest.raises(StoreError, match=r"retried for 0\.5 s"):
            store.list_objects()


def test_a_service_that_ignores_preconditions_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving([200], monkeypatch) as asked, closing(open_store("s3://bucket/p")) as store:
        writes: list[Callable[[], object]] = [
            lambda: store.upload_new("a", b"one"),
            lambda: store.replace("a", b"one", '"tag"'),
            store.check_writable,
        ]
        for write in writes:
            with pytest.raises(StoreError, match=r"^s3://bucket/p: the service ignores the precondition IfNoneMatch"):
                write()
        assert store.list_objects() == []  # reading needs none
        assert [line for line in asked if line.startswith("PUT") and "/p/.ur4rec-probe/" not in line] == []


@pytest.mark.emulator
def test_wrong_credentials_are_told_and_not_shown(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_SECRET_ACCESS_KEY": "hidden-value", "AWS_ACCESS_KEY_ID": "hidden-name"}.items():
        monkeypatch.setenv(name, value)
        with closing(open_store(f"s3://{s3_bucket}/p")) as store:
            with pytest.raises(StoreError, match="no usable AWS credentials; set AWS_ACCESS_KEY_ID") as caught:
                store.upload_new("a", b"one")
            assert "hidden" not in str(caught.value)


@pytest.mark.emulator
def test_a_large_file_goes_in_parts_and_as_a_whole_or_not_at_all(
    s3_bucket: str, s3_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(s3, "MOST_AT_ONCE_BYTES", 5 << 20)
    content, large = random.Random(3).randbytes(12 << 20), tmp_path / "large"
    large.write_bytes(content)
    with fault_proxy(s3_emulator) as proxy:
        monkeypatch.setenv(ADDRESS_VARIABLES["s3"], proxy.address)
        with closing(open_store(f"s3://{s3_bucket}/p")) as store:
            proxy.plan = first(2, Fault.FLIP_REQUEST, lambda request: "partNumber" in request.path)
            stored = store.upload_new("a", large)
            assert proxy.count(Fault.FLIP_REQUEST) == 2
            proxy.plan = first(1, Fault.LOSE_ANSWER, lambda request: request.is_completion)
            again = store.upload_new("b", large)
            assert proxy.count(Fault.LOSE_ANSWER) == 1
            assert store.upload_new("a", large) == stored
            large.write_bytes(content[::-1])
            with pytest.raises(ObjectReplacedError):
                store.replace("a", large, NO_OBJECT)
            with pytest.raises(StoreError, match=r"damaged on its way, 4 times: crc32c .* instead of AAAAAA=="):
                store.replace("c", large, NO_OBJECT, "AAAAAA==")
            assert store.list_objects() == [stored, again]
            assert store.download([stored], tmp_path) == []
        with s3_client() as client:
            assert "Uploads" not in client.list_multipart_uploads(Bucket=s3_bucket)
    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.emulator
@pytest.mark.parametrize("is_new", [True, False], ids=["created", "replaced"])
@pytest.mark.parametrize("size", [10, 9 << 20], ids=["small", "large"])
def test_of_writers_at_once_one_wins(s3_bucket: str, tmp_path: Path, size: int, is_new: bool) -> None:
    for number in range(WRITERS):
        (tmp_path / str(number)).write_bytes(bytes([number]) * size)
    with closing(open_store(f"s3://{s3_bucket}/p")) as store, ThreadPoolExecutor(WRITERS) as pool:
        tag = NO_OBJECT if is_new else store.upload_new("a", b"former").tag

        def write(number: int) -> bool:
            try:
                store.replace("a", tmp_path / str(number), tag)
            except ObjectReplacedError:
                return False
            return True

        won = list(pool.map(write, range(WRITERS)))
        assert won.count(True) == 1
        assert store.download(store.list_objects(), tmp_path) == []
    assert (tmp_path / "a").read_bytes() == (tmp_path / str(won.index(True))).read_bytes()


@pytest.mark.emulator
def test_an_object_of_another_maker_is_compared_too(
    s3_bucket: str, s3_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_at(f"s3://{s3_bucket}/p/a", b"one" * 1000)
    with fault_proxy(s3_emulator) as proxy:
        monkeypatch.setenv(ADDRESS_VARIABLES["s3"], proxy.address)
        with closing(open_store(f"s3://{s3_bucket}/p")) as store:
            proxy.plan = first(1, Fault.FLIP_ANSWER, lambda request: request.is_download)
            assert store.download(store.list_objects(), tmp_path) == []
            assert proxy.count(Fault.FLIP_ANSWER) == 1
            assert (tmp_path / "a").read_bytes() == b"one" * 1000
            assert store.read("a") == (b"one" * 1000, store.list_objects()[0].tag)
