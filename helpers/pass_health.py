"""What the metastore knows of the passes: the other half of "is monitoring on?".

The scheduler knows that a run ended, the metastore that a pass was completed; a pass of cron or of
a person is only known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from helpers.constants import StartedBy
from helpers.database import queries
from helpers.display import clock_and_age, duration
from helpers.settings import monitor_interval
from helpers.text import shorten

MISSED_INTERVALS = 3  # so long without a completed pass means that monitoring is not on
_LOOKED_BACK = 10  # intervals in which scheduled passes are counted
_TOO_MANY = 1.5  # times as many as one schedule would make


@dataclass(frozen=True)
class PassHealth:
    """The passes of late, by the metastore's own clock."""

    now_ts: datetime
    last_completed_ts: datetime | None  # None: never
    started_last_hour: int
    completed_last_hour: int
    scheduled_of_late: int  # passes of Notebook Jobs in the last ten intervals
    copy_is_current: bool | None  # of the latest of those: does it run what the package brings?
    last_error_ts: datetime | None  # when that pass began; None: none in a week
    last_error_about: str | None
    last_error_text: str | None
    interval: timedelta  # how often the monitor is meant to run
    started_by_of_late: Sequence[str] = ()  # what started those that were completed of late
    is_asked_by_pass: bool = False

    @property
    def age(self) -> timedelta | None:
        """How long ago the last pass was completed."""
        return None if self.last_completed_ts is None else self.now_ts - self.last_completed_ts

    def lines(self) -> list[str]:
        """Return what there is to know, a line each."""
        last = "never"
        if self.last_completed_ts:
            last = clock_and_age(self.last_completed_ts, self.now_ts)
        completed = self.completed_last_hour
        unfinished = self.started_last_hour - completed
        before = " before this one" if self.is_asked_by_pass else ""
        lines = [
            f"Last completed pass{before}: {last}.",
            f"Passes in the last hour: {completed} completed, {unfinished} running or cut off.",
        ]
        if self.last_error_ts:
            text = shorten(f"{self.last_error_about}: {self.last_error_text}", 400)
            when = clock_and_age(self.last_error_ts, self.now_ts)
            lines.append(f"Last error, of the pass of {when}: {text}")
        return lines

    @property
    def is_silent(self) -> bool:
        """Whether no pass was completed for so long that monitoring is not on."""
        return self.age is None or self.age > MISSED_INTERVALS * self.interval

    @property
    def comes_by_itself(self) -> bool:
        """Whether a schedule or cron started a pass of late: only then will others come."""
        return bool({StartedBy.COMMAND, StartedBy.SCHEDULED_NOTEBOOK} & {*self.started_by_of_late})

    @property
    def headline(self) -> str:
        """Whether monitoring is on, as far as the passes themselves tell."""
        if self.age is None or self.is_silent:
            return "Monitoring is off."
        if self.comes_by_itself:
            return "Monitoring is on."
        return (
            f"A pass was completed {duration(self.age)} ago. Whether the next one comes, only a "
            "schedule can tell: `python -m helpers.schedule status`, or your crontab."
        )

    def warnings(self) -> list[str]:
        """Return what is wrong with monitoring itself, a line each, and what to do."""
        silence = []
        if self.is_silent:
            since = "yet" if self.age is None else f"for {duration(self.age)}"
            silence.append(
                f"Monitoring is not on: no pass was completed {since}. See whether the schedule "
                "is: `python -m helpers.schedule status`."
            )
        return silence + self.about_schedules()

    def about_schedules(self) -> list[str]:
        """Return what is wrong with the schedules themselves, a line each, and what to do."""
        where = "`python -m helpers.schedule status` names those of a server."
        warnings = [f"{warning} {where}" for warning in self.surplus()]
        if self.copy_is_current is False:
            warnings.append(
                "The scheduled copy of the notebook is not the one of the installed package. "
                "Refresh it: `python -m helpers.schedule update`."
            )
        return warnings

    def surplus(self) -> list[str]:
        """Return the warning of more scheduled passes than one schedule makes, if there are.

        It sends nobody to ``status``, which shows it too.
        """
        if self.scheduled_of_late <= _TOO_MANY * _LOOKED_BACK:
            return []
        passes = f"{self.scheduled_of_late} scheduled passes"
        warning = (
            f"{passes} in {duration(_LOOKED_BACK * self.interval)}: more than one schedule runs "
            "the monitor. Remove all but one, on whichever server they are."
        )
        return [warning]


def pass_health(*, own_run_id: int | None = None) -> PassHealth:
    """Return how the passes of late went.

    Args:
        own_run_id: of a pass that asks, and is not counted itself; None: no pass asks.

    Raises:
        SettingsError: no database is configured.
        DatabaseError: it cannot be reached or read.
    """
    interval = monitor_interval()
    row = queries("monitor_runs").health(
        of_late=_LOOKED_BACK * interval,
        scheduled=StartedBy.SCHEDULED_NOTEBOOK,
        own_run_id=own_run_id,
        silent_after=MISSED_INTERVALS * interval,
    )
    return PassHealth(**row, interval=interval, is_asked_by_pass=own_run_id is not None)
