"""Times as people read them: in their own zone, which is said once."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as day_time
from zoneinfo import ZoneInfo

import pytest

from helpers.display import (
    Lane,
    Timeline,
    ago,
    clock,
    clock_and_age,
    moment,
    time_of_day,
    zone,
)
from helpers.display.formats import as_of
from helpers.display.timelines import TimelineDrawing
from helpers.errors import SettingsError
from helpers.settings import get_settings

NOW = datetime(2026, 11, 26, 15, 51, 7, tzinfo=UTC)


@pytest.fixture
def use_zone(monkeypatch):
    def use(name: str) -> None:
        monkeypatch.setenv("MONITOR_TIME_ZONE", name)
        get_settings.cache_clear()

    return use


@pytest.fixture
def machine_in():
    """Move this machine to another zone."""
    with pytest.MonkeyPatch.context() as patch:

        def move(name: str) -> None:
            patch.delenv("MONITOR_TIME_ZONE")
            get_settings.cache_clear()
            patch.setenv("TZ", name)
            time.tzset()

        yield move
    time.tzset()


@pytest.mark.parametrize(
    ("name", "shown", "spoken"),
    [
        ("UTC", "15:51", "UTC"),
        ("Europe/Berlin", "16:51", "CET (UTC+01:00)"),
        ("Asia/Kolkata", "21:21", "IST (UTC+05:30)"),
        ("America/Sao_Paulo", "12:51", "UTC-03:00"),  # a zone without letters
        ("Pacific/Auckland", "04:51", "NZDT (UTC+13:00)"),  # the next day there
    ],
)
def test_a_time_is_shown_in_the_zone_of_the_setting_and_the_zone_is_named_once(
    use_zone, name, shown, spoken
):
    use_zone(name)
    day = "27" if name == "Pacific/Auckland" else "26"

    assert clock(NOW, NOW) == shown
    assert as_of(NOW) == f"As of {day} Nov 2026, {shown}. Times are {spoken}."
    assert moment(NOW) == f"2026-11-{day} {shown} {spoken.split(' ')[0]}"


def test_without_the_setting_the_zone_is_that_of_the_machine(machine_in):
    machine_in("America/New_York")

    assert clock(NOW, NOW) == "10:51"
    assert zone(NOW) == "EST (UTC-05:00)"
    assert time_of_day(date(2026, 7, 1), day_time(18), None) == datetime(2026, 7, 1, 22, tzinfo=UTC)


def test_the_setting_is_stronger_than_the_machine(machine_in, use_zone):
    machine_in("America/New_York")
    use_zone("Europe/Berlin")

    assert clock(NOW, NOW) == "16:51"


@pytest.mark.parametrize("name", ["Europe/Atlantis", "Europe", "../../etc/passwd", "/etc", "CET+"])
def test_a_zone_that_does_not_exist_is_a_setting_that_cannot_be_used(use_zone, name):
    use_zone(name)
    with pytest.raises(SettingsError, match="MONITOR_TIME_ZONE: is not a time zone's name"):
        clock(NOW, NOW)


def test_another_day_is_named_and_another_year_too(use_zone):
    use_zone("Europe/Berlin")

    assert clock(NOW, NOW + timedelta(hours=8)) == "26 Nov 16:51"
    assert clock(NOW - timedelta(days=20), NOW) == "6 Nov 16:51"
    assert clock(NOW - timedelta(days=365), NOW) == "26 Nov 2025 16:51"
    assert clock(datetime(2026, 12, 31, 23, 30, tzinfo=UTC), NOW) == "1 Jan 2027 00:30"
    assert clock(None, NOW) == ago(None, NOW) == clock_and_age(None, NOW) == moment(None) == "—"


def test_a_time_of_any_zone_is_shown_in_ours(use_zone):
    use_zone("Europe/Berlin")
    mumbai = datetime(2026, 11, 26, 21, 21, tzinfo=timezone(timedelta(hours=5.5)))

    assert clock(mumbai, NOW) == "16:51"


def test_of_a_night_in_which_the_clocks_change_each_time_is_known(use_zone):
    use_zone("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    morning = datetime(2026, 10, 25, 6, 0, tzinfo=UTC)

    # Half past two comes twice. The screen says CET; what differs says so itself.
    assert clock(first, morning) == "02:30 CEST"
    assert clock(first + timedelta(hours=1), morning) == "02:30"
    assert as_of(morning).endswith("Times are CET (UTC+01:00).")


def test_a_time_of_day_is_found_on_the_days_on_which_the_clocks_change():
    berlin, half_past_two, six = ZoneInfo("Europe/Berlin"), day_time(2, 30), day_time(18)

    def found(month: int, day: int, at: day_time) -> datetime:
        return time_of_day(date(2026, month, day), at, berlin)

    # In spring there is none: an hour later on the clock, the same stretch after midnight.
    assert found(3, 29, half_past_two) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    # In autumn there are two: the first.
    assert found(10, 25, half_past_two) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert found(10, 24, six) == datetime(2026, 10, 24, 16, tzinfo=UTC)
    assert found(10, 25, six) == datetime(2026, 10, 25, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        # three in the morning comes an hour after one
        (datetime(2026, 3, 29, 2, 0, tzinfo=UTC), ["00:00", "01:00", "03:00", "04:00"]),
        # two in the morning comes twice
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), ["00:00", "01:00", "02:00", "02:00"]),
    ],
)
def test_the_hours_of_a_time_line_are_those_of_the_clock(use_zone, end, labels):
    use_zone("Europe/Berlin")
    start = end - timedelta(hours=3.5)

    drawing = TimelineDrawing(Timeline(start, end, [Lane("x", [], [])]))

    assert [label for _, label in drawing.hours] == labels
    positions = [x for x, _ in drawing.hours]
    assert positions == pytest.approx([14.29, 42.86, 71.43, 100.0], abs=0.01)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=-3), "just now"),  # another machine's clock
        (timedelta(seconds=40.9), "40 s ago"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=2, minutes=50), "2 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(hours=49), "2 days ago"),
    ],
)
def test_an_age_has_one_unit(before, text):
    assert ago(NOW - before, NOW) == text


def test_a_time_with_its_age(use_zone):
    use_zone("Europe/Berlin")
    assert clock_and_age(NOW - timedelta(hours=2), NOW) == "14:51, 2 h ago"
