"""Where each step of a cycle stands, and what it waits for. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from helpers.constants import BatchStatus, ChainRunStatus, JobStatus, StepStatus
from helpers.display import Severity, clock
from helpers.steps.rules import step_rule
from helpers.text import counted, one_line

_RUN_IT = "you: run its notebook"
_FAILED_JOBS = (JobStatus.FAILED, JobStatus.ERROR)
_BAD_ENDS = frozenset({BatchStatus.FAILED, BatchStatus.ERROR, BatchStatus.CANCELLED})
_ENDED_FIRST: list[str] = [
    JobStatus.FAILED,
    JobStatus.ERROR,
    JobStatus.CANCELLED,
    JobStatus.FINISHED,
    *(status for status in reversed(JobStatus) if status not in JobStatus.terminal()),
]
_ORDER = {status: number for number, status in enumerate(_ENDED_FIRST)}  # in a bar


class StepState(StrEnum):
    """Where a step stands, and how that looks."""

    FAILED = "failed", Severity.ERROR  # its batch ended badly, or its notebook failed
    NOTEBOOK = "notebook runs", Severity.INFO
    ACTIVE = "jobs run", Severity.INFO
    HELD = "held", Severity.WARNING  # due, and waits for what is not over, or a person holds it
    DUE = "due", Severity.INFO  # a pass starts its notebook
    PREPARED = "not submitted", Severity.WARNING  # nobody has submitted its prepared jobs
    DONE = "done", Severity.OK
    OPEN = "not started", Severity.NEUTRAL

    severity: Severity

    def __new__(cls, label: str, severity: Severity) -> Self:
        """Make a member."""
        state = str.__new__(cls, label)
        state._value_, state.severity = label, severity
        return state


@dataclass(frozen=True)
class StepBatch:
    """A batch of a step, with its jobs counted; skipped ones are left out."""

    batch_id: int
    batch_type: str
    status: str
    submitted_ts: datetime | None
    completed_ts: datetime | None
    counts: Mapping[str, int]


@dataclass(frozen=True)
class ExpectedEnd:
    """When a job, or those of a step, will have ended; without times, why nobody knows."""

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
        shown = _BAD_ENDS | {BatchStatus.ACTIVE}
        return any(batch.status in shown for batch in self.batches)

    @property
    def state(self) -> StepState:
        """Where the step stands: what needs a person first."""
        statuses = {batch.status for batch in self.batches}
        is_due = self.due_status in {ChainRunStatus.PENDING, ChainRunStatus.RUNNING}
        was_run = self.run_status in {StepStatus.COMPLETED, StepStatus.SKIPPED}
        states = (
            (self.run_status == StepStatus.ACTIVE, StepState.NOTEBOOK),
            (statuses & _BAD_ENDS or self.run_status == StepStatus.FAILED, StepState.FAILED),
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
        total: Counter[str] = Counter()
        for batch in self.batches:
            total.update(batch.counts)
        return dict(sorted(total.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))))

    @property
    def failed_jobs(self) -> int:
        """How many of its jobs failed or could not be submitted."""
        return sum(self.counts.get(status, 0) for status in _FAILED_JOBS)

    @property
    def open_jobs(self) -> int:
        """How many of its jobs have not ended."""
        return sum(n for status, n in self.counts.items() if status not in JobStatus.terminal())

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


def with_waits(steps: Sequence[StepRow]) -> Iterator[tuple[StepRow, str, bool]]:
    """Give each step of a cycle, what it waits for (empty for what is done), and if others go on.

    Those are the steps before it.
    """
    before: StepRow | None = None
    is_busy = False
    for step in steps:
        yield step, _waits_for(step, before, is_busy=is_busy), is_busy
        before, is_busy = step, is_busy or step.is_busy


def _waits_for(step: StepRow, before: StepRow | None, *, is_busy: bool) -> str:
    match step.state:
        case StepState.FAILED:
            return f"you: {_what_failed(step)}"
        case StepState.ACTIVE:
            jobs = counted(step.open_jobs, "job")
            return f"{jobs} at Moody's" if step.open_jobs else "the next pass"
        case StepState.HELD:
            return step.held
        case StepState.DUE:
            return "a pass, which starts its notebook"
        case StepState.OPEN | StepState.PREPARED:
            return _before_it_starts(step, before, is_busy=is_busy)
        case _:
            return ""


def _before_it_starts(step: StepRow, before: StepRow | None, *, is_busy: bool) -> str:
    """Say what starts a step: the step before it if a rule leads on from there, else a person."""
    is_prepared = step.state is StepState.PREPARED
    run_it = f"{_RUN_IT}, which submits the jobs" if is_prepared else _RUN_IT
    if before is None or before.state is StepState.DONE or (is_prepared and not is_busy):
        return run_it
    rule = step_rule(before.stage_num, before.step_num)
    if rule and (rule.stage_num, rule.next_step_num) == (step.stage_num, step.step_num):
        return _holds(before, step)
    return f"{run_it}, after step {before.name} ({before.state.value})"


def _what_failed(step: StepRow) -> str:
    bad = [batch for batch in step.batches if batch.status in _BAD_ENDS]
    if bad:
        return f"batch {bad[-1].batch_id} is {bad[-1].status}"
    return one_line(step.run_error or "its notebook failed", 120)


def _holds(before: StepRow, step: StepRow) -> str:
    if before.state is StepState.ACTIVE and before.open_jobs:
        name = before.batches[-1].batch_type
        verb = "holds" if before.open_jobs == 1 else "hold"
        return f"{counted(before.open_jobs, 'job')} of {name} {verb} step {step.number}"
    return f"step {before.name} ({before.state.value})"
