"""The MLflow server goes away in the middle of a registration."""

import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from registry_servers import CutOff, Proxy, running_proxy, running_server

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.register import register_model
from ur4rec.registry.tracking import RegistryError, open_mlflow

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]
CREATE_VERSION = "POST /api/2.0/mlflow/model-versions/create"
CONFIG = RegistryConfig()


@pytest.fixture
def place(tmp_path, empty_database):
    """Arguments of a server that can be started again."""
    with clean_environment(tmp_path):
        store = copy_database(empty_database, tmp_path)
        yield store, str(tmp_path / "store"), find_free_port(), tmp_path / "server.log"


def versions(uri):
    with open_mlflow(uri) as client:
        return [str(version.version) for version in client.search_model_versions("name = 'ur4rec'")]


def register(trained, folder, uri):
    return register_model(*trained.inputs, CONFIG, folder / "registration.json", uri)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["PUT /api/2.0/mlflow-artifacts", CREATE_VERSION])
def test_a_stopped_server_ends_the_task_and_its_retry_registers_one_version(place, trained, tmp_path, after):
    """Stopped while files are uploaded, or when the version is made and nobody has heard of it."""
    proxy = Proxy(f"127.0.0.1:{place[2]}")
    with running_proxy(proxy) as address:
        with running_server(*place) as server:

            def stop(number: int, path: str) -> None:
                if path.startswith(after):
                    server.process.terminate()
                    server.process.wait()
                    raise CutOff

            proxy.after = stop
            with pytest.raises(RegistryError) as failure:
                register(trained, tmp_path, address)
        assert str(failure.value).startswith(f"MLflow at {address}: ")
        assert "check MLFLOW_TRACKING_URI and that `mlflow server` is up" in str(failure.value)
        assert not (tmp_path / "registration.json").exists()
        first = next(number for number, path in enumerate(proxy.paths) if path.startswith(after))
        assert len(proxy.paths) - first > 3, "it was tried again before it failed"

        proxy.after = lambda number, path: None
        with running_server(*place):
            assert register(trained, tmp_path, address).version == "1"
            assert versions(address) == ["1"]


def test_a_lost_answer_to_the_last_request_leaves_one_version(place, trained, tmp_path):
    lost = []

    def lose(number: int, path: str) -> None:
        if path == CREATE_VERSION and not lost:
            lost.append(number)
            raise CutOff

    with running_server(*place) as server:
        proxy = Proxy(server.host, after=lose)
        with running_proxy(proxy) as front:
            registration = register(trained, tmp_path, front)
        assert proxy.paths.count(CREATE_VERSION) == 2
        assert registration.version == "1"
        assert versions(server.address) == ["1"]
