"""Create, pause, resume, update, run now, delete: each leaves one schedule or says why not.

Each returns what to tell the person, and raises where it failed; a refused creation leaves
nothing behind.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from helpers.display import duration, moment
from helpers.errors import ScheduleError
from helpers.redaction import redact
from helpers.schedule.client import Definition, Run, RunStatus
from helpers.schedule.cron import EVERY_MINUTE, check_schedule, due_after
from helpers.schedule.desk import Desk, path_at_server
from helpers.schedule.frozen import is_current, kernel_of, monitor_notebook
from helpers.schedule.housekeeping import Pruning
from helpers.schedule.leftovers import RunState
from helpers.schedule.servers import refuse_shared_database
from helpers.text import counted, listed, shorten

_LOOK_SECONDS = 0.5
_DELETE_SECONDS = 600.0


def create(desk: Desk, *, schedule: str, timezone: str) -> str:
    """Schedule the notebook, unless it is; what is there already must be what was asked for."""
    check_schedule(schedule, timezone)
    refuse_shared_database(desk.server)
    notebook = monitor_notebook()
    input_uri = path_at_server(desk, notebook)
    existing = desk.schedules()
    if existing:
        return _already(desk, existing, schedule=schedule, timezone=timezone)
    _check_kernel(desk, kernel_of(notebook))
    environment = _environment(desk)
    try:
        created = desk.client.create(
            input_uri=input_uri,
            name=notebook.stem,
            environment=environment,
            schedule=schedule,
            timezone=timezone,
        )
    except ScheduleError:
        _remove_half_created(desk)
        raise
    return _keep_one(desk, created, schedule=schedule, timezone=timezone)


def _already(desk: Desk, existing: list[Definition], *, schedule: str, timezone: str) -> str:
    if len(existing) > 1:
        raise ScheduleError(f"{_several(existing)} Nothing was created.")
    one = existing[0]
    problem = None
    if not one.active:
        problem = "but is paused: switch it on with `resume`"
    elif not _same_times(one, schedule=schedule, timezone=timezone):
        problem = f"but as {described(one)}: remove that with `delete` first"
    elif is_current(desk.copy_of(one)) is False:
        problem = "but from an older copy of the notebook: refresh it with `update`"
    if problem:
        raise ScheduleError(f"The notebook is scheduled already, {problem}. Nothing was created.")
    return f"The notebook is scheduled already ({described(one)}); nothing was changed."


def _same_times(one: Definition, *, schedule: str, timezone: str) -> bool:
    everywhere = schedule == EVERY_MINUTE  # it comes due at the same moments in every time zone
    return one.schedule == schedule and (everywhere or (one.timezone or "UTC") == timezone)


def _check_kernel(desk: Desk, kernel: str | None) -> None:
    if kernel is None:
        raise ScheduleError(
            "The notebook names no kernel, so that its runs could not start: open it in "
            "JupyterLab, select a kernel and save it."
        )
    kernels = sorted(desk.client.kernels())
    if kernel not in kernels:
        raise ScheduleError(
            f"The notebook asks for the kernel {shorten(kernel, 60)!r}, which the server at "
            f"{desk.server.url} lacks (it has {listed(kernels, most=8) or 'none'}): select one of "
            "those in the notebook and save it, or install the missing one."
        )


def _environment(desk: Desk) -> str:
    environments = desk.client.environments()
    if not environments:
        raise ScheduleError(
            f"The scheduler at {desk.server.url} offers no environment to run notebooks in: see "
            "its setting SchedulerApp.environment_manager_class."
        )
    return environments[0]


def _remove_half_created(desk: Desk) -> None:
    """Remove what a failed creation stored without its copy; there was no schedule before it."""
    if desk.server.database is None:
        return
    with suppress(ScheduleError):  # the failure itself is what to tell
        for definition in desk.schedules():
            if not desk.copy_of(definition).exists():
                _delete_with_copy(desk, definition)


def _keep_one(desk: Desk, created: str, *, schedule: str, timezone: str) -> str:
    """Look again: where others created one at the same moment, only the oldest stays."""
    present = desk.schedules()
    for younger in present[1:]:
        _delete_with_copy(desk, younger)
    if not present or present[0].id != created:
        return (
            "Somebody else changed the schedule at the same moment: theirs stays, and this one "
            "was removed. `status` shows what is there now."
        )
    surplus = counted(len(present) - 1, "schedule")
    removed = f" {surplus} created at the same moment: removed." if len(present) > 1 else ""
    next_ts = due_after(schedule, timezone, moment=datetime.now(UTC))
    return (
        f"Scheduled: {described(present[0])}. The first run is due at {moment(next_ts)} and starts "
        f"some 10 s later; `status` shows how it went.{removed}"
    )


def described(definition: Definition) -> str:
    """Return ``every minute, id …`` or ``'0 6 * * *' in UTC, id …``."""
    when = f"{definition.schedule!r} in {definition.timezone or 'UTC'}"
    if definition.schedule is None:
        when = "only when asked to"
    if definition.schedule == EVERY_MINUTE:
        when = "every minute"
    return f"{when}, id {definition.id}"


def pause(desk: Desk) -> str:
    """Switch every schedule of the notebook off; a run at work goes on to its end."""
    active = [one for one in _existing(desk) if one.active]
    for definition in active:
        desk.client.set_active(definition.id, active=False)
    if not active:
        return "The schedule is paused already."
    return "Paused: nothing is polled until you `resume`. A run at work goes on to its end."


def resume(desk: Desk, *, definition_id: str | None) -> str:
    """Switch the schedule on."""
    refuse_shared_database(desk.server)
    existing = _existing(desk)
    if definition_id is None and len(existing) > 1:
        raise ScheduleError(_several(existing))
    definition = _chosen(existing, definition_id)
    others = [one for one in existing if one.active and one.id != definition.id]
    if others:
        raise ScheduleError(f"{_several([definition, *others])} Nothing was switched on.")
    check_schedule(definition.schedule or "", definition.timezone or "UTC")
    if not definition.active:
        desk.client.set_active(definition.id, active=True)
    if is_current(desk.copy_of(definition)) is False:
        return "On again, with an older copy of the notebook: refresh it with `update`."
    return f"On: {described(definition)}."


def update(desk: Desk) -> str:
    """Have every schedule of the notebook run the package's notebook of today."""
    existing = _existing(desk)
    notebook = monitor_notebook()
    input_uri = path_at_server(desk, notebook)
    _check_kernel(desk, kernel_of(notebook))
    for definition in existing:
        desk.client.refresh_copy(definition.id, input_uri=input_uri)
        if is_current(desk.copy_of(definition)) is False:
            raise ScheduleError(
                "The copy is still another than the package's notebook: does the server at "
                f"{desk.server.url} show the same {input_uri}?"
            )
    off = (
        "" if any(one.active for one in existing) else " It is paused: switch it on with `resume`."
    )
    return f"The copy that the schedule runs is that of today.{off}"


