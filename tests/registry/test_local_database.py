"""Real processes that open one database in a file at once, or are killed while they make it."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from clean_registry import clean_environment
from present import present

from ur4rec.registry.mlflow_client import RegistryError, ensure_experiment, open_mlflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "test_local_database"])
PROCESSES = 8


def add_model(uri: str, name: str, line: Barrier | None = None) -> None:
    if line is not None:
        line.wait()
    with open_mlflow(uri) as client:
        run = client.create_run(ensure_experiment(client, "ur4rec"))
        client.create_registered_model(name, tags={"run": run.info.run_id})


def start(*arguments: object) -> ForkServerProcess:
    process = CONTEXT.Process(target=add_model, args=arguments, daemon=True)
    process.start()
    return process


def list_models(uri: str) -> list[str]:
    with open_mlflow(uri, read_only=True) as client:
        return sorted(model.name for model in client.search_registered_models())


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Iterator[Path]:
    """After MLflow has been opened once, for what its libraries warn about then."""
    with clean_environment(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("left", ["nothing", "an empty file", "litter of a kill"])
def test_first_registrations_at_once_all_succeed(folder: Path, left: str) -> None:
    if left == "an empty file":
        (folder / "mlflow.db").touch()
    if left == "litter of a kill":
        (folder / ".mlflow.db-0123abcd.tmp").mkdir()
        (folder / ".mlflow.db-0123abcd.tmp/mlflow.db").write_bytes(b"cut off")
    uri, line = f"sqlite:///{folder}/mlflow.db", CONTEXT.Barrier(PROCESSES)
    processes = [start(uri, f"model-{number}", line) for number in range(PROCESSES)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert list_models(uri) == [f"model-{number}" for number in range(PROCESSES)]
    assert list_files(folder) == ["mlflow.db"]


@pytest.mark.parametrize("grown_to", [0, 100_000, 400_000, 800_000])
def test_a_kill_while_it_is_made_leaves_nothing_in_the_way(folder: Path, grown_to: int) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    process = start(uri, "killed")
    while process.is_alive() and not any(
        path.stat().st_size >= grown_to for path in folder.glob(".mlflow.db-*.tmp/mlflow.db")
    ):
        pass
    os.kill(present(process.pid), signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "mlflow.db").exists()
    add_model(uri, "next")
    assert list_models(uri) == ["next"]
    assert list_files(folder) == ["mlflow.db"]


def make_half(uri: str) -> None:
    """What MLflow's own command leaves when it is killed two steps before the end: it makes the tables in place."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri)  # type: ignore[no-untyped-call]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head-2")
    engine.dispose()


def list_steps(uri: str) -> Any:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    config = _get_alembic_config(uri)  # type: ignore[no-untyped-call]
    return ScriptDirectory.from_config(config).walk_revisions()


def read_revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection, connection:
        return str(connection.execute("select version_num from alembic_version").fetchone()[0])


def test_processes_at_once_finish_what_another_program_left_half_made(folder: Path) -> None:
    uri, line = f"sqlite:///{folder}/mlflow.db", CONTEXT.Barrier(PROCESSES)
    make_half(uri)
    processes = [start(uri, f"model-{number}", line) for number in range(PROCESSES)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert list_models(uri) == [f"model-{number}" for number in range(PROCESSES)]


@pytest.mark.parametrize("damage", ["drop table experiments", "update alembic_version set version_num = '{before}'"])
def test_what_cannot_be_finished_is_named_with_what_to_do(folder: Path, damage: str) -> None:
    """The second is what a kill between a table and the record of it leaves."""
    uri = f"sqlite:///{folder}/mlflow.db"
    make_half(uri)
    (before,) = (step.down_revision for step in list_steps(uri) if step.revision == read_revision(folder / "mlflow.db"))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute(damage.format(before=before))
    advice = r"mlflow\.db: .*; its tables are not whole: .* move the file away, and run this again$"
    with pytest.raises(RegistryError, match=advice), open_mlflow(uri):
        pass
