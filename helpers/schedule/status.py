"""Whether monitoring is on, in lines for people: what the scheduler and the metastore know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from helpers.display import duration
from helpers.errors import DatabaseError, SettingsError
from helpers.schedule.client import Definition, Run, RunStatus
from helpers.schedule.commands import described, failure
from helpers.schedule.cron import due_before, is_usable
from helpers.schedule.desk import Desk
from helpers.schedule.frozen import is_current
from helpers.schedule.leftovers import RunState
from helpers.schedule.passes import PassHealth, pass_health
from helpers.schedule.servers import sharing_database
from helpers.settings import get_settings
from helpers.text import counted, listed, shorten

_RUNS_LOOKED_AT = 60
_MISSED = 3  # so many due times without a run mean that the scheduler has stopped
_START_SLACK = timedelta(seconds=30)


@dataclass(frozen=True)
class Status:
    """What to show, and whether monitoring is on."""

    is_on: bool
    lines: list[str]


@dataclass(frozen=True)
class _Schedule:
    """One schedule with its latest runs, the newest first."""

    definition: Definition
    runs: list[Run]
    total: int
    states: dict[str, RunState]
    is_silent: bool
    is_current: bool | None

    @property
    def is_on(self) -> bool:
        return self.definition.active and not self.is_silent

    def count(self, *states: RunState) -> int:
        return sum(state in states for state in self.states.values())


def status(desk: Desk, *, now: datetime) -> Status:
    """Look at the schedules of the notebook, their runs, and the passes on record."""
    schedules = [_look(desk, one, now=now) for one in desk.schedules()]
    health, said_of_passes = _passes()
    is_on, headline = _headline(schedules, desk, health)
    lines = [headline]
    for schedule in schedules:
        lines += [f"  {line}" for line in _lines_of(schedule, now=now)]
    lines += _warnings(desk, schedules)
    lines += said_of_passes
    return Status(is_on, lines)


def _look(desk: Desk, definition: Definition, *, now: datetime) -> _Schedule:
    runs, total = desk.client.runs(definition.id, most=_RUNS_LOOKED_AT)
    unfinished = desk.unfinished(definition, now=now)
    return _Schedule(
        definition,
        runs,
        total,
        desk.states(runs, now=now) | unfinished,
        _is_silent(definition, runs, now=now, server_started_ts=desk.client.started_ts()),
        is_current(desk.copy_of(definition)),
    )


def _is_silent(
    definition: Definition, runs: list[Run], *, now: datetime, server_started_ts: datetime
) -> bool:
    """Tell whether runs were due, again and again, and none was made."""
    if not definition.active or definition.schedule is None:
        return False
    if not is_usable(definition.schedule, definition.timezone):
        return True
    due_ts = due_before(
        definition.schedule, definition.timezone, moment=now - _START_SLACK, times=_MISSED
    )
    begun_ts = max([definition.update_ts, server_started_ts, *(run.create_ts for run in runs[:1])])
    return due_ts is not None and begun_ts < due_ts


def _headline(
    schedules: list[_Schedule], desk: Desk, health: PassHealth | None
) -> tuple[bool, str]:
    """Tell whether monitoring is on, and say so: what gets through counts, not what is planned."""
    place = desk.server.url
    if not schedules and health is not None and not health.is_silent:
        return True, (
            f"Monitoring is on, but not by {place}, which has no schedule of the notebook: passes "
            "are completed by cron, by hand or by another server."
        )
    if not any(schedule.is_on for schedule in schedules):
        return False, _why_off(schedules, place)
    if health is not None and health.age is not None and health.is_silent:
        return False, (
            f"Monitoring is off: the schedule at {place} is on, but no pass was completed for "
            f"{duration(health.age)}. See why the runs below fail."
        )
    return True, f"Monitoring is on, at {place}."


def _why_off(schedules: list[_Schedule], place: str) -> str:
    if not schedules:
        return f"Monitoring is off: {place} has no schedule of the notebook; make one: `create`."
    if any(schedule.definition.active for schedule in schedules):
        return (
            f"Monitoring is off: the schedule at {place} is switched on, but its runs are not "
            "started. Restart the Jupyter server, and see its log if that does not help."
        )
    return f"Monitoring is off: the schedule at {place} is paused; switch it on: `resume`."


def _lines_of(schedule: _Schedule, *, now: datetime) -> Iterator[str]:
    state = "" if schedule.definition.active else " (paused)"
    yield f"Schedule{state}: {described(schedule.definition)}."
    yield f"Last run: {_last_run(schedule, now=now)}."
    took = sorted(run.seconds for run in schedule.runs if run.seconds is not None)
    if took:
        yield (
            f"Runs take {duration(median(took))}, at the most {duration(took[-1])} "
            f"(of the last {counted(len(took), 'completed run')})."
        )
    failed = [run for run in schedule.runs if run.status is RunStatus.FAILED]
    if failed:
        looked_at = counted(len(schedule.runs), "run")
        yield f"Of the last {looked_at}, {len(failed)} failed. {failure(failed[0])}."
    at_work = schedule.count(RunState.AT_WORK)
    if at_work > 1:
        yield f"{at_work} runs are at work at the same time."
    yield _copy(schedule)
    left_behind = schedule.count(RunState.LEFT_BEHIND, RunState.LEFT_BEHIND_UNSAFE)
    if left_behind:
        were = "run was" if left_behind == 1 else "runs were"
        yield (
            f"▲ {left_behind} {were} left behind by a killed server or process, and will not go "
            "on; `prune` removes them in time."
        )


def _last_run(schedule: _Schedule, *, now: datetime) -> str:
    if not schedule.runs:
        return "none yet"
    run = schedule.runs[0]
    ago = f"{duration(now - run.create_ts)} ago"
    state = schedule.states[run.id]
    if state is RunState.AT_WORK:
        return f"started {ago}, at work"
    if state is not RunState.OVER:
        return f"started {ago}, and was killed"
    took = f" after {duration(run.seconds)}" if run.seconds is not None else ""
    return f"started {ago}, {run.status.lower()}{took}"


def _copy(schedule: _Schedule) -> str:
    match schedule.is_current:
        case True:
            return "Notebook: the copy that runs is that of this package."
        case False:
            return (
                "▲ Notebook: the copy that runs is not that of this package; refresh it: `update`."
            )
        case None:
            return "Notebook: the copy that runs lies on another machine and cannot be compared."


def _warnings(desk: Desk, schedules: list[_Schedule]) -> Iterator[str]:
    active = sum(schedule.definition.active for schedule in schedules)
    if active > 1:
        yield (
            f"▲ {active} schedules run the same notebook, each all of it: remove the surplus with "
            "`delete --id …`."
        )
    sharing = sharing_database(desk.server)
    if sharing:
        urls = listed([server.url for server in sharing], most=5)
        yield (
            f"▲ {urls} works on the same data directory and starts every run once more: stop all "
            "servers but one."
        )
    for definition in desk.client.definitions():
        if definition.schedule and not is_usable(definition.schedule, definition.timezone):
            yield (
                f"▲ The schedule {shorten(definition.name, 60)!r} ({definition.id}) never comes "
                "due, and stops all schedules at the next start of the server: delete it in "
                "JupyterLab, under Notebook Job Definitions."
            )


def _passes() -> tuple[PassHealth | None, list[str]]:
    """Return what the metastore knows, and the lines of it; nothing where none is configured."""
    try:
        health = pass_health(interval=timedelta(seconds=get_settings().monitor_interval_seconds))
    except SettingsError:
        return None, []
    except DatabaseError as exc:
        return None, [f"▲ The metastore cannot be asked for the passes: {exc}"]
    return health, [*health.lines(), *(f"▲ {warning}" for warning in health.surplus())]
