"""A proxy that harms what passes between the client and the emulator."""

import gc
from collections.abc import Iterator

import pytest
from fault_proxy import Proxy, fault_proxy


@pytest.fixture
def proxy(bucket: str, gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with fault_proxy(gcs_emulator) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        yield proxy
        gc.collect()
