"""Three promotions and two rollbacks of trained models: aliases, tags, history, and the predictions byte for byte."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from registry_servers import running_cluster_server, running_server
from toy_runs import Trained

from ur4rec.registry.champion.history import fetch_history
from ur4rec.registry.champion.move import PromotionRefused
from ur4rec.registry.champion.promotion import promote, roll_back
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.verdict import PASSED, TAG_CHAMPION, TAG_VERDICT
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.register import register_model

pytest_plugins = ["trained_toys"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]
CONFIG = RegistryConfig()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers late, on a busy machine, is not what is tested."""
    monkeypatch.setattr("ur4rec.registry.champion.move.HOLD_LIMIT_S", 600.0)


@pytest.fixture
def sqlite_server(tmp_path: Path, empty_database: Path) -> Iterator[str]:
    with clean_environment(tmp_path):
        store = copy_database(empty_database, tmp_path)
        with running_server(store, str(tmp_path / "store"), find_free_port(), tmp_path / "server.log") as server:
            yield server.address


@pytest.fixture
def cluster_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with clean_environment(tmp_path), running_cluster_server(tmp_path) as server:
        yield server.address


def test_promotions_and_rollbacks_on_sqlite(
    sqlite_server: str, trained: Trained, retrained: Trained, tmp_path: Path
) -> None:
    check_promotions_and_rollbacks(sqlite_server, trained, retrained, tmp_path)


@pytest.mark.slow
@pytest.mark.emulator
def test_promotions_and_rollbacks_on_postgresql_and_cloud_storage(
    cluster_server: str, trained: Trained, retrained: Trained, tmp_path: Path
) -> None:
    check_promotions_and_rollbacks(cluster_server, trained, retrained, tmp_path)


def check_promotions_and_rollbacks(uri: str, trained: Trained, retrained: Trained, tmp_path: Path) -> None:
    answers, champion = {}, "none"
    for number, inputs in enumerate([trained.inputs, retrained.inputs, evaluate_again(trained, tmp_path)], start=1):
        registration = register_model(*inputs, CONFIG, tmp_path / "registration.json", uri)
        assert registration.version == str(number)
        pass_gate(uri, registration.version, champion)
        promotion = promote(CONFIG, "challenger", tracking_uri=uri)
        assert (promotion.version, promotion.moved) == (registration.version, True)
        champion = registration.version
        answers[champion] = predict(uri)
    assert answers["1"] != answers["2"]

    for expected in ("2", "1"):
        assert roll_back(CONFIG, tracking_uri=uri).version == expected
        assert predict(uri) == answers[expected]
    with pytest.raises(PromotionRefused, match=r"goes back to no champion; the way back is 1$"):
        roll_back(CONFIG, tracking_uri=uri)
    check_records(uri)


def evaluate_again(trained: Trained, folder: Path) -> tuple[Path, Path, Path, Path, Path]:
    """The same model, evaluated at another time: another version."""
    results = json.loads(trained.results.read_text())
    results["timings_s"]["evaluate"] += 1.0
    (folder / "results.json").write_text(json.dumps(results))
    return (*trained.inputs[:3], folder / "results.json", trained.report)


def pass_gate(uri: str, version: str, champion: str) -> None:
    with open_mlflow(uri) as client:
        client.set_model_version_tag("ur4rec", version, TAG_VERDICT, PASSED)
        client.set_model_version_tag("ur4rec", version, TAG_CHAMPION, champion)


def predict(uri: str) -> bytes:
    request = pd.DataFrame({"user_id": ["u03", None, "nobody"], "history": [None, ["i05", "i06"], None]})
    with open_mlflow(uri):
        table: pd.DataFrame = mlflow.pyfunc.load_model("models:/ur4rec@champion").predict(request)
        return table.to_csv(index=False).encode()


def check_records(uri: str) -> None:
    with open_mlflow(uri) as client:
        model = client.get_registered_model("ur4rec")
        assert {alias: str(version) for alias, version in model.aliases.items()} == {"champion": "1", "challenger": "3"}
        history = fetch_history(client, "ur4rec", "champion")
        assert [(str(entry.kind), entry.version, entry.previous) for entry in history.entries] == [
            ("promotion", "1", ""),
            ("promotion", "2", "1"),
            ("promotion", "3", "2"),
            ("rollback", "2", "3"),
            ("rollback", "1", "2"),
        ]
        assert history.rolled_back == {"2", "3"}
        tags = [client.get_model_version("ur4rec", str(number)).tags for number in (1, 2, 3)]
        assert [each["ur4rec.previous_champion"] for each in tags] == ["2", "3", "2"]
        assert [each["ur4rec.promotion_reason"] for each in tags] == ["rollback", "rollback", "promotion"]
        assert [each["ur4rec.promoted_verdict"] for each in tags] == ["none", "none", "passed"]
        assert all(each["ur4rec.promoted_by"] and each["ur4rec.promoted_at"].endswith(" UTC") for each in tags)
        assert [each.name for each in client.search_registered_models()] == ["ur4rec"]
