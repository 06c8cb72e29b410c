from pathlib import Path

import pytest
from chain_models import write_ring

from ur4rec.data.sequences import Sequences, load_sequences


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of 400 users on a ring of 40 items."""
    return write_ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture(scope="session")
def ring_data(ring: Path) -> Sequences:
    return load_sequences(ring)
