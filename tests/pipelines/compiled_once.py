"""Everything is compiled and digested once in a session."""

from functools import cache
from pathlib import Path

import pytest

from pipelines import compilation
from pipelines.compilation import NAMED_BY_VERSION
from pipelines.options import ImageOptions
from ur4rec.storage.code_digest import code_digest

compile_anew = compilation.compile_training
digest_once = cache(code_digest)
"""The sources do not change while the tests run."""
compiled: dict[str, bytes] = {}


def compile_once(options: ImageOptions = NAMED_BY_VERSION) -> bytes:
    """Under pytest kfp needs seconds: for every setting of a task it looks at the whole stack."""
    profile = options.profile
    key = repr((options, Path(profile).read_bytes() if profile and Path(profile).is_file() else b""))
    if key not in compiled:
        compiled[key] = compile_anew(options)
    return compiled[key]


def compile_and_digest_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.arguments.code_digest", digest_once)
    for module in ("compilation", "cluster.package", "cluster.schedule_update"):
        monkeypatch.setattr(f"pipelines.{module}.compile_training", compile_once)
