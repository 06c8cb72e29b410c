"""A proxy that harms what passes between the client and the emulator."""

import gc
import os
from collections.abc import Iterator

import pytest
from emulators import ADDRESS_VARIABLES
from fault_proxy import Proxy, fault_proxy


@pytest.fixture
def proxy(cloud: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    variable = ADDRESS_VARIABLES[cloud.partition(":")[0]]
    with fault_proxy(os.environ[variable]) as proxy:
        monkeypatch.setenv(variable, proxy.address)
        yield proxy
        gc.collect()
