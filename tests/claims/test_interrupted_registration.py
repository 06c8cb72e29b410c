"""The MLflow server, or the registering process, goes away in the middle of a registration."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from present import present
from registry_servers import CutOff, Proxy, running_proxy, running_server
from toy_runs import Trained

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.register import Registration, register_model
from ur4rec.registry.run_log import LONGEST_S, OWNER, name_process

pytest_plugins = ["trained_toys"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]
CREATE_VERSION = "POST /api/2.0/mlflow/model-versions/create"
CONFIG = RegistryConfig()
Place = tuple[str, str, int, Path]


@pytest.fixture
def place(tmp_path: Path, empty_database: Path) -> Iterator[Place]:
    """Arguments of a server that can be started again."""
    with clean_environment(tmp_path):
        store = copy_database(empty_database, tmp_path)
        yield store, str(tmp_path / "store"), find_free_port(), tmp_path / "server.log"


def versions(uri: str) -> list[str]:
    with open_mlflow(uri) as client:
        return [str(version.version) for version in client.search_model_versions("name = 'ur4rec'")]


def register(trained: Trained, folder: Path, uri: str) -> Registration:
    return register_model(*trained.inputs, CONFIG, folder / "registration.json", uri)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["PUT /api/2.0/mlflow-artifacts", CREATE_VERSION])
def test_a_stopped_server_ends_the_task_and_its_retry_registers_one_version(
    place: Place, trained: Trained, tmp_path: Path, after: str
) -> None:
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


def test_a_lost_answer_to_the_last_request_leaves_one_version(place: Place, trained: Trained, tmp_path: Path) -> None:
    lost: list[int] = []

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


def test_what_a_killed_registration_leaves_is_ended_by_the_next(
    trained: Trained, tmp_path: Path, tracking_uri: str
) -> None:
    """Killed while it uploads the model; a run of a living process, and one that is not ours, go on."""
    code = f"""
import time
import ur4rec.registry.register as module
module.save_model_package = lambda *_: (print("uploading", flush=True), time.sleep(600))
paths = {[str(path) for path in trained.inputs]}
module.register_model(*paths, module.RegistrationConfig(), {str(tmp_path / "out.json")!r}, {tracking_uri!r})
"""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = os.environ | {"TMPDIR": str(scratch)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    with process, present(process.stdout) as lines:
        assert any(line == "uploading\n" for line in lines)
        with open_mlflow(tracking_uri) as client:
            experiment = present(client.get_experiment_by_name(CONFIG.experiment_name)).experiment_id
            (left,) = client.search_runs([experiment])
            tags = {"living": {OWNER: name_process()}, "foreign": {}, "elsewhere": {OWNER: "host/ns 1 2"}}
            others = {name: client.create_run(experiment, tags=tag).info.run_id for name, tag in tags.items()}
            long_ago = int((time.time() - 2 * LONGEST_S) * 1000)
            others["long ago"] = client.create_run(experiment, start_time=long_ago, tags=tags["elsewhere"]).info.run_id
        assert left.info.status == "RUNNING"
        register(trained, tmp_path, tracking_uri)
        with open_mlflow(tracking_uri) as client:
            assert client.get_run(left.info.run_id).info.status == "RUNNING", "it uploads still"
        process.send_signal(signal.SIGKILL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        assert list(scratch.iterdir())
        register(trained, tmp_path, tracking_uri)
        register_again(trained, tmp_path, tracking_uri)
    with open_mlflow(tracking_uri) as client:
        found = {name: client.get_run(run_id).info.status for name, run_id in others.items()}
        assert client.get_run(left.info.run_id).info.status == "KILLED"
        models = client.search_logged_models([experiment])
    assert found == {"living": "RUNNING", "foreign": "RUNNING", "elsewhere": "RUNNING", "long ago": "KILLED"}
    assert sorted(str(model.status) for model in models) == ["FAILED", "READY", "READY"]
    assert list(scratch.iterdir()) == []


def register_again(trained: Trained, folder: Path, uri: str) -> Registration:
    """Under another name, so that there is something to upload."""
    config = RegistryConfig(registered_model_name="other")
    return register_model(*trained.inputs, config, folder / "registration.json", uri)
