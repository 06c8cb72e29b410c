"""The gate as its task calls it, against MLflow with tables in PostgreSQL and files below gs://."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from chain_models import make_rules, write_ring
from chain_versions import register_chain, set_alias, tags_of
from clean_registry import clean_environment
from registry_servers import ClusterServer, running_cluster_server
from toy_registration import make_registration

from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.gate import gate_registered
from ur4rec.registry.gate.verdict import Verdict, load_verdict
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.versions import TAG_MODEL

pytestmark = [pytest.mark.server, pytest.mark.emulator, pytest.mark.slow, pytest.mark.timeout(900)]
pytestmark += [pytest.mark.filterwarnings(f"ignore::{kind}:mlflow") for kind in ("DeprecationWarning", "FutureWarning")]
CHAMPION, BETTER, WORSE = "1", "2", "3"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of 400 users on a ring of 40 items."""
    return write_ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture(scope="module")
def ring_data(ring: Path) -> Sequences:
    return load_sequences(ring)


@pytest.fixture(scope="module")
def server(ring: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServer]:
    """Three versions, of which the first is the champion."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_GCE_CHECK", "true")
        with clean_environment(folder), running_cluster_server(folder) as server:
            for number, known in ((CHAMPION, range(1, 21)), (BETTER, range(1, 31)), (WORSE, range(1, 13))):
                assert register_chain(server.address, ring, folder / number, known) == number
            set_alias(server.address, "champion", CHAMPION)
            yield server


@pytest.fixture
def gate(server: ClusterServer, ring: Path, tmp_path: Path) -> Callable[..., Verdict]:
    """Judges a version as the task does; its verdict is what the task's file holds."""

    def gate(version: str, **rules: Any) -> Verdict:
        registration = make_registration(version, server.address)
        file, decision = tmp_path / "registration.json", tmp_path / "decision.json"
        file.write_text(registration.model_dump_json())
        paths = ring, file, RegistryConfig(), make_rules(**rules), decision, tmp_path / "summary.md"
        verdict = gate_registered(*paths, tracking_uri=server.address)
        assert load_verdict(decision) == verdict
        return verdict

    return gate


@pytest.fixture
def remove(server: ClusterServer) -> Iterator[Callable[[str], None]]:
    """Removes the champion's objects whose names match a pattern; what was removed comes back afterwards."""
    from google.cloud import storage

    client = storage.Client(project="toy")
    removed: list[tuple[str, bytes]] = []

    def remove(pattern: str) -> None:
        blobs = [blob for blob in client.list_blobs(server.bucket) if fnmatch(blob.name, f"{place}/{pattern}")]
        assert blobs
        for blob in blobs:
            removed.append((blob.name, blob.download_as_bytes()))
            blob.delete()

    with open_mlflow(server.address) as registry:
        model = registry.get_logged_model(tags_of(server.address, CHAMPION)[TAG_MODEL])
    place = f"{model.artifact_location.removeprefix('mlflow-artifacts:/')}/{BUNDLE_PATH}"
    yield remove
    for name, content in removed:
        client.bucket(server.bucket).blob(name).upload_from_string(content)
    client.close()


@pytest.mark.parametrize(("version", "expected"), [(BETTER, "passed"), (WORSE, "failed")])
def test_a_challenger_is_judged_against_the_champion(
    gate: Callable[..., Verdict], server: ClusterServer, ring_data: Sequences, version: str, expected: str
) -> None:
    verdict = gate(version)
    assert (verdict.verdict, verdict.challenger, verdict.champion) == (expected, version, CHAMPION)
    assert [each.rule for each in verdict.failures if each.rule == "champion"] == ["champion"] * (version == WORSE)
    tags = tags_of(server.address, version)
    assert {key: tags[key] for key in verdict.tags()} == verdict.tags()
    assert tags["ur4rec.gate_verdict"] == expected
    assert tags["ur4rec.gate_champion"] == CHAMPION
    assert tags["ur4rec.gate_test_digest"] == ring_data.digest


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [("*", "its artifacts are gone"), ("*.pt", "missing")],
    ids=["all of its files", "its weights alone"],
)
def test_a_champion_whose_files_are_gone_follows_the_rule_for_it(
    gate: Callable[..., Verdict], server: ClusterServer, remove: Callable[[str], None], pattern: str, problem: str
) -> None:
    remove(pattern)
    refused = gate(BETTER)
    assert [each.rule for each in refused.failures] == ["champion_scored"]
    assert f"version {CHAMPION} cannot be scored: " in refused.failures[0].detail
    assert problem in refused.failures[0].detail
    assert tags_of(server.address, BETTER)["ur4rec.gate_verdict"] == "failed"
    assert gate(BETTER, champion_unscorable="floor_only").passed
    assert tags_of(server.address, BETTER)["ur4rec.gate_verdict"] == "passed"
