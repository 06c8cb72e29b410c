"""Tasks in containers on this machine: what the runner of kfp is told, and what it gets wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from components.image import IMAGE_USER
from pipelines.inputs import Inputs, list_local_files
from ur4rec.registry.environment import LOCAL_RUN, RUN_OWNER
from ur4rec.storage.stores import is_cloud
from ur4rec.text.provider_table import API_KEYS

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from ur4rec.config import Config

FORWARDED = (*API_KEYS.values(), "STORAGE_EMULATOR_HOST", "OMP_NUM_THREADS", LOCAL_RUN, RUN_OWNER)
LAST_LINES_S = 20.0
"""How long to wait for what a container has printed before it ended."""
FORWARDED_PREFIXES = ("MLFLOW_", "AWS_", "GOOGLE_CLOUD_")


class ContainerError(ValueError):
    """A run that containers cannot do; says what to change."""


class Containers(BaseModel):
    """How containers are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """`uid:gid`."""
    read_only: tuple[str, ...]
    """Paths of this machine that tasks read, at the same place in the container."""
    writable: tuple[str, ...]
    environment: tuple[str, ...]
    """Names of variables that are handed on."""

    def run_arguments(self) -> dict[str, Any]:
        """Return what the runner takes: as little as possible is allowed, but loopback servers can be reached."""
        from docker.types import Mount

        mounts = [
            Mount(path, path, type="bind", read_only=paths is self.read_only)
            for paths in (self.read_only, self.writable)
            for path in paths
        ]
        return {
            "user": self.user,
            "read_only": True,
            "tmpfs": {"/tmp": "rw,exec"},  # noqa: S108  # of the container
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "network_mode": "host",
            "mounts": mounts,
            "environment": {name: os.environ[name] for name in self.environment if name in os.environ},
        }


def make_paths_absolute(config: Config) -> Config:
    """Return the configuration with absolute paths, which mean the same in a container."""
    paths = list_local_files(config)
    if config.text_cache and not is_cloud(config.text_cache):
        paths["text_cache"] = config.text_cache
    return config.model_copy(update={name: str(Path(path).expanduser().absolute()) for name, path in paths.items()})


def plan_containers(config: Config, inputs: Inputs, pipeline_root: Path) -> Containers:
    """Plan what tasks may see of this machine; all paths are absolute.

    Args:
        config: As `make_paths_absolute` gives it; may name prompts, prices, an encoder and a cache of answers.
        inputs: What is read.
        pipeline_root: Where the artifacts are; kfp shares it with every task.

    Raises:
        ContainerError: The registry is a file, which tasks in containers would not share.
    """
    if not inputs.tracking.uri.startswith(("http://", "https://")):
        raise ContainerError(
            f"--runner docker: the registry is {inputs.tracking.public}, which containers do not see; start "
            "`mlflow server` and set MLFLOW_TRACKING_URI=http://…"
        )
    given = [inputs.interactions, inputs.items, inputs.item_text, inputs.user_text, *list_local_files(config).values()]
    user, group = os.getuid(), os.getgid()
    if not user:  # tasks never run as root
        user = group = IMAGE_USER
    pipeline_root.mkdir(parents=True, exist_ok=True)
    written = map(Path, _list_paths([config.text_cache, inputs.state]))
    writable = [folder for folder in written if not folder.is_relative_to(pipeline_root)]
    for folder in writable:
        folder.mkdir(parents=True, exist_ok=True)
    if not os.getuid():
        for folder in (pipeline_root, *writable):
            os.chown(folder, user, group)
    names = sorted(name for name in os.environ if name in FORWARDED or name.startswith(FORWARDED_PREFIXES))
    return Containers(
        user=f"{user}:{group}",
        read_only=tuple(_list_paths(given)),
        writable=tuple(map(str, writable)),
        environment=tuple(dict.fromkeys([*names, *inputs.tracking.environment])),
    )


def _list_paths(locations: Iterable[str | None]) -> list[str]:
    return [location for location in locations if location and not is_cloud(location)]


def run_container(client: DockerClient, image: str, command: list[str], volumes: Any, **arguments: Any) -> int:
    """Run a container of docker or podman to its end, print what it prints, and return its exit code.

    In place of the function of kfp (2.17), which has containers removed as they end: where that comes before its
    question for the exit code, it takes a failure for a success.
    """
    from docker.errors import ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        client.images.pull(image)
    container = client.containers.run(image=image, command=command, detach=True, volumes=volumes, **arguments)
    try:
        printed: list[bytes] = []
        follower = Thread(target=_print_logs, args=(container, printed), daemon=True)
        follower.start()
        code = int(container.wait()["StatusCode"])
        follower.join(LAST_LINES_S)
        if follower.is_alive():  # podman may go on following a container that has ended
            rest = container.logs(stream=False)[sum(map(len, printed)) :]
            print(rest.decode(errors="replace"), end="", flush=True)
        return code
    finally:
        with suppress(Exception):
            container.remove(force=True)


def _print_logs(container: Container, printed: list[bytes]) -> None:
    for line in container.logs(stream=True):
        printed.append(line)
        print(line.decode(errors="replace"), end="", flush=True)
