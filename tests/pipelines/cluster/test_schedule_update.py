from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from kfp_server import KfpServer

from pipelines.cluster.connection import Cluster, connect
from pipelines.cluster.package import Version, ensure_experiment
from pipelines.cluster.schedule_update import Changes, Clock, Exchange, exchange_schedule, plan_changes
from pipelines.cluster.schedules import Plan, create_schedule, find_schedule, list_runs, pause_schedule
from pipelines.cluster.triggers import ScheduleError, Trigger, read_trigger

pytestmark = pytest.mark.server

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
HOURLY = "0 0 * * * *"
NOTHING = Changes(None, None, None, None, None, (), {})


@pytest.fixture
def cluster(kfp_server: KfpServer) -> Cluster:
    kfp_server.now = NOON - timedelta(hours=2, minutes=30)
    return connect()


@pytest.fixture
def make(kfp_server: KfpServer, cluster: Cluster) -> Callable[..., str]:
    """Makes a schedule of a toy pipeline, half past nine; returns its id."""
    pipeline = kfp_server.create_pipeline({"display_name": "toy"})["pipeline_id"]
    specification = b"root: {dag: {tasks: {}}}\n"
    kfp_server.upload_version({"pipelineid": pipeline, "name": "1"}, specification)

    def make_one(trigger: Trigger, max_concurrency: int = 1) -> str:
        plan = Plan(
            name="nightly",
            trigger=trigger,
            version=Version(pipeline, "", "1"),
            follows_latest=True,
            parameters={},
            experiment_id=ensure_experiment(cluster, "toy"),
            max_concurrency=max_concurrency,
        )
        return str(create_schedule(cluster, plan).recurring_run_id)

    return make_one


def update(server: KfpServer, cluster: Cluster, trigger: Trigger | None = None) -> Exchange:
    """The update, while whose pauses the server's clock goes on."""
    clock = Clock(lambda: server.now, lambda seconds: server.advance(server.now + timedelta(seconds=seconds)))
    old = find_schedule(cluster, "nightly")
    changes = Changes(trigger, 9, None, None, None, (), {})
    return exchange_schedule(cluster, old, plan_changes(cluster, old, changes), UTC_ZONE, lambda line: None, clock)


def finish_all(server: KfpServer) -> None:
    for run_id in server.runs:
        server.finish(run_id)


def hours(*wanted: int) -> list[str]:
    return [NOON.replace(hour=hour).isoformat() for hour in wanted]


@pytest.mark.parametrize("offset_s", [-300, -61, -59, -1, 0, 1, 6, 8, 59, 61, 300])
def test_no_tick_is_lost_or_run_twice_whenever_the_update_comes(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str], offset_s: int
) -> None:
    old = make(read_trigger(HOURLY, None), max_concurrency=10)
    kfp_server.advance(NOON + timedelta(seconds=offset_s))
    new = update(kfp_server, cluster).schedule.recurring_run_id
    kfp_server.advance(NOON + timedelta(hours=2, minutes=1))
    assert kfp_server.ticks_of(old, new) == hours(10, 11, 12, 13, 14)
    assert list(kfp_server.schedules) == [new]


@pytest.mark.parametrize("offset_s", [-300, -1, 0, 1, 300])
def test_a_new_rule_follows_on_the_old_one(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str], offset_s: int
) -> None:
    old = make(read_trigger(HOURLY, None), max_concurrency=10)
    kfp_server.advance(NOON + timedelta(seconds=offset_s))
    new = update(kfp_server, cluster, read_trigger("0 0 */2 * * *", None)).schedule.recurring_run_id
    kfp_server.advance(NOON + timedelta(hours=4, minutes=1))
    assert kfp_server.ticks_of(old, new) == hours(10, 11, 12, 14, 16)


def test_an_interval_is_counted_on(kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]) -> None:
    old = make(read_trigger(None, "1h"), max_concurrency=10)
    kfp_server.advance(NOON + timedelta(minutes=10))
    new = update(kfp_server, cluster).schedule.recurring_run_id
    kfp_server.advance(NOON + timedelta(hours=1, minutes=31))
    half_hours = [(NOON + timedelta(hours=hour, minutes=30)).isoformat() for hour in (-2, -1, 0, 1)]
    assert kfp_server.ticks_of(old, new) == half_hours


def test_ticks_without_a_quiet_moment_are_not_lost(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger("*/30 * * * * *", None), max_concurrency=10)
    kfp_server.now = NOON - timedelta(minutes=2)
    kfp_server.last_ticks[old] = NOON - timedelta(minutes=2)
    for second in range(0, 120, 10):
        kfp_server.advance(NOON - timedelta(seconds=120 - second))
        finish_all(kfp_server)
    new = update(kfp_server, cluster).schedule.recurring_run_id
    for _ in range(30):
        kfp_server.advance(kfp_server.now + timedelta(seconds=10))
        finish_all(kfp_server)
    ticks = [datetime.fromisoformat(tick) for tick in sorted(set(kfp_server.ticks_of(old, new)))]
    gaps = {later - earlier for earlier, later in pairwise(ticks)}
    assert gaps == {timedelta(seconds=30)}


