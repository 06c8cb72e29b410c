"""A download is whole or goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Site, serve

from ur4rec.data.download import download
from ur4rec.data.errors import SourceError

CONTENT = bytes(range(256)) * 1_000


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as running:
        running.files["/data.zip"] = CONTENT
        yield running


@pytest.mark.server
def test_download(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new" / "data.zip"
    assert download(f"{site.address}/data.zip", target).read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["data.zip"]


@pytest.mark.server
def test_download_of_something_missing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/absent\.zip: .*(404|Not Found)"):
        download(f"{site.address}/absent.zip", tmp_path / "data.zip")


@pytest.mark.server
def test_download_of_something_absurdly_large(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="more than 1,000 bytes; refused"):
        download(f"{site.address}/data.zip", tmp_path / "data.zip", max_bytes=1_000)
    assert not (tmp_path / "data.zip").exists()


def test_download_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/data\.zip: .*refused"):
        download("http://127.0.0.1:9/data.zip", tmp_path / "data.zip")


@pytest.mark.server
def test_a_broken_download_is_told_and_goes_on(site: Site, tmp_path: Path) -> None:
    site.breaks_after = 100_000
    with pytest.raises(SourceError, match="ended after 100,000 of 256,000 bytes; the next try goes on"):
        download(f"{site.address}/data.zip", tmp_path / "data.zip")
    assert not (tmp_path / "data.zip").exists()
    assert download(f"{site.address}/data.zip", tmp_path / "data.zip").read_bytes() == CONTENT
    assert site.asked == [("/data.zip", ""), ("/data.zip", "bytes=100000-")]
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip"]


@pytest.mark.server
def test_a_file_that_changed_meanwhile_begins_anew(site: Site, tmp_path: Path) -> None:
    site.breaks_after = 100_000
    with pytest.raises(SourceError, match="ended after"):
        download(f"{site.address}/data.zip", tmp_path / "data.zip")
    site.files["/data.zip"], site.tags["/data.zip"] = CONTENT[::-1], '"2"'
    assert download(f"{site.address}/data.zip", tmp_path / "data.zip").read_bytes() == CONTENT[::-1]


@pytest.mark.server
@pytest.mark.parametrize("tag", ["", 'W/"1"'])
def test_a_site_without_versions_begins_anew(tag: str, site: Site, tmp_path: Path) -> None:
    site.tags["/data.zip"], site.breaks_after = tag, 100_000
    with pytest.raises(SourceError, match="ended after"):
        download(f"{site.address}/data.zip", tmp_path / "data.zip")
    assert download(f"{site.address}/data.zip", tmp_path / "data.zip").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["", ""]


@pytest.mark.server
def test_a_part_that_is_whole_already(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    (tmp_path / "data.zip.version").write_text('"1"')
    assert download(f"{site.address}/data.zip", tmp_path / "data.zip").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceError, match=r"data\.zip: "):
        download("http://127.0.0.1:9/data.zip", tmp_path / "file" / "data.zip")
