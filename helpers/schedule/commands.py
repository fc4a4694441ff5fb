"""Create, update, delete: each leaves one schedule or says why not.

Each returns what to tell the person, and raises if it failed; a refused creation leaves nothing.
``jupyter_scheduler`` stores a cron expression or a time zone that it cannot use before it fails
on it, and one such row stops all schedules at the next start of the server. So everything is
tried here first, with the same libraries, which come with it.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

from helpers.clock import CLOCK
from helpers.display import moment
from helpers.errors import ScheduleError
from helpers.redaction import shown
from helpers.schedule.client import SchedulerClient
from helpers.schedule.pruning import prune
from helpers.schedule.records import Definition, describe
from helpers.schedule.scheduled_copy import is_current
from helpers.text import counted, listed
from helpers.workflow_paths import monitor_notebook_below

ITS_PAGE = "in JupyterLab, under Notebook Job Definitions"
# The scheduler looks at its queue every 10 s and JupyterLab shows five fields: a sixth (seconds)
# and croniter's own letters (hashed, random, last day) are not for here.
_SCHEDULE = re.compile(r"(?:(?:[\d*/,-]|[a-z]{3})+ ){4}(?:[\d*/,-]|[a-z]{3})+", re.IGNORECASE)
_LOOK_SECONDS = 0.5


def create(client: SchedulerClient, *, schedule: str, timezone: str) -> str:
    """Schedule the notebook, unless it is; what is there already must be what was asked for."""
    due_ts = next_due(schedule, timezone, after=CLOCK.now())
    input_uri = monitor_notebook_below(client.server.root_dir)
    existing = client.schedules()
    if existing:
        return _already(client, existing, wanted=describe(schedule, timezone))
    try:
        created = client.create(input_uri=input_uri, schedule=schedule, timezone=timezone)
    except ScheduleError:
        with suppress(ScheduleError):  # the failure itself is what to tell
            for half in client.schedules():  # stored without its copy; there was none before
                if not client.scheduled_copy(half).exists():
                    client.delete(half)
        raise
    present = client.schedules()
    for younger in present[1:]:  # created by others at the same moment
        client.delete(younger)
    if not present or present[0].id != created:
        return (
            "Somebody else changed the schedule at the same moment: theirs stays, and this one "
            "was removed. `status` shows what is there now."
        )
    return (
        f"Scheduled: {present[0]}. The first run is due at {moment(due_ts)} and starts some 10 s "
        "later; `status` shows how it went."
    )


def _already(client: SchedulerClient, existing: list[Definition], *, wanted: str) -> str:
    one = existing[0]
    problem = None
    if len(existing) > 1:
        each = "; ".join(str(one) for one in existing)
        problem = f"{len(existing)} times ({each}): remove the surplus with `delete --id ID`"
    elif not one.active:
        problem = f"but is paused: switch it on {ITS_PAGE}"
    elif describe(one.schedule, one.timezone) != wanted:
        problem = f"but runs {one}: remove that with `delete` first"
    elif is_current(client.scheduled_copy(one)) is False:
        problem = "but from an older copy of the notebook: refresh it with `update`"
    if problem:
        raise ScheduleError(f"The notebook is scheduled already, {problem}. Nothing was created.")
    return f"The notebook is scheduled already ({one}); nothing was changed."


def update(client: SchedulerClient) -> str:
    """Have every schedule of the notebook run the package's notebook of today."""
    existing = _existing(client)
    input_uri = monitor_notebook_below(client.server.root_dir)
    for definition in existing:
        client.update(definition, input_uri=input_uri)
    return "The notebook was copied anew: the schedule runs what the package has today."


def delete(client: SchedulerClient, *, definition_id: str | None, wait_seconds: float) -> str:
    """Remove the schedules of the notebook with their runs, once no run is running any more."""
    existing = _existing(client)
    to_delete = [one for one in existing if definition_id in {None, one.id}]
    if not to_delete:
        ids = listed([one.id for one in existing])
        raise ScheduleError(f"No schedule of the notebook has this id; there is {ids}.")
    for definition in to_delete:
        client.update(definition, active=False)
    for definition in to_delete:
        _await_runs(client, definition, deadline=CLOCK.monotonic() + wait_seconds)
        # Some runs at a time: if the schedule took all with it, the server would not answer.
        prune(client, definition.id, older_than=timedelta(0), keep_at_most=0)
        client.delete(definition)
    return f"{counted(len(to_delete), 'schedule')} deleted, with all runs."


def _await_runs(client: SchedulerClient, definition: Definition, *, deadline: float) -> None:
    """Wait for the last run to finish, because deleting its schedule would kill it.

    The server kills by the number of the process, which another may bear if the run is orphaned.
    """
    while runs := [run for run in client.newest_runs(definition) if not run.is_finished()]:
        if CLOCK.monotonic() >= deadline or all(run.is_orphaned(client.started_ts) for run in runs):
            raise ScheduleError(
                f"The schedule is paused, but its run of {moment(runs[-1].create_ts)} would be cut "
                "off: `delete` again when `status` shows that it is over. If `status` calls it "
                "orphaned, restart the server and delete it under Notebook Jobs first."
            )
        CLOCK.sleep(_LOOK_SECONDS)


def _existing(client: SchedulerClient) -> list[Definition]:
    if existing := client.schedules():
        return existing
    url = client.server.url
    raise ScheduleError(f"The server at {url} has no schedule of the notebook: `create` makes one.")


def next_due(schedule: str, timezone: str, *, after: datetime) -> datetime:
    """Return when the schedule comes due next; refuse what the scheduler could not run.

    Raises:
        ScheduleError: the expression or the time zone cannot be used, or a library is missing.
    """
    if find_spec("jupyter_scheduler") is None:
        raise ScheduleError(
            "Schedules need the scheduler here as well: `pip install jupyter-scheduler`."
        )
    import pytz  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with the scheduler
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise

    try:
        if _SCHEDULE.fullmatch(schedule):
            times = croniter(schedule, after.astimezone(pytz.timezone(timezone)))
            return datetime.fromtimestamp(times.get_next(float), UTC)
        reason = "these are not five fields"
    except (ValueError, pytz.UnknownTimeZoneError) as exc:  # croniter's errors are ValueErrors
        reason = shown(f"{type(exc).__name__}: {exc}", 200)
    raise ScheduleError(
        f"{shown(schedule, 100)!r} in {shown(timezone, 60)} never comes due ({reason}): write "
        "minute, hour, day, month and weekday with one space between them, for example "
        "'*/5 * * * *', and a time zone such as Europe/Zurich."
    )
