"""What tasks in containers may see, and the exit code that kfp loses."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from components.image import IMAGE_USER
from pipelines.containers import ContainerError, plan_containers, run_container
from pipelines.inputs import Inputs, Tracking
from ur4rec.config import load_config

LINES = ["é\n".encode(), b"\xff\n"]


class ToyContainer:
    """Is gone as soon as nobody holds it: `wait` knows the code, and removal comes after."""

    def __init__(self, code: int) -> None:
        self.code, self.is_removed = code, False

    def logs(self, stream: bool) -> Iterator[bytes] | bytes:
        return self.follow() if stream else b"".join(LINES)

    def follow(self) -> Iterator[bytes]:
        yield from LINES

    def wait(self) -> dict[str, int]:
        assert not self.is_removed
        return {"StatusCode": self.code}

    def remove(self, force: bool) -> None:
        self.is_removed = True


class ToyDocker:
    def __init__(self, code: int) -> None:
        self.container, self.images, self.containers = ToyContainer(code), self, self
        self.arguments: dict[str, object] = {}

    def get(self, image: str) -> None: ...

    def run(self, **arguments: object) -> ToyContainer:
        self.arguments = arguments
        return self.container


class Endless(ToyContainer):
    """Says a line and then nothing any more, although it has ended."""

    def follow(self) -> Iterator[bytes]:
        yield LINES[0]
        Event().wait()


def test_a_log_that_does_not_end_with_its_container_is_read_to_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docker")
    monkeypatch.setattr("pipelines.containers.LAST_LINES_S", 0.5)
    client = ToyDocker(3)
    client.container = Endless(3)
    assert run_container(client, "image", ["true"], {}) == 3
    assert capsys.readouterr().out == "é\n�\n"


@pytest.mark.parametrize("code", [0, 3, 137])
def test_the_exit_code_is_the_container_s(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("docker")
    client = ToyDocker(code)
    assert run_container(client, "image", ["true"], {}, user="7:7") == code
    assert capsys.readouterr().out == "é\n�\n"
    assert client.container.is_removed
    assert client.arguments["detach"] is True
    assert "auto_remove" not in client.arguments


def test_tasks_see_their_inputs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    monkeypatch.setenv("HOME_OF_SECRETS", "x")
    (tmp_path / "encoder").mkdir()
    names = {"text_cache": str(tmp_path / "cache"), "text_model_name": str(tmp_path / "encoder")}
    config = load_config("toy", names)
    tracking = Tracking("http://user:password@mlflow:5000")
    state = str(tmp_path / "state")
    inputs = Inputs("gs://bucket/plays", str(tmp_path / "songs.csv"), state=state, tracking=tracking)
    arguments = plan_containers(config, inputs, tmp_path / "root").run_arguments()
    assert {mount["Target"]: mount["ReadOnly"] for mount in arguments["mounts"]} == {
        str(tmp_path / "songs.csv"): True,
        str(tmp_path / "encoder"): True,
        str(tmp_path / "cache"): False,
        str(tmp_path / "state"): False,
    }
    for state in ("gs://bucket/state", str(tmp_path / "root" / "state")):
        assert len(plan_containers(config, replace(inputs, state=state), tmp_path / "root").writable) == 1
    assert arguments["environment"]["OPENAI_API_KEY"] == "sk-toy"
    assert "HOME_OF_SECRETS" not in arguments["environment"]
    assert not arguments["user"].startswith("0:")
    assert (arguments["read_only"], arguments["cap_drop"]) == (True, ["ALL"])
    owner = (tmp_path / "root").stat().st_uid
    assert owner == (int(arguments["user"].partition(":")[0])) in (owner, IMAGE_USER)


def test_a_registry_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"start `mlflow server` and set MLFLOW_TRACKING_URI"):
        plan_containers(load_config("toy"), Inputs("x", tracking=Tracking("sqlite:///mlflow.db")), tmp_path / "root")
