"""What may be sent as a schedule.

``jupyter_scheduler`` stores a cron expression or a time zone that it cannot use before it fails
on it, and one such row stops all schedules at the next start of the server. So everything is
tried here first, with the same libraries. Imported only by commands: the libraries come with the
extra ``lab``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from importlib.util import find_spec

from helpers.errors import ScheduleError
from helpers.text import clean, shorten

EVERY_MINUTE = "* * * * *"
_FIELDS = 5
# The scheduler looks at its queue every 10 s and JupyterLab shows five fields: a sixth (seconds)
# and croniter's own letters (hashed, random, last day) are not for here.
_FIELD = re.compile(r"(?:[\d*/,-]|[a-z]{3})+", re.IGNORECASE)


def check_schedule(schedule: str, timezone: str) -> None:
    """Refuse what the scheduler could not run.

    Raises:
        ScheduleError: the expression or the time zone cannot be used, or the extra is missing.
    """
    fields = schedule.split(" ")
    shown = shorten(clean(schedule), 100)
    if len(fields) != _FIELDS or not all(_FIELD.fullmatch(part) for part in fields):
        raise ScheduleError(
            f"{shown!r} is no schedule: write five fields (minute, hour, day, month, weekday) with "
            f"one space between them, for example '{EVERY_MINUTE}' for every minute."
        )
    _known_timezone(timezone)
    try:
        due_after(schedule, timezone, moment=datetime.now(UTC))
    except ValueError as exc:  # croniter's errors are ValueErrors
        reason = shorten(clean(str(exc)), 200)
        raise ScheduleError(
            f"{shown!r} never comes due ({reason}): correct it, for example to '*/5 * * * *'."
        ) from exc


def is_usable(schedule: str, timezone: str | None) -> bool:
    """Tell whether the scheduler can tell when this comes due; raises without the extra."""
    _require_extra()
    try:
        due_after(schedule, timezone, moment=datetime.now(UTC))
    except (ValueError, ScheduleError):
        return False
    return True


def due_after(schedule: str, timezone: str | None, *, moment: datetime) -> datetime:
    """Return when the schedule is due next after ``moment``; ValueError where it never is."""
    return _step(schedule, timezone, moment, forward=True, times=1)


def due_before(
    schedule: str, timezone: str | None, *, moment: datetime, times: int
) -> datetime | None:
    """Return the last but ``times - 1`` time before ``moment`` at which the schedule was due.

    None where croniter finds none, as it does for a 29 February.
    """
    try:
        return _step(schedule, timezone, moment, forward=False, times=times)
    except ValueError:
        return None


def _step(
    schedule: str, timezone: str | None, moment: datetime, *, forward: bool, times: int
) -> datetime:
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - extra `lab`

    due = croniter(schedule, moment.astimezone(_known_timezone(timezone or "UTC")))
    for _ in range(times):
        seconds = due.get_next(float) if forward else due.get_prev(float)
    return datetime.fromtimestamp(seconds, UTC)


def _known_timezone(name: str) -> tzinfo:
    _require_extra()
    import pytz  # type: ignore[import-untyped]  # noqa: PLC0415 - the extra `lab`

    try:
        zone: tzinfo = pytz.timezone(name)
    except pytz.UnknownTimeZoneError:
        raise ScheduleError(
            f"{shorten(clean(name), 60)!r} is no time zone: write for example UTC or Europe/Zurich."
        ) from None
    return zone


def _require_extra() -> None:
    if find_spec("croniter") is None or find_spec("pytz") is None:
        raise ScheduleError(
            "Schedules need the packages of JupyterLab here as well: install them with "
            "`pip install 'batch-monitoring[lab]'`."
        )
