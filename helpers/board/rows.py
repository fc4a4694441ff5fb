"""Where each step of a cycle stands. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from helpers.constants import BatchStatus, ChainRunStatus, JobStatus, StepStatus
from helpers.display import Severity, clock

_FAILED_JOBS = (JobStatus.FAILED, JobStatus.ERROR)
BAD_ENDS = frozenset({BatchStatus.FAILED, BatchStatus.ERROR, BatchStatus.CANCELLED})
_BAR: list[str] = [
    JobStatus.FAILED,
    JobStatus.ERROR,
    JobStatus.CANCELLED,
    JobStatus.FINISHED,
    *(status for status in reversed(JobStatus) if status not in JobStatus.terminal()),
]


class StepState(StrEnum):
    """Where a step stands."""

    FAILED = "failed"  # its batch ended badly, or its notebook failed
    NOTEBOOK = "notebook runs"
    ACTIVE = "jobs run"
    HELD = "held"  # due, and it waits for what is not over, or a person holds it
    DUE = "due"  # a pass starts its notebook
    PREPARED = "not submitted"  # its jobs are prepared, and nobody has submitted them
    DONE = "done"
    OPEN = "not started"

    @property
    def severity(self) -> Severity:
        """How it looks."""
        return _SEVERITIES[self]


_SEVERITIES = {
    StepState.FAILED: Severity.ERROR,
    StepState.NOTEBOOK: Severity.INFO,
    StepState.ACTIVE: Severity.INFO,
    StepState.HELD: Severity.WARNING,
    StepState.DUE: Severity.INFO,
    StepState.PREPARED: Severity.WARNING,
    StepState.DONE: Severity.OK,
    StepState.OPEN: Severity.NEUTRAL,
}


@dataclass(frozen=True)
class StepBatch:
    """A batch of a step, with its jobs counted; skipped ones are left out."""

    batch_id: int
    batch_type: str
    status: str
    submitted_ts: datetime | None
    completed_ts: datetime | None
    counts: Mapping[str, int]

    @property
    def open_jobs(self) -> int:
        """How many jobs have not ended."""
        return sum(n for status, n in self.counts.items() if status not in JobStatus.terminal())

    @property
    def failed_jobs(self) -> int:
        """How many jobs failed or could not be submitted."""
        return sum(self.counts.get(status, 0) for status in _FAILED_JOBS)


@dataclass(frozen=True)
class ExpectedEnd:
    """When the jobs of a step will have ended; without times, why nobody knows."""

    times: tuple[datetime, datetime, datetime] | None  # eight times in ten between first and last
    why_not: str = ""

    def text(self, now: datetime) -> str:
        """Return it as clock times."""
        if self.times is None:
            return self.why_not
        low, median, high = (clock(when, now) for when in self.times)
        return f"about {median}; 8 in 10 between {low} and {high}"

    def in_short(self, now: datetime) -> str:
        """Return the time that is as likely too early as too late; empty if nobody knows."""
        return f"about {clock(self.times[1], now)}" if self.times else ""


@dataclass(frozen=True)
class StepRow:
    """A step, its batches, and the last run of its notebook."""

    cycle_name: str
    stage_num: int
    stage_name: str
    step_num: int
    step_name: str
    batches: Sequence[StepBatch] = ()
    run_status: str | None = None
    run_started_ts: datetime | None = None
    run_completed_ts: datetime | None = None
    run_error: str | None = None
    notebook_path: str | None = None  # below the workflows folder, if it is there
    executed_path: str | None = None  # of that run's copy, likewise
    due_status: str | None = None  # of the latest chain run that leads here
    held: str = ""  # what a chain run that leads here waits for
    ends: ExpectedEnd | None = None  # of its batch that is forecast to end last

    @property
    def number(self) -> str:
        """The step's reference, ``3.6``."""
        return f"{self.stage_num}.{self.step_num}"

    @property
    def name(self) -> str:
        """The step as people refer to it."""
        return f"{self.number} {self.step_name}"

    @property
    def has_open_or_failed_jobs(self) -> bool:
        """Whether somebody may want to see its jobs."""
        shown = BAD_ENDS | {BatchStatus.ACTIVE}
        return any(batch.status in shown for batch in self.batches)

    @property
    def state(self) -> StepState:
        """Where the step stands: what needs a person first."""
        statuses = {batch.status for batch in self.batches}
        is_due = self.due_status in {ChainRunStatus.PENDING, ChainRunStatus.RUNNING}
        was_run = self.run_status in {StepStatus.COMPLETED, StepStatus.SKIPPED}
        states = (
            (self.run_status == StepStatus.ACTIVE, StepState.NOTEBOOK),
            (statuses & BAD_ENDS or self.run_status == StepStatus.FAILED, StepState.FAILED),
            (BatchStatus.ACTIVE in statuses, StepState.ACTIVE),
            (self.held, StepState.HELD),
            (is_due, StepState.DUE),
            (BatchStatus.INITIATED in statuses, StepState.PREPARED),
            (statuses or was_run, StepState.DONE),
        )
        return next((state for is_so, state in states if is_so), StepState.OPEN)

    @property
    def counts(self) -> dict[str, int]:
        """The jobs of all its batches by status."""
        total: dict[str, int] = {}
        for batch in self.batches:
            for status, number in batch.counts.items():
                total[status] = total.get(status, 0) + number
        return dict(sorted(total.items(), key=lambda item: _order(item[0])))

    @property
    def failed_jobs(self) -> int:
        """How many of its jobs failed or could not be submitted."""
        return sum(batch.failed_jobs for batch in self.batches)

    @property
    def open_jobs(self) -> int:
        """How many of its jobs have not ended."""
        return sum(batch.open_jobs for batch in self.batches)

    @property
    def is_busy(self) -> bool:
        """Whether it goes on by itself, or waits for a person: what comes after it has to wait."""
        return self.state not in {StepState.DONE, StepState.OPEN, StepState.PREPARED}

    @property
    def started_ts(self) -> datetime | None:
        """When its first batch was submitted, else when its notebook started."""
        begun = [batch for batch in self.batches if batch.status != BatchStatus.INITIATED]
        submitted = [batch.submitted_ts for batch in begun if batch.submitted_ts]
        return min(submitted, default=self.run_started_ts)

    @property
    def ended_ts(self) -> datetime | None:
        """When its last batch ended, else its notebook; None while something is open."""
        if any(batch.completed_ts is None for batch in self.batches):
            return None
        ended = [batch.completed_ts for batch in self.batches if batch.completed_ts]
        return max(ended, default=self.run_completed_ts)


def _order(status: str) -> int:
    """Return where a status stands in a bar: what has ended first, and last what has not begun."""
    return _BAR.index(status) if status in _BAR else len(_BAR)
