"""The steps of each cycle, stage by stage: where each stands, and what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from helpers.board.step_jobs import StepJobs
from helpers.constants import BatchStatus, ChainRunStatus, JobStatus, StepStatus
from helpers.display import (
    Block,
    Cell,
    Headline,
    Note,
    Report,
    Row,
    Severity,
    Table,
    as_of,
    clock,
    duration,
    tally,
)
from helpers.text import counted, listed, shorten

_LONGEST_REASON = 120
_FAILED_JOBS = (JobStatus.FAILED, JobStatus.ERROR)
_BAD_ENDS = frozenset({BatchStatus.FAILED, BatchStatus.ERROR, BatchStatus.CANCELLED})
_MOST_NAMED = 4


class StepState(StrEnum):
    """Where a step stands."""

    FAILED = "failed"  # its batch ended badly, or its notebook failed
    NOTEBOOK = "notebook runs"
    ACTIVE = "jobs run"
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
        if self.run_status == StepStatus.ACTIVE:
            return StepState.NOTEBOOK
        if statuses & _BAD_ENDS or self.run_status == StepStatus.FAILED:
            return StepState.FAILED
        if BatchStatus.ACTIVE in statuses:
            return StepState.ACTIVE
        if self.due_status in {ChainRunStatus.PENDING, ChainRunStatus.RUNNING}:
            return StepState.DUE
        if BatchStatus.INITIATED in statuses:
            return StepState.PREPARED
        is_done = bool(statuses) or self.run_status in {StepStatus.COMPLETED, StepStatus.SKIPPED}
        return StepState.DONE if is_done else StepState.OPEN

    @property
    def counts(self) -> dict[str, int]:
        """The jobs of all its batches by status."""
        total: dict[str, int] = {}
        for batch in self.batches:
            for status, number in batch.counts.items():
                total[status] = total.get(status, 0) + number
        return total

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


@dataclass(frozen=True, repr=False)
class Board(Report):
    """The steps of the ACTIVE cycles at one moment."""

    steps: Sequence[StepRow]
    now_ts: datetime
    jobs: Sequence[StepJobs] = ()  # of steps in which jobs are open or have failed

    def blocks(self) -> Iterator[Block]:
        """Show a headline and a table for each cycle, and the jobs of its steps."""
        if not self.steps:
            yield Headline(Severity.NEUTRAL, "No cycle is ACTIVE: helpers.cycle.create_cycle(…).")
            return
        for cycle, rows in groupby(self.steps, key=lambda step: step.cycle_name):
            steps = list(rows)
            yield _headline(cycle, steps)
            columns = ["Step", "State", "Jobs", "Started", "Took", "Expected end", "Waits for"]
            lines = [self._row(step, waits) for step, waits in _with_waits(steps)]
            yield Table(columns, lines, noun="step")
            for jobs in self.jobs:
                if jobs.cycle_name == cycle:
                    yield from jobs.tables(prefix=f"{jobs.step}: ", folded=True)
        yield Note(as_of(self.now_ts), is_quiet=True)

    def _row(self, step: StepRow, waits: str) -> Row:
        counts, started = step.counts, step.started_ts
        ended = step.ended_ts or (self.now_ts if step.state in _RUNNING else None)
        took = ended - started if started and ended else None
        return Row(
            [
                Cell(step.name, link=step.notebook_path),
                Cell(step.state.value, step.state.severity, link=step.executed_path),
                Cell(tally(counts), counts=counts) if counts else "—",
                clock(started, self.now_ts),
                duration(took) if took is not None and took >= timedelta(0) else "—",
                step.ends.text(self.now_ts) if step.ends else "—",
                waits or "—",
            ]
        )


_RUNNING = frozenset({StepState.NOTEBOOK, StepState.ACTIVE})


def _headline(cycle: str, steps: Sequence[StepRow]) -> Headline:
    """Return a cycle in one sentence: what failed, what runs, and how far it is."""
    failed = [step for step in steps if step.state is StepState.FAILED]
    running = [step for step in steps if step.state in _RUNNING]
    failing = [step for step in running if any(batch.failed_jobs for batch in step.batches)]
    prepared = [step for step in steps if step.state is StepState.PREPARED]
    done = sum(step.state is StepState.DONE for step in steps)
    parts = [
        f"{_named(failed)} failed" if failed else "",
        *(_so_far(step) for step in failing),
        f"{_named(running)} in progress" if running else "",
        *(f"{_prepared(step)} not submitted" for step in prepared),
        f"{done} of {counted(len(steps), 'step')} done",
    ]
    severity = Severity.OK
    for worst, found in (
        (Severity.INFO, running),
        (Severity.WARNING, prepared),
        (Severity.ERROR, failed + failing),
    ):
        severity = worst if found else severity
    return Headline(severity, f"Cycle {cycle}: {'; '.join(filter(None, parts))}.")


def _named(steps: Sequence[StepRow]) -> str:
    return listed([step.name for step in steps], most=_MOST_NAMED)


def _so_far(step: StepRow) -> str:
    failed = sum(batch.failed_jobs for batch in step.batches)
    return f"{failed} of {counted(sum(step.counts.values()), 'job')} of {step.name} failed so far"


def _prepared(step: StepRow) -> str:
    jobs = sum(b.open_jobs for b in step.batches if b.status == BatchStatus.INITIATED)
    return f"{counted(jobs, 'prepared job')} of step {step.name}"


def _with_waits(steps: Sequence[StepRow]) -> Iterator[tuple[StepRow, str]]:
    """Give each step with what it waits for: a person, a pass, or the step before it."""
    before: StepRow | None = None
    for step in steps:
        same_stage = before if before is not None and before.stage_num == step.stage_num else None
        yield step, _waits_for(step, same_stage)
        before = step


def _waits_for(step: StepRow, before: StepRow | None) -> str:
    match step.state:
        case StepState.FAILED:
            return f"you: {_what_failed(step)}"
        case StepState.PREPARED:
            return "you: run its notebook, which submits the jobs"
        case StepState.ACTIVE:
            return f"{counted(sum(b.open_jobs for b in step.batches), 'job')} at Moody's"
        case StepState.DUE:
            return "a pass, which starts its notebook"
        case StepState.OPEN if before is not None and before.state is not StepState.DONE:
            return _holds(before, step)
        case _:
            return ""


def _what_failed(step: StepRow) -> str:
    bad = [batch for batch in step.batches if batch.status in _BAD_ENDS]
    if bad:
        return f"batch {bad[-1].batch_id} is {bad[-1].status}"
    return shorten(" ".join((step.run_error or "its notebook failed").split()), _LONGEST_REASON)


def _holds(before: StepRow, step: StepRow) -> str:
    open_jobs = sum(batch.open_jobs for batch in before.batches)
    if before.state is StepState.ACTIVE and open_jobs:
        name = before.batches[-1].batch_type
        verb = "holds" if open_jobs == 1 else "hold"
        return f"{counted(open_jobs, 'job')} of {name} {verb} step {step.stage_num}.{step.step_num}"
    return f"step {before.name} ({before.state.value})"
