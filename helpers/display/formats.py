"""Times, counts and names in the words of all reports. Times are those of the people here."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from helpers.clock import CLOCK
from helpers.settings import get_settings
from helpers.text import day_and_month

_DAY_SECONDS = 86_400
_UNITS = (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48))  # name, seconds, how many at most


def tally(counts: Mapping[str, int]) -> str:
    """Return ``18 FINISHED, 2 FAILED``; an em dash if nothing is counted."""
    return ", ".join(f"{number:,} {label}" for label, number in counts.items() if number) or "—"


def duration(seconds: float | timedelta | None) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min 5 s``, ``24 min`` or ``2 h 10 min``; — for None."""
    if seconds is None:
        return "—"
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if value < 10:  # noqa: PLR2004 - below, tenths are worth showing
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"  # noqa: PLR2004


def moment(when: datetime | None) -> str:
    """Return a time with its day and zone, ``2026-11-26 16:51 CET``; an em dash for None."""
    here = when and local(when)
    return f"{here:%Y-%m-%d %H:%M} {_zone_name(here)}" if here else "—"


def clock(when: datetime | None, now: datetime | None = None) -> str:
    """Return a time as a clock here shows it: ``16:51``, or ``25 Nov 16:51`` on another day.

    The screen says the zone once (``as_of``). A time from before or after a change of the clocks
    carries its own: ``02:30 CEST``. An em dash for None; ``now`` of None takes the clock.
    """
    if when is None:
        return "—"
    here, today = local(when), local(now or CLOCK.now())
    year = "" if here.year == today.year else f" {here.year}"
    day = "" if here.date() == today.date() else f"{day_and_month(here)}{year} "
    changed = "" if here.utcoffset() == today.utcoffset() else f" {_zone_name(here)}"
    return f"{day}{here:%H:%M}{changed}"


def ago(when: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a time was, in one unit: ``40 s ago``, ``2 h ago``; — for None."""
    if when is None:
        return "—"
    seconds = ((now or CLOCK.now()) - when) // timedelta(seconds=1)
    for unit, length, most in _UNITS:
        if seconds < most * length:
            return f"{seconds // length} {unit} ago" if seconds > 0 else "just now"
    return f"{seconds // _DAY_SECONDS} days ago"


def clock_and_age(when: datetime | None, now: datetime | None = None) -> str:
    """Return ``16:51, 2 h ago``; an em dash for None."""
    return "—" if when is None else f"{clock(when, now)}, {ago(when, now)}"


def zone(when: datetime) -> str:
    """Return which zone the times of ``clock`` are in: ``CET (UTC+01:00)``."""
    name, offset = _zone_name(local(when)), _offset(local(when))
    return name if name in {"UTC", offset} else f"{name} ({offset})"


def as_of(now: datetime) -> str:
    """Return the line with which a screen says once when it was made, and its zone."""
    here = local(now)
    return f"As of {day_and_month(here)} {here.year}, {here:%H:%M}. Times are {zone(now)}."


def local(when: datetime) -> datetime:
    """Return a time in the zone of people here: ``MONITOR_TIME_ZONE``, else this machine's."""
    return when.astimezone(get_settings().monitor_time_zone)


def time_of_day(day: date, at: time, zone: ZoneInfo | None) -> datetime:
    """Return when clocks in a zone show a time on a day, None: this machine's; the first of two.

    A time that they skip on a day is as much later as they are put forward.
    """
    naive = datetime.combine(day, at)
    return (naive.replace(tzinfo=zone) if zone else naive).astimezone(UTC)


def _zone_name(here: datetime) -> str:
    """Return ``CET``; a zone without letters (``-03``) is called by its offset."""
    name = here.tzname() or ""
    return name if name[:1].isalpha() else _offset(here)


def _offset(here: datetime) -> str:
    digits = f"{here:%z}"
    return f"UTC{digits[:3]}:{digits[3:5]}"
