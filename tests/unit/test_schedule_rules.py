"""Which runs are pruned, and whether monitoring is on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from helpers.clock import CLOCK
from helpers.pass_health import PassHealth
from helpers.schedule.pruning import to_delete
from helpers.schedule.records import Definition, Run, RunStatus
from helpers.schedule.status import ScheduleStatus, why_off
from helpers.settings import get_settings

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def at_that_time(monkeypatch):
    """The tests are made before they run, minutes before in a long suite."""
    monkeypatch.setattr(CLOCK, "now", lambda: NOW)


def ago(minutes: float) -> datetime:
    return NOW - minutes * MINUTE


def a_run(
    name: str = "r", *, status: RunStatus = RunStatus.COMPLETED, minutes_ago: float = 0
) -> Run:
    return Run(name, status, ago(minutes_ago), status is not RunStatus.STOPPED, "KeyError: 'x'")


def test_the_newest_stay_and_the_old_go():
    runs = [a_run("old", minutes_ago=90), a_run("surplus", minutes_ago=3), a_run("new")]
    before_ts = ago(60)
    assert to_delete(runs, surplus=-2, before_ts=before_ts) == ["old"]
    assert to_delete(runs, surplus=2, before_ts=before_ts) == ["old", "surplus"]


@pytest.mark.parametrize(
    ("status", "minutes_ago", "goes"),
    [
        (RunStatus.COMPLETED, 1, True),
        (RunStatus.FAILED, 1, True),
        (RunStatus.IN_PROGRESS, 1, False),
        (RunStatus.IN_PROGRESS, 9_000, False),  # a process may bear its number
        (RunStatus.STOPPED, 1, False),  # about to begin
        (RunStatus.STOPPED, 90, True),  # never begun
        (RunStatus.STOPPING, 1, False),
        (RunStatus.STOPPING, 90, True),
        (RunStatus.QUEUED, 90, False),  # in a backend of another kind
    ],
)
def test_what_may_be_running_is_never_pruned(status, minutes_ago, goes):
    run = a_run(status=status, minutes_ago=minutes_ago)
    assert (to_delete([run], surplus=1, before_ts=NOW) == ["r"]) is goes


def test_a_run_that_was_stopped_by_a_person_is_over():
    run = Run("r", RunStatus.STOPPED, ago(1), has_begun=True, message="")
    assert run.is_finished()


def health(*, completed_minutes_ago: float | None) -> PassHealth:
    completed_ts = None if completed_minutes_ago is None else ago(completed_minutes_ago)
    return PassHealth(NOW, completed_ts, 1, 1, 1, None, None, None, None, MINUTE)


UNKNOWN = "no metastore is configured"
NEVER = health(completed_minutes_ago=None)
RECENT = health(completed_minutes_ago=0.5)
LONG_AGO = health(completed_minutes_ago=90)
DONE = a_run(minutes_ago=1)
FAILED = a_run(status=RunStatus.FAILED, minutes_ago=1)
ELSEWHERE = replace(FAILED, message="ModuleNotFoundError: No module named 'batch_monitor'")
RUNNING = a_run(status=RunStatus.IN_PROGRESS)
OLD = a_run(minutes_ago=10)


@pytest.mark.parametrize(
    ("active", "changed", "server_started", "runs", "passes", "why"),
    [
        (True, 90, 90, [DONE], UNKNOWN, None),
        (True, 90, 90, [DONE], RECENT, None),
        (True, 90, 90, [RUNNING, DONE], RECENT, None),
        (True, 90, 90, [FAILED], UNKNOWN, "the last run failed"),
        (True, 90, 90, [ELSEWHERE], LONG_AGO, "it ran in a kernel without the monitor"),
        (True, 90, 90, [RUNNING, FAILED], UNKNOWN, "the last run failed"),
        (True, 90, 90, [FAILED], NEVER, "the last run failed"),
        (True, 90, 90, [FAILED], LONG_AGO, "the last run failed"),
        (True, 90, 90, [FAILED], RECENT, None),  # the next one, or cron, got through since
        (True, 90, 90, [DONE], LONG_AGO, "no pass was completed for 1 h 30 min"),
        (True, 90, 90, [DONE, FAILED], UNKNOWN, None),  # it has recovered
        (True, 90, 90, [OLD], UNKNOWN, "no run is started"),
        (True, 90, 90, [], UNKNOWN, "no run is started"),
        (True, 1, 90, [OLD], UNKNOWN, None),  # it has just been switched on
        (True, 90, 1, [OLD], UNKNOWN, None),  # the server has just come up
        (True, 1, 90, [], NEVER, None),  # it has just been made
        (False, 90, 90, [DONE], UNKNOWN, "is paused"),
        (False, 90, 90, [DONE], LONG_AGO, "is paused"),
        (False, 90, 90, [DONE], RECENT, None),  # cron
    ],
)
def test_monitoring_is_on_if_passes_get_through(active, changed, server_started, runs, passes, why):
    definition = Definition("d", "f", "* * * * *", "UTC", active, ago(changed), ago(changed))
    schedule = ScheduleStatus(definition, ago(server_started), runs, is_current=True)
    known = None if passes is UNKNOWN else passes
    found = why_off([schedule], known)
    assert (found is None) if why is None else (found is not None and why in found)


def test_a_schedule_of_every_hour_is_not_silent_after_fifty_minutes(monkeypatch):
    monkeypatch.setenv("MONITOR_INTERVAL_SECONDS", "3600")
    get_settings.cache_clear()
    definition = Definition("d", "f", "0 * * * *", "UTC", True, ago(900), ago(900))
    schedule = ScheduleStatus(definition, ago(900), [a_run(minutes_ago=50)], is_current=True)
    assert why_off([schedule], None) is None
