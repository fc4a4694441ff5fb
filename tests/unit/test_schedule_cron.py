"""What may be sent as a schedule, and when it is due."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import ScheduleError
from helpers.schedule.commands import next_due
from helpers.schedule.records import EVERY_MINUTE

pytest.importorskip("croniter", reason="schedules need the extra `lab`")

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
FIELD = st.text(alphabet="0123456789*/,-?LHRW#@amonJ \t\n", max_size=6)


@given(st.one_of(st.lists(FIELD, min_size=4, max_size=6).map(" ".join), st.text(max_size=20)))
def test_what_is_accepted_comes_due(schedule):
    try:
        due_ts = next_due(schedule, "UTC", after=NOON)
    except ScheduleError:
        return
    assert due_ts > NOON


@pytest.mark.parametrize(
    "schedule", [EVERY_MINUTE, "*/5 * * * *", "0 6-22 * * mon-fri", "15,45 0 1 jan,jul *"]
)
def test_usual_schedules_are_accepted(schedule):
    assert next_due(schedule, "Europe/Zurich", after=NOON) > NOON


def test_due_times_are_those_of_the_time_zone():
    due_ts = next_due("0 6 * * *", "Europe/Zurich", after=NOON)
    assert due_ts == datetime(2026, 3, 2, 5, tzinfo=UTC)
