"""One registration against a real MLflow server, with credentials in its address."""

import mlflow
import pandas as pd
import pytest
from registry_servers import running_server

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.register import register_model

PASSWORD = "pa55-w0rd"


@pytest.fixture
def server(tracking_uri, tmp_path, free_port):
    with running_server(tracking_uri, str(tmp_path / "store"), free_port, tmp_path / "server.log") as started:
        yield started.host


@pytest.mark.server
def test_registration_through_a_server(server, trained, tmp_path, capfd):
    uri = f"http://ann:{PASSWORD}@{server}"
    card = tmp_path / "card.md"
    registration = register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", uri, card=card)
    assert f"](http://{server}/#/models/ur4rec/versions/1), [run " in card.read_text()
    assert registration.tracking_uri == f"http://{server}"
    assert capfd.readouterr().out == ""
    again = register_model(*trained.inputs, RegistryConfig(), tmp_path / "again.json", uri)
    assert again == registration
    with open_mlflow(uri):
        model = mlflow.pyfunc.load_model("models:/ur4rec@challenger")
        table = model.predict(pd.DataFrame({"user_id": ["u03", "stranger"]}), params={"k": 2})
    assert table["source"].tolist() == ["user", "user", "fallback", "fallback"]
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert leaks == []
