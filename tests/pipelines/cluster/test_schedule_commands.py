from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp
import pytest
from kfp_server import KfpServer, parse_leniently
from typer.testing import CliRunner, Result

from pipelines.__main__ import app

pytestmark = pytest.mark.server

QUIET = f"0 0 {(datetime.now(UTC) + timedelta(hours=6)).hour} * * *"
"""Every day at an hour that no test lasts until."""


@pytest.fixture(autouse=True)
def no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule never looks at the data: its runs do."""

    def refuse(location: str) -> list[str]:
        raise AssertionError(location)

    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", refuse)


def invoke(*arguments: str, expected: int = 0) -> str:
    result: Result = CliRunner().invoke(app, ["schedule", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == expected, result.output
    return result.output


def create(*arguments: str, name: str = "nightly", cron: str = QUIET) -> str:
    return invoke("create", name, "--config", "toy", "--data", "gs://bucket/plays", "--cron", cron, *arguments)


def only(server: KfpServer) -> dict[str, Any]:
    (schedule,) = server.schedules.values()
    return schedule


def parameters_of(run: dict[str, Any]) -> dict[str, Any]:
    found = run["runtime_config"]["parameters"]
    assert isinstance(found, dict)
    return found


def test_a_schedule_leaves_the_state_of_the_data_to_its_runs(kfp_server: KfpServer) -> None:
    texts = ("--item-text", "gs://bucket/items.json", "--set", "text_provider=dashscope")
    output = create("--state", "gs://bucket/state", *texts, "--set", "text_cache=gs://bucket/texts")
    schedule = only(kfp_server)
    assert parameters_of(schedule)["data_digest"] == parameters_of(schedule)["text_digest"] == ""
    assert parameters_of(schedule)["state"] == "gs://bucket/state"
    assert parameters_of(schedule)["item_text"] == "gs://bucket/items.json"
    assert schedule["no_catchup"] is True
    assert schedule["max_concurrency"] == "1"
    assert schedule["mode"] == "ENABLE"
    assert f"made: nightly, cron {QUIET}, id {schedule['recurring_run_id']}" in output
    assert re.search(r"next run: \d{4}-\d\d-\d\d \d\d:00:00 UTC", output)


def test_five_fields_would_run_every_hour_and_are_refused(kfp_server: KfpServer) -> None:
    hourly = parse_leniently("0 3 * * *")  # what the server makes of 3:00 every day
    start = datetime(2027, 1, 1, tzinfo=UTC)
    assert hourly.next_after(start) == start + timedelta(minutes=3)
    assert hourly.next_after(start + timedelta(minutes=3)) == start + timedelta(hours=1, minutes=3)
    options = ("create", "x", "--data", "gs://b/p", "--cron", "0 3 * * *")
    output = invoke(*options, expected=2)
    assert "five fields would be shifted by one (seconds come first); did you mean '0 0 3 * * *'?" in output
    assert not kfp_server.requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either --cron '0 0 3 * * *' or --every 1d"),
        (("--cron", QUIET, "--every", "1h"), "expected either"),
        (("--every", "soon"), "--every soon: expected a number with s, m, h, d or w"),
        (("--cron", "TZ=Europe/Berlin 0 0 3 * * *"), "no time zone of its own"),
        (("--every", "1h", "--time-zone", "Europe/Berlim"), "did you mean Europe/Berlin?"),
        (("--every", "1h", "--max-concurrency", "11"), "--max-concurrency 11: expected 1 to 10"),
        (("--every", "1h", "--max-concurrency", "0"), "--max-concurrency 0: expected 1 to 10"),
        (("--every", "1h", "--data", "plays.csv"), "--data plays.csv: expected gs://"),
        (("--every", "1h", "--start", "May"), "--start May: expected a time such as 2027-01-31"),
        (("--every", "1h", "--end", "2020-01-01"), "--end 2020-01-01 00:00:00 UTC: no run would start before it"),
        (("--every", "1d", "--start", "2099-01-01", "--end", "2099-01-01T09:00"), "no run would start before it"),
    ],
)
def test_what_the_server_would_misread_is_refused_before_it_is_asked(
    kfp_server: KfpServer, arguments: tuple[str, ...], message: str
) -> None:
    assert message in invoke("create", "x", "--data", "gs://b/p", *arguments, expected=2)
    assert not kfp_server.requests


def test_a_name_is_given_once(kfp_server: KfpServer) -> None:
    create()
    options = ("create", "nightly", "--config", "toy", "--data", "gs://b/p", "--every", "1h")
    assert "exists; change it with `schedule update`" in invoke(*options, expected=2)


def test_every_verb_in_turn(kfp_server: KfpServer) -> None:
    assert "no schedules" in invoke("list")
    create("--max-concurrency", "3", "--catchup")
    first = only(kfp_server)["recurring_run_id"]
    listed = invoke("list")
    for text in ("nightly", "on", f"cron {QUIET}", "fixed"):
        assert text in listed
    assert only(kfp_server)["no_catchup"] is False

    assert "paused: nightly" in invoke("pause", "nightly")
    assert only(kfp_server)["status"] == "DISABLED"
    assert re.search(r"nightly +│ paused .*│ – ", invoke("list"))
    assert "resumed: nightly" in invoke("resume", first)
    assert only(kfp_server)["status"] == "ENABLED"

    output = invoke("trigger", "nightly")
    (run,) = kfp_server.runs.values()
    assert run["run_id"] in output
    assert parameters_of(run) == parameters_of(only(kfp_server))
    assert run["pipeline_version_reference"] == only(kfp_server)["pipeline_version_reference"]

    assert "updated: nightly, every 12h" in invoke("update", "nightly", "--every", "12h", "--no-catchup")
    second = only(kfp_server)
    assert second["recurring_run_id"] != first
    assert second["trigger"]["periodic_schedule"]["interval_second"] == "43200"
    assert second["no_catchup"] is True
    assert second["max_concurrency"] == "3"
    assert kfp_server.sent("DELETE", ".*")[0].query == {"propagation_policy": "ORPHAN"}
    kinds = [request.method for request in kfp_server.requests if re.fullmatch("/recurringruns(/.*)?", request.path)]
    assert kinds[-2:] == ["POST", "DELETE"]

    shown = invoke("show", "nightly")
    for text in (
        second["recurring_run_id"],
        "every 12h",
        "gs://bucket/plays",
        "epochs_per_stage",
        "http://mlflow:5000",
    ):
        assert text in shown
    assert "deleted: nightly" in invoke("delete", "nightly")
    assert not kfp_server.schedules
    assert "there is none; see `schedule list`" in invoke("show", "nightly", expected=2)
    assert "there is none; see `schedule list`" in invoke("show", first, expected=2)


def test_show_tells_the_runs_of_the_ticks_and_the_servers_time_zone(kfp_server: KfpServer) -> None:
    create(cron="0 0 3 * * *")
    kfp_server.advance(kfp_server.now + timedelta(days=1))
    (run,) = kfp_server.runs.values()
    shown = invoke("show", "nightly", "--time-zone", "Asia/Tokyo")
    assert run["run_id"] in shown
    assert "03:00:00 JST" in shown
    assert "18:00:00 UTC" in shown


def test_an_update_of_the_time_leaves_version_and_parameters(kfp_server: KfpServer) -> None:
    create()
    before = only(kfp_server)
    invoke("update", "nightly", "--every", "1d")
    after = only(kfp_server)
    for kept in ("pipeline_version_reference", "runtime_config", "experiment_id"):
        assert after[kept] == before[kept]
    assert not kfp_server.sent("POST", "/pipelines/upload_version")[1:]


def test_an_update_of_settings_keeps_the_others(kfp_server: KfpServer) -> None:
    create("--set", "seed=7", "--set", "epochs_per_stage=3", "--user-text", "gs://bucket/users.parquet")
    before = parameters_of(only(kfp_server))
    invoke("update", "nightly", "--set", "epochs_per_stage=5", "--state", "gs://bucket/state")
    after = parameters_of(only(kfp_server))
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"epochs_per_stage", "state"}
    assert (after["epochs_per_stage"], after["seed"]) == ("5", "7")
    assert after["data_digest"] == ""
    assert after["user_text"] == "gs://bucket/users.parquet"


def test_an_update_of_the_data_leaves_their_name_to_the_task_unless_one_was_chosen(kfp_server: KfpServer) -> None:
    create()
    invoke("update", "nightly", "--data", "gs://bucket/songs")
    assert parameters_of(only(kfp_server))["interactions"] == "gs://bucket/songs"
    assert "dataset_name" not in parameters_of(only(kfp_server))["settings"]
    invoke("update", "nightly", "--set", "dataset_name=mine")
    invoke("update", "nightly", "--data", "gs://bucket/films")
    assert parameters_of(only(kfp_server))["settings"]["dataset_name"] == "mine"


def test_the_rules_of_the_gate_are_those_of_the_schedule_until_others_are_given(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text("min_users: 7\n")
    (tmp_path / "others.yaml").write_text("min_users: 9\n")
    create("--gate-rules", str(tmp_path / "rules.yaml"))
    invoke("update", "nightly", "--set", "epochs_per_stage=5")
    before = parameters_of(only(kfp_server))
    assert before["gate_rules"]["min_users"] == 7
    invoke("update", "nightly", "--gate-rules", str(tmp_path / "others.yaml"))
    after = parameters_of(only(kfp_server))
    assert after == before | {"gate_rules": before["gate_rules"] | {"min_users": 9}}
    (tmp_path / "others.yaml").write_text("min_user: 9\n")
    assert "unknown key 'min_user'" in invoke(
        "update", "nightly", "--gate-rules", str(tmp_path / "others.yaml"), expected=2
    )
    assert parameters_of(only(kfp_server)) == after


def test_runs_start_between_two_moments_and_an_update_keeps_both(kfp_server: KfpServer) -> None:
    begin, end = kfp_server.now + timedelta(days=3), kfp_server.now + timedelta(days=5)
    zone = ("--time-zone", "Asia/Tokyo")
    local = (begin + timedelta(hours=9)).replace(tzinfo=None)
    invoke("create", "few", "--config", "toy", "--data", "gs://b/p", "--every", "1d", *zone,
           "--start", local.isoformat(), "--end", end.isoformat())  # fmt: skip
    (first,) = kfp_server.schedules
    assert {read_moment(only(kfp_server), name) for name in ("start_time", "end_time")} == {begin, end}
    invoke("update", "few", "--max-concurrency", "2")
    (second,) = kfp_server.schedules
    assert {read_moment(only(kfp_server), name) for name in ("start_time", "end_time")} == {begin, end}
    invoke("update", "few", "--end", (end + timedelta(days=1)).isoformat())
    (third,) = kfp_server.schedules
    for _ in range(10):
        kfp_server.advance(kfp_server.now + timedelta(days=1))
        for run in kfp_server.runs.values():
            run["state"] = "SUCCEEDED"
    ticks = kfp_server.ticks_of(first, second, third)
    assert ticks == [(begin + timedelta(days=day)).isoformat() for day in (1, 2, 3)]


def read_moment(schedule: dict[str, Any], name: str) -> datetime:
    (trigger,) = schedule["trigger"].values()
    return datetime.fromisoformat(trigger[name])


def test_a_schedule_without_the_cache_stays_without_it(kfp_server: KfpServer) -> None:
    create("--no-cache")
    invoke("update", "nightly", "--set", "epochs_per_stage=5")
    assert [one["display_name"] for one in kfp_server.pipelines.values()] == ["ur4rec-training-uncached"]
    create(name="other")
    invoke("update", "other", "--no-cache")
    for schedule in kfp_server.schedules.values():
        version = kfp_server.versions[schedule["pipeline_version_reference"]["pipeline_version_id"]]
        assert "enableCache" not in str(version["pipeline_spec"])
    (cached,) = (one for one in kfp_server.pipelines.values() if one["display_name"] == "ur4rec-training")
    assert len([one for one in kfp_server.versions.values() if one["pipeline_id"] == cached["pipeline_id"]]) == 1


def test_a_schedule_may_follow_the_latest_version(kfp_server: KfpServer) -> None:
    create("--latest-version", cron="0 0 3 * * *")
    reference = only(kfp_server)["pipeline_version_reference"]
    assert set(reference) == {"pipeline_id"}
    assert "the latest" in invoke("list")
    kfp_server.advance(kfp_server.now + timedelta(days=1))
    (old,) = kfp_server.versions.values()
    content = b"root: {inputDefinitions: {parameters: {}}}\n"
    parameters = parameters_of(only(kfp_server))
    names = "".join(f"    {name}: {{parameterType: {kind_of(value)}}}\n" for name, value in parameters.items())
    content = f"root:\n  inputDefinitions:\n   parameters:\n{names}".encode()
    new = kfp_server.upload_version({"pipelineid": old["pipeline_id"], "name": "next"}, content)
    for run in kfp_server.runs.values():
        run["state"] = "SUCCEEDED"
    kfp_server.advance(kfp_server.now + timedelta(days=1))
    invoke("trigger", "nightly")
    versions = [run["pipeline_version_reference"]["pipeline_version_id"] for run in kfp_server.runs.values()]
    assert versions == [old["pipeline_version_id"], *[new["pipeline_version_id"]] * 2]


def kind_of(value: object) -> str:
    return "STRUCT" if isinstance(value, dict) else "STRING"


def test_from_a_version_to_the_latest_and_back(kfp_server: KfpServer) -> None:
    create()
    pinned = only(kfp_server)["pipeline_version_reference"]
    invoke("update", "nightly", "--latest-version")
    assert set(only(kfp_server)["pipeline_version_reference"]) == {"pipeline_id"}
    invoke("update", "nightly", "--this-version")
    assert only(kfp_server)["pipeline_version_reference"] == pinned


@pytest.mark.filterwarnings("ignore:This client only works:FutureWarning")
def test_kfp_itself_refuses_the_latest_version(kfp_server: KfpServer) -> None:
    client = kfp.Client(host=kfp_server.address, namespace="any")
    with pytest.raises(ValueError, match="both `pipeline_id` and `version_id` are required"):
        client.create_recurring_run("e", "name", interval_second=60, pipeline_id="p")


def test_pages_of_schedules_are_all_read(kfp_server: KfpServer) -> None:
    create()
    template = only(kfp_server)
    for number in range(230):
        kfp_server._add(kfp_server.schedules, "recurring_run_id", {**template, "display_name": f"s{number:03}"})
    del kfp_server.schedules[template["recurring_run_id"]]
    for schedule_id, schedule in kfp_server.schedules.items():
        schedule["recurring_run_id"] = schedule_id
    output = invoke("list")
    assert all(f"s{number:03}" in output for number in range(230))
