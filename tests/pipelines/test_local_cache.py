from __future__ import annotations

import json
from pathlib import Path

from pipelines.local_cache import CACHE_FOLDER, forget_lost_registrations


def write_entry(root: Path, name: str, tracking_uri: str | None) -> Path:
    registration = root / f"{name}.registration"
    if tracking_uri is not None:
        registration.write_text(json.dumps({"tracking_uri": tracking_uri}))
    entry = root / CACHE_FOLDER / f"{name}.json"
    entry.parent.mkdir(exist_ok=True)
    entry.write_text(json.dumps({"registration": {"uri": str(registration)}}))
    return entry


def test_forgets_registrations_in_a_database_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "there.db").touch()
    kept = write_entry(tmp_path, "kept", f"sqlite:///{tmp_path / 'there.db'}")
    gone = write_entry(tmp_path, "gone", f"sqlite:///{tmp_path / 'gone.db'}")
    with_options = write_entry(tmp_path, "with_options", f"sqlite:///{tmp_path / 'there.db'}?timeout=30")
    server = write_entry(tmp_path, "server", "http://localhost:5000")
    deleted = write_entry(tmp_path, "deleted", None)
    other = tmp_path / CACHE_FOLDER / "other.json"
    other.write_text(json.dumps({"sequences": {"uri": "nowhere"}}))
    forget_lost_registrations(tmp_path)
    assert [entry.exists() for entry in (kept, with_options, server, other)] == [True] * 4
    assert not gone.exists()
    assert not deleted.exists()


def test_a_root_without_a_cache_is_fine(tmp_path: Path) -> None:
    forget_lost_registrations(tmp_path)
    assert list(tmp_path.iterdir()) == []
