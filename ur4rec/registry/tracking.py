"""A quiet MLflow client on an explicit address, with errors a user can act on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from filelock import Timeout

from ur4rec.registry.local_database import hold_database, make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACKING_URI = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = "mlflow.db"
ARTIFACTS_FOLDER = "mlartifacts"
SQLITE = "sqlite:///"
REGISTERED = "models:/"
"""How the address of a registered model begins."""
GONE = "RESOURCE_DOES_NOT_EXIST"
"""What MLflow answers where there is no such thing."""
REFUSED_VALUE = "INVALID_PARAMETER_VALUE"
"""What it answers to a name or a value that it does not take."""
QUOTES = "\"'"

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own default waits four minutes for a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""Set before MLflow is imported, unless the user has set them."""


class RegistryError(ValueError):
    """MLflow cannot be reached or refused a request; says where and what to do."""


def prepare_mlflow() -> None:
    """Turns off MLflow's telemetry and chatter; to be called before `import mlflow`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def open_mlflow(tracking_uri: str | None = None, read_only: bool = False) -> Iterator[MlflowClient]:
    """A client for `tracking_uri`, which is also MLflow's global address until the block ends.

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
    except (MlflowException, SQLAlchemyError, Timeout) as error:
        raise RegistryError(_explain(uri, str(error), getattr(error, "error_code", None))) from None
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # None resets it, "" would not
        os.environ.pop(TRACKING_URI, None)  # MLflow leaves it where one block was inside another
        if before is not None:
            os.environ[TRACKING_URI] = before


def resolve_tracking_uri(tracking_uri: str | None) -> str:
    """The address to use; sqlite paths become absolute."""
    uri = tracking_uri or os.environ.get(TRACKING_URI) or SQLITE + DEFAULT_DATABASE
    if not uri.startswith(SQLITE):
        return uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"


def database_of(uri: str) -> Path | None:
    """The file behind an address of sqlite; None for any other address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def public_uri(uri: str) -> str:
    """The address without user, password and query, fit for logs and files."""
    if uri.startswith(SQLITE):
        return uri
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment, made if need be; beside a sqlite file its artifacts get an absolute folder."""
    from mlflow.exceptions import MlflowException

    experiment_id = _find_experiment(client, name)
    if experiment_id is not None:
        return experiment_id
    try:
        return str(client.create_experiment(name, artifact_location=_artifact_location(client)))
    except MlflowException as error:
        made_meanwhile = error.error_code == "RESOURCE_ALREADY_EXISTS" and _find_experiment(client, name)
        if not made_meanwhile:
            raise
        return made_meanwhile


def _open_client(uri: str) -> MlflowClient:
    import mlflow

    database = database_of(uri)
    if database is None:
        return mlflow.MlflowClient()
    with hold_database(database):
        make_database(database)
        return mlflow.MlflowClient()


def _find_database(uri: str, read_only: bool) -> None:
    """Nothing is made for a reader: an empty database would only hide that it looks in the wrong place."""
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


def _find_experiment(client: MlflowClient, name: str) -> str | None:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage != "active":
        raise RegistryError(
            f"experiment {name!r} is deleted in MLflow; "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` "
            "or choose another experiment_name"
        )
    return str(experiment.experiment_id)


def _artifact_location(client: MlflowClient) -> str | None:
    database = database_of(str(client.tracking_uri))
    return None if database is None else (database.parent / ARTIFACTS_FOLDER).as_uri()


def _explain(uri: str, message: str, code: str | None) -> str:
    clean = _shorten(message).rstrip(".").replace(uri, public_uri(uri))
    for secret in _secrets(uri):
        clean = clean.replace(secret, "***")
    return f"MLflow at {public_uri(uri)}: {clean}; {_advise(message, code)}"


def _shorten(message: str) -> str:
    """Leaves out what only a developer of MLflow needs: statements, and the connection as its library prints it."""
    _, caused, cause = message.partition("(Caused by ")
    if not caused:
        return message.partition("[SQL:")[0].strip()
    cause = re.sub(r"\w+\(host='[^']*', port=\d+\): ", "", cause)
    cause = re.sub(r"^\w+\(", "", cause).removesuffix("))")
    return f"no usable answer: {cause.strip(QUOTES)}"


def _advise(message: str, code: str | None) -> str:
    if "Max retries exceeded" in message:
        return "check MLFLOW_TRACKING_URI and that `mlflow server` is up, or unset it to use a local mlflow.db"
    if "disk is full" in message or "disk I/O error" in message:
        return "free some space there"
    if "readonly database" in message or "unable to open database" in message:
        return "choose a place that can be written to, with --tracking-uri for example"
    if "error code 401" in message or "error code 403" in message:
        return "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if re.search(r"\(sqlite3\.\w+\) (table|index|no such|duplicate column)", message):
        return (
            "its tables are not whole: another program was stopped while it made them; "
            "restore a copy or move the file away, and run this again"
        )
    if "could not be acquired" in message:
        return "another command is opening this database: end it if it hangs, and run this again"
    if "filesystem tracking backend" in message:
        return "a sqlite file is named sqlite:///PATH, a server http://HOST:PORT"
    if "Invalid Model Version stage" in message or "Logged model with ID" in message:
        return "write models:/NAME@ALIAS or models:/NAME/NUMBER"
    if "not found" in message and ("alias" in message or "Model Version" in message):
        return "`ur4rec registry list` shows the versions and their aliases"
    if "not found" in message:
        return "register a model first, or correct its name or alias"
    if code == REFUSED_VALUE:
        return "correct the setting or option that has this value"
    return "check the address and what this user may do there"


def _secrets(uri: str) -> list[str]:
    user_info, at, _ = urlsplit(uri).netloc.rpartition("@")
    password = user_info.partition(":")[2]
    return [secret for secret in (user_info if at else "", password) if secret]
