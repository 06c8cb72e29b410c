"""Promotions against a real MLflow server: races, kills between requests, moves by hand."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from present import present
from promoters import BUSY_MACHINE_S, CONTEXT, compete, promote_version, roll_back_once, start
from registry_servers import CutOff, Proxy, running_proxy, running_server

from ur4rec.registry.champion.history import History, MoveKind, fetch_history, record_tag
from ur4rec.registry.champion.lock import Claim, find_claims
from ur4rec.registry.champion.move import PromotionRefused, plan_move
from ur4rec.registry.champion.promotion import Promotion, promote, roll_back
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.verdict import TAG_CHAMPION, TAG_VERDICT
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.versions import TAG_MODEL

pytest_plugins = ["trained_toys"]
pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]
PROMOTERS = 8
LIMIT_S = 600


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.registry.champion.move.HOLD_LIMIT_S", BUSY_MACHINE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with clean_environment(folder):
        store = copy_database(empty_database, folder)
        with running_server(store, str(folder / "store"), find_free_port(), folder / "server.log") as started:
            yield started.address


@pytest.fixture(scope="module")
def logged_model(server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a logged model with the files that a version needs."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "artifacts/bundle").mkdir(parents=True)
    for name in ("MLmodel", "artifacts/bundle/manifest.json"):
        (folder / name).write_text("{}")
    with open_mlflow(server) as client:
        logged = client.create_logged_model("0", name="toy")
        client.log_model_artifacts(logged.model_id, str(folder))
        return str(client.finalize_logged_model(logged.model_id, "READY").model_id)


class Registry:
    """A registered model with versions that have passed the gate."""

    def __init__(self, server: str, name: str, model_id: str, records: dict[str, str] | None = None) -> None:
        self.server, self.model_id = server, model_id
        self.config = RegistryConfig(registered_model_name=name)
        with open_mlflow(server) as client:
            client.create_registered_model(name, records)

    @property
    def name(self) -> str:
        return self.config.registered_model_name

    def add(self, champion: str) -> str:
        """A version that passed the gate against a champion."""
        tags = {TAG_MODEL: self.model_id, TAG_VERDICT: "passed", TAG_CHAMPION: champion}
        with open_mlflow(self.server) as client:
            source = f"models:/{self.model_id}"
            return str(client.create_model_version(self.name, source, model_id=self.model_id, tags=tags).version)

    def promote(self, version: str, **options: Any) -> Promotion:
        return promote(self.config, version, tracking_uri=self.server, patience_s=0, **options)

    def roll_back(self, **options: Any) -> Promotion:
        return roll_back(self.config, tracking_uri=self.server, patience_s=0, **options)

    def history(self) -> History:
        with open_mlflow(self.server) as client:
            return fetch_history(client, self.name, "champion")

    def claims(self) -> list[Claim]:
        with open_mlflow(self.server) as client:
            return find_claims(client, self.name)

    def tags(self, version: str) -> dict[str, str]:
        with open_mlflow(self.server) as client:
            return dict(client.get_model_version(self.name, version).tags)


def run_until_killed(
    registry: Registry, target: Callable[..., None], version: str, is_time: Callable[[int, str], bool]
) -> bool:
    """Runs a process that is killed with SIGKILL at a request, before the server sees it.

    Args:
        registry: What it works on.
        target: Of the process.
        version: What is promoted.
        is_time: Called with the number of each request, from 1, and its path.

    Returns:
        Whether it was killed.
    """
    child: Future[ForkServerProcess] = Future()
    dead: list[int] = []

    def kill(number: int, path: str) -> None:
        if dead or is_time(number, path):
            dead.append(number)
            os.kill(present(child.result(LIMIT_S).pid), signal.SIGKILL)
            raise CutOff

    proxy = Proxy(registry.server.removeprefix("http://"), before=kill)
    with running_proxy(proxy) as address:
        child.set_result(start(target, registry.config, address, version))
        child.result().join(LIMIT_S)
    assert child.result().exitcode == (-signal.SIGKILL if dead else 0)
    return bool(dead)


def make_registry(server: str, name: str, model_id: str, num_champions: int = 2) -> Registry:
    """Three versions, each passed against the one before; the first two, or all, were champion in turn."""
    before = ("", "1", "2")
    moves = [
        plan_move(MoveKind.PROMOTION, str(number), History({}, before[number - 1]), reason="")
        for number in range(1, num_champions + 1)
    ]
    records = {record_tag(number): move.model_dump_json() for number, move in enumerate(moves, start=1)}
    registry = Registry(server, name, model_id, records)
    for champion in before:
        registry.add(champion or "none")
    with open_mlflow(server) as client:
        client.set_registered_model_alias(name, "champion", str(num_champions))
    return registry


@pytest.mark.slow
@pytest.mark.parametrize("next_command", ["promote", "rollback"])
def test_a_promoter_killed_before_any_request_leaves_what_the_next_command_settles(
    server: str, logged_model: str, next_command: str
) -> None:
    kill_at, was_killed = 0, True
    seen: set[str] = set()
    while was_killed:
        kill_at += 1
        registry = make_registry(server, f"killed-{next_command}-{kill_at}", logged_model)

        def is_time(number: int, path: str, limit: int = kill_at) -> bool:
            return number >= limit

        was_killed = run_until_killed(registry, promote_version, "3", is_time)
        left, claims = registry.history(), registry.claims()
        assert left.champion in ("2", "3")
        if next_command == "promote":
            outcome = registry.promote("3")
            assert outcome.moved is (left.champion == "2")
            assert_settled(registry, "3", ["1", "2", "3"])
            assert registry.tags("3")["ur4rec.previous_champion"] == "2"
            assert len([move for move in registry.history().moves.values() if move.version == "3"]) == 1
        else:
            outcome = registry.roll_back()
            expected = "2" if left.champion == "3" else "1"
            assert outcome.version == expected
            assert_settled(registry, expected, ["1", "2"][: int(expected)])
        assert len(outcome.notes) == len(claims)
        for note in outcome.notes:
            assert note.startswith("the promotion of version 3 by ")
            seen.add(note.rpartition(" was interrupted ")[2])
    assert kill_at > 10
    assert seen == {
        "before the alias moved, so it did not happen",
        "after the alias had moved, so it happened",
        "at its end, when it was recorded",
    }


def assert_settled(registry: Registry, champion: str, champions: list[str]) -> None:
    history = registry.history()
    assert history.champion == champion
    assert history.champions == champions
    assert not [entry for entry in history.entries if entry.kind is MoveKind.BY_HAND], "a move looks like one by hand"
    assert registry.claims() == []


@pytest.mark.parametrize(
    ("request_path", "is_done"),
    [
        ("POST /api/2.0/mlflow/registered-models/alias", False),
        ("POST /api/2.0/mlflow/model-versions/set-tag", True),
        ("DELETE /api/2.0/mlflow/registered-models/delete", True),
    ],
)
def test_a_killed_rollback_can_be_asked_for_again(
    server: str, logged_model: str, request_path: str, is_done: bool
) -> None:
    registry = make_registry(server, f"rolled-{request_path.rpartition('/')[2]}", logged_model, num_champions=3)
    assert run_until_killed(registry, roll_back_once, "", lambda number, path: path == request_path)
    assert registry.history().champion == ("2" if is_done else "3")
    outcome = registry.roll_back()
    assert outcome.version == ("1" if is_done else "2")
    assert len(outcome.notes) == 1
    assert_settled(registry, outcome.version, ["1"] if is_done else ["1", "2"])
    assert registry.history().rolled_back == ({"2", "3"} if is_done else {"3"})


def test_of_eight_promoters_at_once_exactly_one_wins(server: str, logged_model: str, tmp_path: Path) -> None:
    registry = Registry(server, "race", logged_model)
    registry.promote(registry.add("none"))
    versions = [registry.add("1") for _ in range(PROMOTERS)]
    line = CONTEXT.Barrier(PROMOTERS)
    processes = [start(compete, registry.config, server, version, line, tmp_path / version) for version in versions]
    for process in processes:
        process.join(LIMIT_S)
    answers = {version: (tmp_path / version).read_text() for version in versions}
    winners = [version for version, answer in answers.items() if answer == f"promoted {version}"]
    assert len(winners) == 1, answers
    for version, answer in answers.items():
        if version not in winners:
            assert answer.startswith("refused ")
            assert f"version {winners[0]} (promotion of version {winners[0]} by " in answer
    assert_settled(registry, winners[0], ["1", winners[0]])


def test_a_lost_answer_to_any_request_changes_nothing(server: str, logged_model: str) -> None:
    """MLflow's client sends such a request again, whatever it did."""
    number, total = 0, 1
    while number < total:
        number += 1
        registry = make_registry(server, f"lost-{number}", logged_model)

        def lose(request: int, path: str, lost: int = number) -> None:
            if request == lost:
                raise CutOff

        proxy = Proxy(server.removeprefix("http://"), after=lose)
        with running_proxy(proxy) as address:
            assert promote(registry.config, "3", tracking_uri=address).moved
        total = len(proxy.paths) - 1
        assert_settled(registry, "3", ["1", "2", "3"])


def test_a_move_by_hand_is_seen_and_can_be_undone(server: str, logged_model: str) -> None:
    registry = make_registry(server, "by-hand", logged_model)
    with open_mlflow(server) as client:
        client.set_registered_model_alias("by-hand", "champion", "3")
    assert [(entry.kind, entry.version) for entry in registry.history().entries] == [
        ("promotion", "1"),
        ("promotion", "2"),
        ("moved by hand", "3"),
    ]
    with pytest.raises(PromotionRefused, match="passed the gate against champion 2, which is now version 3; run"):
        registry.promote(registry.add("2"))
    assert registry.roll_back().version == "2"
    assert [str(entry.kind) for entry in registry.history().entries][-2:] == ["moved by hand", "rollback"]
    with open_mlflow(server) as client:
        client.set_registered_model_alias("by-hand", "champion", "1")
    assert registry.history().champions == ["1"]
    assert registry.history().rolled_back == {"2", "3"}
