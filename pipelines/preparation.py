"""From command-line options to a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.arguments import (
    Inputs,
    Tracking,
    build_arguments,
    check_system,
    locate_data,
    locate_file,
    read_gate_rules,
)
from pipelines.compilation import PIPELINE_FILE, is_current
from pipelines.containers import Runner, make_paths_absolute, plan_containers
from pipelines.local_run import LocalRun
from ur4rec.commands.console import read_config, show
from ur4rec.registry.mlflow_client import resolve_tracking_uri
from ur4rec.storage.inputs import is_cloud

if TYPE_CHECKING:
    from ur4rec.config import Config

DEFAULT_DATA = "ml-100k"
STATE = ".state"
"""Folder of the pipeline root with the state of unfinished stages."""


@dataclass(frozen=True)
class RunOptions:
    """What the user asks for."""

    config: str
    settings: tuple[str, ...]
    data: str | None
    items: str | None
    item_text: str | None
    user_text: str | None
    device: str
    output_dir: Path
    pipeline_root: Path
    caching: bool
    runner: Runner = Runner.PROCESS
    state: str | None = None
    gate_rules: Path | None = None


def prepare(options: RunOptions) -> tuple[LocalRun, Tracking]:
    """Reads the configuration, gets the data and digests everything that the tasks depend on.

    Raises:
        ValueError: Typed: the configuration, the system, the device, the data or the compiled pipeline cannot be used.
    """
    if not is_current(PIPELINE_FILE):
        show(f"note: {PIPELINE_FILE} is older than its sources and runs as it is; python -m pipelines compile")
    config = read_run_config(options.config, options.settings, options.data)
    check_system(config)
    _check_device(options.device)
    inputs = Inputs(
        interactions=locate_data(options.data or DEFAULT_DATA),
        items=locate_file("--items", options.items, "a CSV or Parquet file"),
        item_text=locate_file("--item-text", options.item_text, "a JSON file"),
        user_text=locate_file("--user-text", options.user_text, "a JSON or Parquet file"),
    )
    tracking = Tracking(resolve_tracking_uri(None))
    root = options.pipeline_root.absolute()
    state, rules = options.state or str(root / STATE), read_gate_rules(options.gate_rules)
    if not is_cloud(state):
        state = str(Path(state).absolute())
    containers = None
    if options.runner is Runner.DOCKER:
        config = make_paths_absolute(config)
        containers = plan_containers(config, inputs, tracking, root, state)
    run = LocalRun(
        pipeline=PIPELINE_FILE,
        arguments=build_arguments(config, inputs, options.device, tracking, state, gate_rules=rules),
        environment=tracking.environment,
        pipeline_root=root,
        output_dir=options.output_dir,
        caching=options.caching,
        containers=containers,
    )
    return run, tracking


def read_run_config(config: str, settings: Sequence[str], data: str | None) -> Config:
    """The configuration of a run; data that are chosen on the command line bring their name along.

    Args:
        config: YAML file, or the name of a shipped one.
        settings: `key=value` each.
        data: As chosen; None for the default.

    Raises:
        ConfigError: The file, a key or a value is wrong.
    """
    read = read_config(Path(config), settings)
    if data is None or chooses_dataset_name(settings):
        return read
    return name_after(read, data)


def name_after(config: Config, data: str) -> Config:
    """The configuration with the name that data bring along.

    Raises:
        ConfigError: It cannot be written anywhere.
    """
    return type(config).parse(config.to_dict() | {"dataset_name": name_data(data)}, "--data")


def chooses_dataset_name(settings: Sequence[str]) -> bool:
    """Whether `key=value` settings hold a name for the data."""
    return any(setting.partition("=")[0].strip() == "dataset_name" for setting in settings)


def name_data(data: str) -> str:
    """What data are called that bring no other name."""
    return Path(data.rstrip("/")).stem


def _check_device(device: str) -> None:
    from ur4rec.training.checkpoints import resolve_device

    resolve_device(device)
