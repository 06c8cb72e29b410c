"""Shape annotations of the model code are checked; no example is timed; the emulator is there for all."""

import sys

import pytest
from emulators import bucket, cloud, gcs_emulator, s3_bucket, s3_emulator
from hypothesis import settings
from jaxtyping import install_import_hook

__all__ = ["bucket", "cloud", "gcs_emulator", "s3_bucket", "s3_emulator"]

install_import_hook("ur4rec.models", "beartype.beartype")
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
COLLECTED_PATH = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[COLLECTED_PATH] = list(sys.path)


@pytest.fixture(autouse=True)
def _import_path(request: pytest.FixtureRequest) -> None:
    """MLflow puts the sources of a loaded model first for good; processes that a later test starts would find them."""
    collected = request.config.stash[COLLECTED_PATH]
    sys.path[:] = collected
