"""How addresses read, and that no client is imported before a store is opened."""

import subprocess
import sys
from pathlib import Path

import pytest

from ur4rec.storage.objects import Location, StoreError
from ur4rec.storage.stores import is_cloud, parse_location


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("gs://bucket", "bucket", ""),
        ("gs://bucket/", "bucket", ""),
        ("gs://my-bucket.org/a/b c/", "my-bucket.org", "a/b c"),
    ],
)
def test_parses_locations(text: str, bucket: str, prefix: str) -> None:
    assert parse_location(text) == Location("gs", bucket, prefix)
    assert parse_location(str(Location("gs", bucket, prefix))) == Location("gs", bucket, prefix)


@pytest.mark.parametrize(
    "text", ["bucket/a", "gs://", "gs:///a", "gs://Bucket/a", "gs://bucket//a", "gs://bucket/../a", "s4://bucket/a"]
)
def test_refuses_other_text(text: str) -> None:
    with pytest.raises(StoreError, match="expected gs://bucket/prefix") as caught:
        parse_location(text)
    assert repr(text) in str(caught.value)


def test_a_path_is_not_in_cloud_storage() -> None:
    assert [is_cloud(text) for text in ("gs://bucket", "gs", "gs/a", "", "/gs://a", Path("a"))] == [True] + [False] * 5


def test_no_module_imports_the_client_before_a_store_is_opened() -> None:
    """It takes half a second."""
    modules = "storage.folders, ur4rec.storage.gcs, ur4rec.training.resume, ur4rec.text.imports, ur4rec.cli"
    code = f"import sys, ur4rec.{modules}; print(sorted(name for name in sys.modules if name.startswith('google.c')))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