def test_a_tick_that_waits_for_a_run_to_end_is_taken_over(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(HOURLY, None))
    kfp_server.advance(NOON + timedelta(minutes=10))
    assert kfp_server.ticks_of(old) == hours(10)
    (running,) = kfp_server.runs
    new = update(kfp_server, cluster).schedule.recurring_run_id
    assert kfp_server.runs[running]["state"] == "RUNNING"
    kfp_server.advance(NOON + timedelta(minutes=11))
    assert kfp_server.ticks_of(new) == hours(12)


def test_under_a_new_rule_a_run_is_started_for_the_tick_that_waits(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    make(read_trigger(HOURLY, None))
    kfp_server.advance(NOON + timedelta(minutes=10))
    outcome = update(kfp_server, cluster, read_trigger(None, "1d"))
    assert "had no run yet" in outcome.note
    assert len(kfp_server.runs) == 2


def test_runs_that_were_deleted_are_not_run_again(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(HOURLY, None))
    make_other = {"display_name": "other", "experiment_id": next(iter(kfp_server.experiments))}
    for _ in range(3):
        kfp_server.advance(kfp_server.now + timedelta(hours=1))
        finish_all(kfp_server)
    kfp_server.runs.clear()
    (pipeline,) = kfp_server.pipelines
    for _ in range(130):
        kfp_server.create_run({**make_other, "pipeline_version_reference": {"pipeline_id": pipeline}})
    new = update(kfp_server, cluster).schedule.recurring_run_id
    kfp_server.advance(kfp_server.now + timedelta(minutes=40))
    assert kfp_server.ticks_of(old, new) == hours(13)


def test_runs_are_found_behind_those_of_others(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(None, "1h"))
    kfp_server.advance(NOON - timedelta(hours=1, minutes=29))
    (first,) = kfp_server.runs
    (pipeline,) = kfp_server.pipelines
    other = {"display_name": "other", "experiment_id": next(iter(kfp_server.experiments))}
    for _ in range(230):
        kfp_server.create_run({**other, "pipeline_version_reference": {"pipeline_id": pipeline}})
    found = list_runs(cluster, find_schedule(cluster, old), 5)
    assert [run.run_id for run in found] == [first]


def test_a_paused_schedule_stays_paused(kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]) -> None:
    make(read_trigger(HOURLY, None))
    pause_schedule(cluster, find_schedule(cluster, "nightly"))
    update(kfp_server, cluster, read_trigger(None, "1d"))
    kfp_server.advance(NOON + timedelta(days=3))
    assert not kfp_server.runs
    (schedule,) = kfp_server.schedules.values()
    assert schedule["status"] == "DISABLED"


def test_where_the_old_one_cannot_be_deleted_both_are_named(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(HOURLY, None))
    kfp_server.advance(NOON - timedelta(minutes=30))
    kfp_server.faults.extend([0, 0, 0, 500])  # find, runs, create; then delete
    with pytest.raises(ScheduleError, match=f"delete it with `schedule delete {old}`"):
        update(kfp_server, cluster)
    assert len(kfp_server.schedules) == 2
    with pytest.raises(ScheduleError, match=r"several have this name \(.*\); name one by its id"):
        find_schedule(cluster, "nightly")
    assert find_schedule(cluster, old).recurring_run_id == old


def test_a_refused_update_leaves_the_old_one_alone(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(HOURLY, None))
    kfp_server.faults.extend([0, 0, 400])
    with pytest.raises(ValueError, match="400"):
        update(kfp_server, cluster)
    assert list(kfp_server.schedules) == [old]
    assert kfp_server.schedules[old]["status"] == "ENABLED"


def test_five_fields_of_another_client_are_recognised(
    kfp_server: KfpServer, cluster: Cluster, make: Callable[..., str]
) -> None:
    old = make(read_trigger(HOURLY, None))
    kfp_server.schedules[old]["trigger"] = {"cron_schedule": {"cron": "0 3 * * *"}}
    with pytest.raises(ScheduleError, match=r"cron 0 3 \* \* \* \(not six fields: probably shifted\); correct it"):
        plan_changes(cluster, find_schedule(cluster, "nightly"), NOTHING)
    plan = plan_changes(
        cluster,
        find_schedule(cluster, "nightly"),
        Changes(read_trigger("0 0 3 * * *", None), None, None, None, None, (), {}),
    )
    assert plan.trigger.describe() == "cron 0 0 3 * * *"