def run_now(desk: Desk, *, wait_seconds: float) -> str:
    """Run the schedule's copy at once, and say how it ended if it does so in time."""
    definition = _existing(desk)[0]
    run_id = desk.client.run_now(definition.id)
    run = desk.client.run(run_id)

    def ended() -> bool:
        nonlocal run
        run = desk.client.run(run_id)
        return run.status in RunStatus.over()

    if not _within(wait_seconds, ended):
        return f"The run {run_id} has been started; `status` shows how it goes."
    if run.status is RunStatus.FAILED:
        raise ScheduleError(failure(run))
    return f"The run was completed in {duration(run.seconds)}."


def failure(run: Run) -> str:
    """Return why a run failed, and what to do."""
    lines = redact(run.message).strip().splitlines()
    reason = f": {shorten(lines[-1], 300).rstrip('.')}" if lines else ""
    return (
        f"The run of {moment(run.create_ts)} failed{reason} (open the notebook and run it by hand "
        "to see more)"
    )


def delete(desk: Desk, *, definition_id: str | None, wait_seconds: float) -> str:
    """Remove the schedules of the notebook with their runs, when no run is at work any more."""
    existing = _existing(desk)
    doomed = existing if definition_id is None else [_chosen(existing, definition_id)]
    for definition in doomed:
        if definition.active:
            desk.client.set_active(definition.id, active=False)
    if not _within(wait_seconds, lambda: RunState.AT_WORK not in _unfinished(desk, doomed)):
        raise ScheduleError(
            "The schedule is paused, but a run is still at work and would be cut off: delete it "
            "when `status` shows that it is over."
        )
    if RunState.LEFT_BEHIND_UNSAFE in _unfinished(desk, doomed):
        raise ScheduleError(
            "The schedule is paused, but not deleted: a run that a killed server left behind may "
            "bear the number of another process, which the server would kill. Restart the server "
            "and run `delete` on its own machine."
        )
    for definition in doomed:
        _delete_runs(desk, definition)
        _delete_with_copy(desk, definition)
    left = len(existing) - len(doomed)
    more = f" {counted(left, 'schedule')} of the notebook is left." if left else ""
    return f"{counted(len(doomed), 'schedule')} deleted, with all runs.{more}"


def _delete_runs(desk: Desk, definition: Definition) -> None:
    """Delete the runs beforehand, some at a time: all at once, the server would not answer."""
    Pruning(
        desk,
        keep_at_most=0,
        before_ts=datetime.now(UTC),
        deadline=time.monotonic() + _DELETE_SECONDS,
    ).prune(definition)


def _unfinished(desk: Desk, definitions: list[Definition]) -> set[RunState]:
    now = datetime.now(UTC)
    return {state for one in definitions for state in desk.unfinished(one, now=now).values()}


def _delete_with_copy(desk: Desk, definition: Definition) -> None:
    """Delete a schedule, and its frozen copy, which the scheduler would leave behind."""
    desk.client.delete(definition.id)
    if desk.server.database is not None:
        shutil.rmtree(desk.server.staged(definition.id), ignore_errors=True)


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _existing(desk: Desk) -> list[Definition]:
    existing = desk.schedules()
    if not existing:
        raise ScheduleError(
            f"The server at {desk.server.url} has no schedule of the notebook: make one with "
            "`create`."
        )
    return existing


def _chosen(existing: list[Definition], definition_id: str | None) -> Definition:
    for definition in existing:
        if definition_id in {None, definition.id}:
            return definition
    ids = listed([one.id for one in existing], most=5)
    raise ScheduleError(f"No schedule of the notebook has this id; there is {ids}.")


def _several(existing: list[Definition]) -> str:
    each = "; ".join(described(one) for one in existing)
    return (
        f"{len(existing)} schedules run the same notebook ({each}): remove the surplus with "
        "`delete --id …`."
    )
