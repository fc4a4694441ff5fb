"""What may be sent as a schedule.

``jupyter_scheduler`` stores a cron expression or a time zone that it cannot use before it fails
on it, and one such row stops all schedules at the next start of the server. So everything is
tried here first, with the same libraries, which come with it.
"""

import re
from datetime import UTC, datetime
from importlib.util import find_spec

from helpers.errors import ScheduleError
from helpers.redaction import shown

EVERY_MINUTE = "* * * * *"
# The scheduler looks at its queue every 10 s and JupyterLab shows five fields: a sixth (seconds)
# and croniter's own letters (hashed, random, last day) are not for here.
_SCHEDULE = re.compile(r"(?:(?:[\d*/,-]|[a-z]{3})+ ){4}(?:[\d*/,-]|[a-z]{3})+", re.IGNORECASE)


def next_due(schedule: str, timezone: str, *, after: datetime) -> datetime:
    """Return when the schedule comes due next; refuse what the scheduler could not run.

    Raises:
        ScheduleError: the expression or the time zone cannot be used, or a library is missing.
    """
    if find_spec("croniter") is None or find_spec("pytz") is None:
        raise ScheduleError(
            "Schedules need the scheduler's packages here as well: `pip install jupyter-scheduler`."
        )
    import pytz  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with the scheduler
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise

    wanted = shown(schedule, 100)
    if not _SCHEDULE.fullmatch(schedule):
        raise ScheduleError(
            f"{wanted!r} is not a valid schedule: write five fields (minute, hour, day, month, "
            f"weekday) with one space between them, for example '{EVERY_MINUTE}' for every minute."
        )
    try:
        times = croniter(schedule, after.astimezone(pytz.timezone(timezone)))
        return datetime.fromtimestamp(times.get_next(float), UTC)
    except pytz.UnknownTimeZoneError:
        raise ScheduleError(
            f"{shown(timezone, 60)!r} is not a known time zone: write for example UTC or "
            "Europe/Zurich."
        ) from None
    except ValueError as exc:  # croniter's errors are ValueErrors
        raise ScheduleError(
            f"{wanted!r} never comes due ({shown(str(exc), 200)}): correct it, for example "
            "to '*/5 * * * *'."
        ) from exc
