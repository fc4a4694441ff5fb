"""Whether monitoring is on, in lines for people: what the scheduler and the metastore know."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from helpers.clock import CLOCK
from helpers.constants import StartedBy
from helpers.display import duration, moment
from helpers.errors import DatabaseError, SettingsError
from helpers.pass_health import MISSED_INTERVALS, PassHealth, pass_health
from helpers.redaction import shown
from helpers.schedule.client import SchedulerClient
from helpers.schedule.commands import ITS_PAGE
from helpers.schedule.records import Definition, Run, RunStatus
from helpers.schedule.scheduled_copy import is_current
from helpers.settings import monitor_interval
from helpers.text import counted

_START_SLACK = timedelta(seconds=30)
_COPIES = {
    True: "is that of this package",
    False: "is an older one; refresh it: `update`",
    None: "cannot be read here, nor compared",
}


@dataclass(frozen=True)
class ScheduleStatus:
    """One schedule with its runs, the newest first."""

    definition: Definition
    server_started_ts: datetime
    runs: list[Run]
    is_current: bool | None  # None: its copy cannot be read here

    @property
    def finished(self) -> list[Run]:
        """The runs that are over."""
        return [run for run in self.runs if run.is_finished()]

    @property
    def is_silent(self) -> bool:
        """Whether it starts no runs: none for several intervals, nor is it new itself."""
        begun_ts = [self.definition.update_ts, *(run.create_ts for run in self.runs)]
        since_ts = max([self.server_started_ts, *begun_ts])
        return since_ts < CLOCK.now() - MISSED_INTERVALS * monitor_interval() - _START_SLACK

    def failure(self, health: PassHealth | None) -> Run | None:
        """Return the last finished run if it failed, and no pass was completed since it began."""
        last = next(iter(self.finished), None)
        if last is None or last.status is not RunStatus.FAILED:
            return None
        completed_ts = health.last_completed_ts if health else None
        return None if completed_ts and completed_ts > last.create_ts else last

    def lines(self) -> Iterator[str]:
        """Yield what there is to know, a line each."""
        paused = "" if self.definition.active else " (paused)"
        yield f"Schedule{paused}: {self.definition}."
        yield f"Last run: {self._describe_run(self.runs[0]) if self.runs else 'none yet'}."
        failed = [run for run in self.finished if run.status is RunStatus.FAILED]
        if failed:
            number = counted(len(self.finished), "finished run")
            yield f"Of the last {number}, {len(failed)} failed. {_describe_failure(failed[0])}"
        yield f"Notebook: the scheduled copy {_COPIES[self.is_current]}."
        orphaned = [run for run in self.runs if run.is_orphaned(self.server_started_ts)]
        if orphaned:
            number = counted(len(orphaned), "orphaned run")
            yield f"▲ {number}: begun before the server was started, and never finished."

    def _describe_run(self, run: Run) -> str:
        state = "orphaned" if run.is_orphaned(self.server_started_ts) else "running"
        state = run.status.lower() if run.is_finished() else state
        return f"{duration(CLOCK.now() - run.create_ts)} ago: {state}"


def status(client: SchedulerClient) -> tuple[str, bool]:
    """Return what schedules, runs and passes on record show, and whether monitoring is on."""
    schedules = [
        ScheduleStatus(
            definition=one,
            server_started_ts=client.started_ts,
            runs=client.newest_runs(one),
            is_current=is_current(client.scheduled_copy(one)),
        )
        for one in client.schedules()
    ]
    active = [schedule for schedule in schedules if schedule.definition.active]
    health, health_lines = _pass_health()
    problem = why_off(schedules, health)
    url = client.server.url
    headline = f"Monitoring is on, at {url}."
    if problem is not None:
        headline = f"Monitoring is off, at {url}: {problem}"
    elif not active and health is not None:
        headline = _without_a_schedule(url, health)
    lines = [headline, *(f"  {line}" for one in schedules for line in one.lines())]
    if len(active) > 1:
        lines.append(
            f"▲ {len(active)} schedules run the same notebook, each all of it: remove the surplus "
            "with `delete --id ID`."
        )
    return "\n".join(lines + health_lines), problem is None


def _without_a_schedule(url: str, health: PassHealth) -> str:
    """Return what passes tell where no schedule is on; those of a notebook may have been its."""
    if StartedBy.COMMAND in health.started_by_of_late:
        return f"Monitoring is on, but not at {url}, where no schedule is on: cron starts passes."
    return (
        f"No schedule is on at {url}; the last pass was completed {duration(health.age)} ago. "
        "Others come only if cron or another server starts them."
    )


def why_off(schedules: list[ScheduleStatus], health: PassHealth | None) -> str | None:
    """Return why monitoring is off, and what to do; None if it is on.

    What gets through counts, not what is planned: completed passes, and without a metastore
    (``health`` is None) the runs.
    """
    active = [schedule for schedule in schedules if schedule.definition.active]
    if not active:
        if health is not None and not health.is_silent:
            return None
        paused = f"its schedule is paused; switch it on {ITS_PAGE}."
        return paused if schedules else "it has no schedule of the notebook; make one: `create`."
    if all(one.is_silent for one in active):
        advice = "Restart the Jupyter server; if that does not help, its log says why"
        return f"its schedule is switched on, but no run is started. {advice}."
    failed = [run for run in (one.failure(health) for one in active) if run]
    if len(failed) == len(active):
        return f"the last run failed. {_describe_failure(failed[0])}"
    if health is not None and health.age is not None and health.is_silent:
        since = f"its schedule is switched on, but no pass was completed for {duration(health.age)}"
        return f"{since}. Open the notebook and run it by hand to see why."
    return None


def _describe_failure(run: Run) -> str:
    """Return why a run failed, and what to do."""
    lines = run.message.strip().splitlines()
    reason = f": {shown(lines[-1], 300).rstrip('.')}" if lines else ""
    advice = "open the notebook and run it by hand to see more"
    if "No module named 'batch_monitor'" in reason:
        advice = "it ran in a kernel without the monitor: choose another, save, and run `update`"
    return f"The run of {moment(run.create_ts)} failed{reason} ({advice})."


def _pass_health() -> tuple[PassHealth | None, list[str]]:
    """Return what the metastore knows, and the lines of it; nothing if none is configured."""
    try:
        health = pass_health()
    except SettingsError:
        return None, []
    except DatabaseError as exc:
        return None, [f"▲ The metastore cannot be asked for the passes: {exc}"]
    return health, [*health.lines(), *(f"▲ {warning}" for warning in health.surplus())]
