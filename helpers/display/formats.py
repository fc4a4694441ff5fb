"""Times, counts and names in the words of all reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from helpers.text import listed

_NAMED_IDS = 12
_NAMED_VALUES = 4


def ids(numbers: Sequence[int]) -> str:
    """Return ``3, 5, 8 and 4 more``."""
    return listed([str(number) for number in numbers], most=_NAMED_IDS)


def labels(configuration: Mapping[str, Any] | None) -> str:
    """Return a configuration's plain values, ``name: LOB 1, peril: EQ``; empty for none."""
    plain = {k: v for k, v in (configuration or {}).items() if isinstance(v, str | int | float)}
    return listed([f"{k}: {v}" for k, v in plain.items()], most=_NAMED_VALUES)


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
    """Return a time in UTC, to the second; an em dash for None."""
    return "—" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(when: datetime | None, now: datetime) -> str:
    """Return a time as a clock here shows it, with the day if it is another one; — for None."""
    if when is None:
        return "—"
    here, today = when.astimezone(), now.astimezone().date()
    return f"{here:%H:%M}" if here.date() == today else f"{here:%d %b %H:%M}"


def zone(when: datetime) -> str:
    """Return which zone the times of ``clock`` are in: ``CET (UTC+01:00)``."""
    here = when.astimezone()
    offset = f"{here:%z}"
    name = here.tzname() or ""
    ahead = f"UTC{offset[:3]}:{offset[3:]}"
    return name if name == "UTC" else f"{name} ({ahead})"
