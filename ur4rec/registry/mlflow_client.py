"""A quiet MLflow client on an explicit address, with errors a user can act on."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit, urlunsplit

from filelock import Timeout

from ur4rec.registry.environment import DEFAULTS, PIPELINE_RUN
from ur4rec.registry.local_database import TAG_FOLDER, follow_database, hold_database, make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

TRACKING_URI = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = "mlflow.db"
ARTIFACTS_FOLDER = "mlartifacts"
SQLITE = "sqlite:///"
REGISTERED = "models:/"
"""How the address of a registered model begins."""
GONE = "RESOURCE_DOES_NOT_EXIST"
"""What MLflow answers where there is no such thing."""
EXISTS = "RESOURCE_ALREADY_EXISTS"
"""What it answers where the name is taken."""
REFUSED_VALUE = "INVALID_PARAMETER_VALUE"
"""What it answers to a name or a value that it does not take, such as an alias that nothing has."""
QUOTES = "\"'"
AUTOFLUSH = re.compile(r"\(raised as a result of Query-invoked autoflush;[^)]*\)\s*")

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own default waits four minutes for a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""Set before MLflow is imported, unless the user has set them."""

ADVICE = {
    "Max retries exceeded": "check MLFLOW_TRACKING_URI and that `mlflow server` is up, or unset it to use a local "
    "mlflow.db",
    "disk is full|disk I/O error": "free some space there",
    "readonly database|unable to open database": "choose a place that can be written to, with --tracking-uri for "
    "example",
    "error code 401|error code 403": "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    r"\(sqlite3\.\w+\) (table|index|no such|duplicate column)": "its tables are not whole: another program was stopped "
    "while it made them; restore a copy or move the file away, and run this again",
    "not a database|image is malformed": "the file is damaged, or something else's: restore a copy of it or move it "
    "away, and run this again",
    "could not be acquired|database is locked": "another program holds this database: end it if it hangs, and run this "
    "again",
    "filesystem tracking backend": "a sqlite file is named sqlite:///PATH, a server http://HOST:PORT",
    "Invalid Model Version stage|Logged model with ID": "write models:/NAME@ALIAS or models:/NAME/NUMBER",
    "(?s)(?=.*not found).*(alias|Model Version)": "`ur4rec registry list` shows the versions and their aliases",
    "not found": "register a model first, or correct its name or alias",
}
"""What a message of MLflow matches first → what to do."""
P = ParamSpec("P")
T = TypeVar("T")


class RegistryError(ValueError):
    """MLflow cannot be reached or refused a request; says where and what to do."""


