"""Create, update, delete: each leaves one schedule or says why not.

Each returns what to tell the person, and raises if it failed; a refused creation leaves nothing.
"""

import shutil
from contextlib import suppress
from datetime import timedelta

from helpers.clock import CLOCK
from helpers.display import moment
from helpers.errors import ScheduleError
from helpers.schedule.cron import EVERY_MINUTE, next_due
from helpers.schedule.pruning import prune
from helpers.schedule.records import Definition
from helpers.schedule.scheduled_copy import is_current
from helpers.schedule.servers import refuse_shared_scheduler
from helpers.schedule.session import SchedulerSession
from helpers.text import counted, listed
from helpers.workflow_paths import monitor_notebook

ITS_PAGE = "in JupyterLab, under Notebook Job Definitions"
_LOOK_SECONDS = 0.5
_DELETE_SECONDS = 600.0


def create(session: SchedulerSession, *, schedule: str, timezone: str) -> str:
    """Schedule the notebook, unless it is; what is there already must be what was asked for."""
    next_due(schedule, timezone, after=CLOCK.now())
    refuse_shared_scheduler(session.server)
    notebook = monitor_notebook()
    input_uri = session.path_of(notebook)
    existing = session.schedules()
    if existing:
        return _already(session, existing, schedule=schedule, timezone=timezone)
    try:
        created = session.client.create(
            input_uri=input_uri,
            name=notebook.stem,
            environment=session.client.environment(),
            schedule=schedule,
            timezone=timezone,
        )
    except ScheduleError:
        _remove_half_created(session)
        raise
    return _keep_one(session, created, schedule=schedule, timezone=timezone)


def _already(
    session: SchedulerSession, existing: list[Definition], *, schedule: str, timezone: str
) -> str:
    one = existing[0]
    problem = None
    if len(existing) > 1:
        each = "; ".join(describe(one) for one in existing)
        problem = f"{len(existing)} times ({each}): remove the surplus with `delete --id ID`"
    elif not one.active:
        problem = f"but is paused: switch it on {ITS_PAGE}"
    elif not _same_times(one, schedule=schedule, timezone=timezone):
        problem = f"but as {describe(one)}: remove that with `delete` first"
    elif is_current(session.scheduled_copy(one)) is False:
        problem = "but from an older copy of the notebook: refresh it with `update`"
    if problem:
        raise ScheduleError(f"The notebook is scheduled already, {problem}. Nothing was created.")
    return f"The notebook is scheduled already ({describe(one)}); nothing was changed."


def _same_times(one: Definition, *, schedule: str, timezone: str) -> bool:
    everywhere = schedule == EVERY_MINUTE  # it comes due at the same moments in every time zone
    return one.schedule == schedule and (everywhere or one.timezone == timezone)


def _remove_half_created(session: SchedulerSession) -> None:
    """Remove what a failed creation stored without its copy; there was no schedule before it."""
    with suppress(ScheduleError):  # the failure itself is what to tell
        for definition in session.schedules():
            if not session.scheduled_copy(definition).exists():
                _delete_with_copy(session, definition)


def _keep_one(session: SchedulerSession, created: str, *, schedule: str, timezone: str) -> str:
    """Look again: if others created one at the same moment, only the oldest stays."""
    present = session.schedules()
    for younger in present[1:]:
        _delete_with_copy(session, younger)
    if not present or present[0].id != created:
        return (
            "Somebody else changed the schedule at the same moment: theirs stays, and this one "
            "was removed. `status` shows what is there now."
        )
    surplus = counted(len(present) - 1, "schedule")
    removed = f" {surplus} created at the same moment: removed." if len(present) > 1 else ""
    next_ts = next_due(schedule, timezone, after=CLOCK.now())
    return (
        f"Scheduled: {describe(present[0])}. The first run is due at {moment(next_ts)} and starts "
        f"some 10 s later; `status` shows how it went.{removed}"
    )


def describe(definition: Definition) -> str:
    """Return ``every minute, id …`` or ``'0 6 * * *' in UTC, id …``."""
    when = f"{definition.schedule!r} in {definition.timezone}"
    if definition.schedule is None:
        when = "only when asked to"
    if definition.schedule == EVERY_MINUTE:
        when = "every minute"
    return f"{when}, id {definition.id}"


def update(session: SchedulerSession) -> str:
    """Have every schedule of the notebook run the package's notebook of today."""
    existing = _existing(session)
    notebook = monitor_notebook()
    input_uri = session.path_of(notebook)
    for definition in existing:
        session.client.refresh_copy(definition.id, input_uri=input_uri)
        if is_current(session.scheduled_copy(definition)) is False:
            raise ScheduleError(
                "The copy still differs from the package's notebook: does the server at "
                f"{session.server.url} show the same {input_uri}?"
            )
    paused = (
        "" if any(one.active for one in existing) else f" It is paused: switch it on {ITS_PAGE}."
    )
    return f"The copy that the schedule runs is that of today.{paused}"


def delete(session: SchedulerSession, *, definition_id: str | None, wait_seconds: float) -> str:
    """Remove the schedules of the notebook with their runs, once no run is running any more."""
    existing = _existing(session)
    to_delete = [one for one in existing if definition_id in {None, one.id}]
    if not to_delete:
        ids = listed([one.id for one in existing], most=5)
        raise ScheduleError(f"No schedule of the notebook has this id; there is {ids}.")
    for definition in to_delete:
        session.client.deactivate(definition.id)
    for definition in to_delete:
        _await_runs(session, definition, deadline=CLOCK.monotonic() + wait_seconds)
        # Some runs at a time: if the schedule took all with it, the server would not answer.
        deadline = CLOCK.monotonic() + _DELETE_SECONDS
        pruned = prune(
            session.client,
            [definition.id],
            older_than=timedelta(0),
            keep_at_most=0,
            deadline=deadline,
        )
        if pruned.problem:
            raise ScheduleError(pruned.problem)
        _delete_with_copy(session, definition)
    left = len(existing) - len(to_delete)
    more = f" {counted(left, 'schedule')} of the notebook is left." if left else ""
    return f"{counted(len(to_delete), 'schedule')} deleted, with all runs.{more}"


def _await_runs(session: SchedulerSession, definition: Definition, *, deadline: float) -> None:
    """Wait for the last run to finish, because deleting its schedule would kill it.

    The server kills by the number of the process, which another may bear if the run is orphaned.
    """
    while runs := [run for run in session.runs(definition) if not run.is_finished()]:
        orphaned = [run for run in runs if run.create_ts < session.started_ts]
        if CLOCK.monotonic() >= deadline or orphaned == runs:
            raise ScheduleError(
                f"The schedule is paused, but its run of {moment(runs[-1].create_ts)} is not "
                "finished and would be cut off: `delete` again when `status` shows that it is "
                "over. If `status` calls it orphaned, restart the server and delete that run in "
                "JupyterLab, under Notebook Jobs, first."
            )
        CLOCK.sleep(_LOOK_SECONDS)


def _delete_with_copy(session: SchedulerSession, definition: Definition) -> None:
    """Delete a schedule, and its scheduled copy, which the scheduler would leave."""
    session.client.delete(definition.id)
    shutil.rmtree(session.server.staged(definition.id), ignore_errors=True)


def _existing(session: SchedulerSession) -> list[Definition]:
    existing = session.schedules()
    if not existing:
        raise ScheduleError(
            f"The server at {session.server.url} has no schedule of the notebook: make one with "
            "`create`."
        )
    return existing
