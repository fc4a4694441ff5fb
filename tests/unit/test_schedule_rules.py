"""Which runs are pruned, and when a schedule counts as silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from helpers.schedule.client import Definition, Run, RunStatus
from helpers.schedule.housekeeping import prunable
from helpers.schedule.leftovers import RunState, run_states
from helpers.schedule.servers import Server
from helpers.schedule.status import _is_silent

NOW = datetime(2026, 3, 1, 12, 0, 40, tzinfo=UTC)
REMOTE = Server("http://elsewhere:8888/", "")


def a_run(name: str = "r", *, status: RunStatus = RunStatus.COMPLETED, minutes_ago: int = 0) -> Run:
    create_ts = NOW - timedelta(minutes=minutes_ago)
    start_ts = None if status is RunStatus.STOPPED else create_ts
    return Run(name, status, create_ts, start_ts, None, "")


def test_the_newest_stay_and_the_old_go():
    runs = [a_run("old", minutes_ago=90), a_run("surplus", minutes_ago=3), a_run("new")]
    states = dict.fromkeys(["old", "surplus", "new"], RunState.OVER)
    before_ts = NOW - timedelta(hours=1)
    assert prunable(runs, states, total=3, keep_at_most=5, before_ts=before_ts) == ["old"]
    assert prunable(runs, states, total=7, keep_at_most=5, before_ts=before_ts) == [
        "old",
        "surplus",
    ]


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        (RunState.OVER, True),
        (RunState.LEFT_BEHIND, True),
        (RunState.AT_WORK, False),
        (RunState.LEFT_BEHIND_UNSAFE, False),
    ],
)
def test_what_may_be_in_use_is_never_pruned(state, goes):
    found = prunable(
        [a_run("r", minutes_ago=900)],
        {"r": state},
        total=900,
        keep_at_most=1,
        before_ts=NOW,
    )
    assert (found == ["r"]) is goes


@pytest.mark.parametrize(
    ("status", "minutes_ago", "state"),
    [
        (RunStatus.COMPLETED, 90, RunState.OVER),
        (RunStatus.FAILED, 90, RunState.OVER),
        (RunStatus.IN_PROGRESS, 5, RunState.AT_WORK),  # made since the server began
        (RunStatus.IN_PROGRESS, 90, RunState.LEFT_BEHIND_UNSAFE),  # made before it
        (RunStatus.STOPPED, 1, RunState.AT_WORK),  # about to begin
        (RunStatus.STOPPED, 90, RunState.LEFT_BEHIND),  # never begun
        (RunStatus.STOPPING, 1, RunState.AT_WORK),
        (RunStatus.STOPPING, 90, RunState.LEFT_BEHIND),
    ],
)
def test_a_run_whose_process_cannot_be_seen_is_judged_by_its_age(status, minutes_ago, state):
    run = a_run(status=status, minutes_ago=minutes_ago)
    started_ts = NOW - timedelta(hours=1)
    assert run_states([run], server=REMOTE, now=NOW, started_ts=started_ts) == {"r": state}


@pytest.mark.parametrize(
    ("active", "schedule", "updated", "server_started", "last_run", "silent"),
    [
        (True, "* * * * *", 90, 90, 1, False),  # all is well
        (True, "* * * * *", 90, 90, 10, True),  # nothing for ten minutes
        (True, "* * * * *", 90, 90, None, True),
        (True, "* * * * *", 1, 90, 10, False),  # it has just been switched on
        (True, "* * * * *", 90, 1, 10, False),  # the server has just come up
        (False, "* * * * *", 90, 90, 10, False),  # paused, which is another matter
        (True, "0 * * * *", 90, 90, 50, False),  # not due so often
        (True, "0 0 29 2 *", 90, 90, None, False),
        (True, "every minute", 1, 1, None, True),
        (True, None, 90, 90, None, False),
    ],
)
def test_a_schedule_is_silent_when_due_runs_are_not_made(
    active, schedule, updated, server_started, last_run, silent
):
    pytest.importorskip("croniter", reason="schedules need the extra `lab`")
    ago = [NOW - timedelta(minutes=minutes) for minutes in (updated, server_started)]
    definition = Definition("d", "n", "f", schedule, "UTC", active, ago[0], ago[0])
    runs = [] if last_run is None else [a_run(minutes_ago=last_run)]
    assert _is_silent(definition, runs, now=NOW, server_started_ts=ago[1]) is silent