def prepare_mlflow() -> None:
    """Turn off MLflow's telemetry and chatter; to be called before `import mlflow`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # the traceback of an error that is raised


@contextmanager
def open_mlflow(tracking_uri: str | None = None, read_only: bool = False) -> Iterator[MlflowClient]:
    """Open a client for `tracking_uri`, which is also MLflow's global address until the block ends.

    MLflow resolves `models:/…` addresses through its global, so a client alone is not enough.

    Args:
        tracking_uri: Address; None reads `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.
        read_only: Expect a sqlite file to exist; without it, MLflow makes the file.

    Raises:
        RegistryError: Any MLflow failure inside the block, without the address's credentials.
    """
    uri = resolve_tracking_uri(tracking_uri)
    _find_database(uri, read_only)
    prepare_mlflow()
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    prepare_mlflow()  # the import resets the levels of MLflow's loggers
    before = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(uri)
    try:
        yield _open_client(uri)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, Timeout) as error:
        raise RegistryError(_explain(uri, str(error), getattr(error, "error_code", None))) from None
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # None resets it, "" would not
        os.environ.pop(TRACKING_URI, None)  # MLflow leaves it where one block was inside another
        if before is not None:
            os.environ[TRACKING_URI] = before


def answer_or_none(refusal: str, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Ask MLflow, and return None where it answers with this refusal, such as `GONE`.

    Raises:
        MlflowException: It refuses for another reason.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ask(*args, **kwargs)
    except MlflowException as error:
        if error.error_code != refusal:
            raise
        return None


def resolve_tracking_uri(tracking_uri: str | None) -> str:
    """Return the address to use; sqlite paths become absolute.

    Raises:
        RegistryError: A task of a cluster is given none: a file would be gone with its pod.
    """
    uri = tracking_uri or os.environ.get(TRACKING_URI) or ""
    if not uri and os.environ.get(PIPELINE_RUN):
        raise RegistryError(f"tracking_uri: missing; expected MLflow's address, here or in the config map {DEFAULTS}")
    uri = uri or SQLITE + DEFAULT_DATABASE
    if not uri.startswith(SQLITE):
        return uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"


def database_of(uri: str) -> Path | None:
    """Return the file behind an address of sqlite, or None for any other address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def public_uri(uri: str) -> str:
    """Return the address without user, password and query, fit for logs and files."""
    if uri.startswith(SQLITE):
        return uri
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment, made if need be; beside a sqlite file its artifacts get an absolute folder."""
    from mlflow.exceptions import MlflowException

    database = database_of(str(client.tracking_uri))
    location = None if database is None else (database.parent / ARTIFACTS_FOLDER).as_uri()
    tags = {} if database is None else {TAG_FOLDER: str(database.parent)}
    experiment = _find_experiment(client, name)
    if experiment is not None:
        if experiment.artifact_location == location and TAG_FOLDER not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, TAG_FOLDER, tags[TAG_FOLDER])
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name, location, tags))
    except MlflowException as error:
        made_meanwhile = error.error_code == EXISTS and _find_experiment(client, name)
        if not made_meanwhile:
            raise
        return str(made_meanwhile.experiment_id)


def _open_client(uri: str) -> MlflowClient:
    import mlflow

    database = database_of(uri)
    if database is None:
        return mlflow.MlflowClient()
    with hold_database(database):
        make_database(database)
        client = mlflow.MlflowClient()
        follow_database(database)
        return client


def _find_database(uri: str, read_only: bool) -> None:
    """Make the folder of a database that is to be written.

    Nothing is made for a reader: an empty database would only hide that it looks in the wrong place.
    """
    database = database_of(uri)
    if database is None:
        return
    if not read_only:
        database.parent.mkdir(parents=True, exist_ok=True)
    elif not database.is_file() or not database.stat().st_size:
        problem = "is empty" if database.is_file() else "not found"
        raise RegistryError(
            f"{database}: {problem}; register a model first (`ur4rec register`), "
            f"or name MLflow's address with --tracking-uri or {TRACKING_URI}"
        )


def _find_experiment(client: MlflowClient, name: str) -> Experiment | None:
    experiment: Experiment | None = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise RegistryError(
            f"experiment {name!r} is deleted in MLflow; "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` "
            "or choose another experiment_name"
        )
    return experiment


def _explain(uri: str, message: str, code: str | None) -> str:
    clean = _shorten(message).rstrip(".").replace(uri, public_uri(uri))
    user_info = urlsplit(uri).netloc.rpartition("@")[0]
    for secret in filter(None, (user_info, user_info.partition(":")[2])):
        clean = clean.replace(secret, "***")
    return f"MLflow at {public_uri(uri)}: {clean}; {_advise(message, code)}"


def _shorten(message: str) -> str:
    """Leave out what only a developer of MLflow needs: statements, and the connection as its library prints it."""
    _, caused, cause = message.partition("(Caused by ")
    if not caused:
        return AUTOFLUSH.sub("", message.partition("[SQL:")[0]).strip()
    cause = re.sub(r"\w+\(host='[^']*', port=\d+\): ", "", cause)
    cause = re.sub(r"^\w+\(", "", cause).removesuffix("))")
    return f"no usable answer: {cause.strip(QUOTES)}"


def _advise(message: str, code: str | None) -> str:
    for pattern, advice in ADVICE.items():
        if re.search(pattern, message):
            return advice
    if code == REFUSED_VALUE:
        return "correct the setting or option that has this value"
    return "check the address and what this user may do there"
