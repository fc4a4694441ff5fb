"""What may be sent as a schedule, and when it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import ScheduleError
from helpers.schedule.cron import EVERY_MINUTE, check_schedule, due_after, due_before, is_usable

pytest.importorskip("croniter", reason="schedules need the extra `lab`")

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
FIELD = st.text(alphabet="0123456789*/,-?LHRW#@amonJ \t\n", max_size=6)


@given(st.one_of(st.lists(FIELD, min_size=4, max_size=6).map(" ".join), st.text(max_size=20)))
def test_what_is_let_through_comes_due(schedule):
    try:
        check_schedule(schedule, "UTC")
    except ScheduleError:
        return
    assert due_after(schedule, "UTC", moment=NOON) > NOON


@pytest.mark.parametrize(
    "schedule", [EVERY_MINUTE, "*/5 * * * *", "0 6-22 * * mon-fri", "15,45 0 1 jan,jul *"]
)
def test_usual_schedules_are_let_through(schedule):
    check_schedule(schedule, "Europe/Zurich")


def test_due_times_are_those_of_the_time_zone():
    assert due_after("0 6 * * *", "Europe/Zurich", moment=NOON) == datetime(
        2026, 3, 2, 5, tzinfo=UTC
    )


def test_earlier_due_times_are_counted_backwards():
    third = due_before(EVERY_MINUTE, "UTC", moment=NOON, times=3)
    assert third == NOON.replace(second=0) - timedelta(minutes=2)


@pytest.mark.parametrize(
    ("schedule", "timezone", "usable"),
    [
        (EVERY_MINUTE, None, True),
        ("@hourly", "UTC", True),  # not ours, and the scheduler runs it
        ("every minute", "UTC", False),
        (EVERY_MINUTE, "Mars/Olympus", False),
        ("0 0 30 2 *", "UTC", False),
    ],
)
def test_foreign_schedules_are_judged_by_what_the_scheduler_can_do(schedule, timezone, usable):
    assert is_usable(schedule, timezone) is usable
