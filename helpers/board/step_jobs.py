"""The jobs of one step, in groups: those that need a person first. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Self

from helpers.board.rows import ExpectedEnd
from helpers.constants import JobStatus
from helpers.display import (
    AsOf,
    Block,
    Fold,
    Headline,
    Note,
    Report,
    Row,
    Severity,
    Table,
    Value,
    badge,
    clock,
    clock_and_age,
    duration,
)
from helpers.text import one_line

_MOST_REASONS = 10  # shown as groups of their own


class JobGroup(StrEnum):
    """Jobs that are looked at together; in the order in which they need a person."""

    FAILED = "failed", Severity.ERROR, JobStatus.FAILED, JobStatus.ERROR
    LATE = "far over the usual time", Severity.WARNING
    CANCELLED = "cancelled", Severity.WARNING, JobStatus.CANCELLED
    UNRECOGNISED = "with an unrecognised status", Severity.WARNING
    RUNNING = (
        *("running", Severity.INFO),
        *(JobStatus.RUNNING, JobStatus.CANCEL_REQUESTED, JobStatus.CANCELLING),
    )
    WAITING = (
        *("waiting at Moody's", Severity.INFO),
        *(JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.QUEUED),
    )
    PREPARED = "not submitted", Severity.NEUTRAL, JobStatus.INITIATED
    FINISHED = "finished", Severity.OK, JobStatus.FINISHED

    severity: Severity
    statuses: tuple[JobStatus, ...]  # of its jobs, lateness aside

    def __new__(cls, label: str, severity: Severity, *statuses: JobStatus) -> Self:
        """Make a member."""
        group = str.__new__(cls, label)
        group._value_, group.severity, group.statuses = label, severity, statuses
        return group


_ORDER = list(JobGroup)


def statuses_in(*groups: JobGroup) -> list[str]:
    """Return the statuses of jobs that belong to one of these groups, lateness aside."""
    return [status.value for group in groups for status in group.statuses]


_ENDED = frozenset({JobGroup.FAILED, JobGroup.CANCELLED, JobGroup.FINISHED})


@dataclass(frozen=True)
class StepJob:
    """A job of a step, with what is forecast of it."""

    job_id: int
    batch_id: int
    name: str
    status: str
    since_ts: datetime | None  # it has this status since then
    seconds: float | None  # it took, has run or has waited for so long
    reason: str | None  # why it failed
    moodys_id: str | None
    alike: int = 1  # jobs of its group with its status and reason, shown or not
    usual_seconds: float | None = None
    end: ExpectedEnd | None = None
    why_late: str | None = None  # it takes far longer than usual

    @property
    def group(self) -> JobGroup:
        """What it is looked at with."""
        if self.why_late:
            return JobGroup.LATE
        of_status = (group for group in JobGroup if self.status in group.statuses)
        return next(of_status, JobGroup.UNRECOGNISED)


@dataclass(frozen=True)
class StepJobs:
    """The jobs of one step at one moment: the first of each status and reason, all counted."""

    step: str
    cycle_name: str
    jobs: Sequence[StepJob]
    now_ts: datetime

    @property
    def headline(self) -> Headline:
        """How many jobs there are of each group."""
        groups = self._groups()
        counts = [
            f"{_total([j for _, jobs in of for j in jobs]):,} {group}" for group, of in groups
        ]
        severity = groups[0][0].severity if groups else Severity.NEUTRAL
        text = f"Jobs of {self.step} ({self.cycle_name}): {', '.join(counts) or 'there are none'}."
        return Headline(severity, text)

    def tables(self, *, prefix: str = "", folded: bool = False) -> Iterator[Table]:
        """Give a table for each group; if folded, only what needs a person is open."""
        for group, reasons in self._groups():
            needs_person = group.severity in {Severity.ERROR, Severity.WARNING}
            fold = Fold.OPEN if needs_person or not folded else Fold.CLOSED
            for reason, jobs in reasons[:_MOST_REASONS]:
                title = f"{prefix}{_total(jobs):,} {group}{reason and f': “{reason}”'}"
                yield self._table(title, group, jobs, fold)
            if rest := [job for _, jobs in reasons[_MOST_REASONS:] for job in jobs]:
                title = f"{prefix}{_total(rest):,} {group} for other reasons"
                yield self._table(title, group, rest, fold)

    def reasons(self, group: JobGroup) -> list[tuple[str, list[StepJob], int]]:
        """Return the reasons of a group, each with its first jobs and how many there are."""
        found = [of for name, of in self._groups() if name is group]
        return [(reason, jobs, _total(jobs)) for of in found for reason, jobs in of]

    def _groups(self) -> list[tuple[JobGroup, list[tuple[str, list[StepJob]]]]]:
        """Return each group with its jobs by reason, the reason of most jobs first."""
        found = []
        ordered = sorted(self.jobs, key=lambda job: _ORDER.index(job.group))
        for group, of in groupby(ordered, key=lambda job: job.group):
            reasons: dict[str, list[StepJob]] = {}
            for job in of:
                reasons.setdefault(_reason(job), []).append(job)
            found.append((group, sorted(reasons.items(), key=lambda item: -_total(item[1]))))
        return found

    def _table(self, title: str, group: JobGroup, jobs: Sequence[StepJob], fold: Fold) -> Table:
        columns = ["Job", "Status", "Since", "Took" if group in _ENDED else "For"]
        if has_end := group not in _ENDED | {JobGroup.PREPARED}:
            columns += ["Usually", "Expected end"]
        rows = [self._row(job, has_end=has_end) for job in jobs]
        total = _total(jobs)
        return Table(
            [*columns, "Moody's id"],
            rows,
            "job",
            title=title,
            total=total,
            fold=fold,
            severity=group.severity,
        )

    def _row(self, job: StepJob, *, has_end: bool) -> Row:
        has_ended = job.group in _ENDED
        since = (clock_and_age if has_ended else clock)(job.since_ts, self.now_ts)
        cells: list[Value] = [job.name, badge(job.status), since, duration(job.seconds)]
        if has_end:
            cells += [duration(job.usual_seconds), self._end(job.end)]
        notes = [Note(job.why_late, Severity.WARNING)] if job.why_late else []
        return Row([*cells, job.moodys_id or "—"], notes)

    def _end(self, end: ExpectedEnd | None) -> str:
        if end is None or end.times is None:
            return end.why_not if end else "—"
        low, median, high = (clock(when, self.now_ts) for when in end.times)
        return f"{median} ({low}–{high})"


@dataclass(frozen=True, repr=False)
class JobsReport(Report):
    """The jobs of some steps."""

    steps: Sequence[StepJobs]
    now_ts: datetime

    def blocks(self) -> Iterator[Block]:
        """Show how many jobs each step has, and a table for each group of them."""
        if not self.steps:
            yield Headline(Severity.NEUTRAL, "No job is open or has failed.")
        for step in self.steps:
            yield step.headline
            yield from step.tables()
        yield AsOf.at(self.now_ts)


def _reason(job: StepJob) -> str:
    """Return why a job ended badly, in one line; empty for all others."""
    if job.group not in {JobGroup.FAILED, JobGroup.CANCELLED}:
        return ""
    return one_line(job.reason or "no reason was given", 300)


def _total(jobs: Sequence[StepJob]) -> int:
    """Return how many jobs there are in all of which these are the first."""
    return sum({(job.status, job.reason, job.group): job.alike for job in jobs}.values())
