"""What a stage notebook shows: its step, what was submitted, and what became of the stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from helpers.constants import BatchStatus, JobStatus
from helpers.display import Report, Tone
from helpers.records import BatchSubmission, Step
from helpers.schedule.passes import PassHealth
from helpers.text import counted


@dataclass(frozen=True)
class StageBatch:
    """A batch of the stage, with its jobs counted."""

    step_num: int
    step_name: str
    batch_id: int
    batch_type: str
    status: str
    submitted_ts: datetime | None
    completed_ts: datetime | None
    job_counts: dict[str, int]  # by label, skipped jobs under "SKIPPED"
    longest_job: timedelta | None
    totals: dict[str, float] = field(default_factory=dict)  # summed from the notebook's own work

    @property
    def took(self) -> timedelta | None:
        """From its submission to its end."""
        if self.submitted_ts is None or self.completed_ts is None:
            return None
        return self.completed_ts - self.submitted_ts


@dataclass(frozen=True)
class FailedJob:
    """A job that ended badly, and why."""

    job_id: int
    batch_id: int
    batch_type: str
    moodys_workflow_id: str | None
    status: str
    reason: str | None
    configuration: dict[str, Any] | None


@dataclass(repr=False)
class StageSummary(Report):
    """What was submitted in a stage, what finished, what failed and why, how long it took."""

    template: ClassVar[str] = "stage_summary"

    step: Step
    batches: list[StageBatch]
    failures: list[FailedJob]
    failures_total: int
    health: PassHealth
    warnings: list[str]  # about monitoring itself

    def count(self, *statuses: JobStatus) -> int:
        """Return how many jobs of the stage stand in one of these statuses."""
        return sum(batch.job_counts.get(status, 0) for batch in self.batches for status in statuses)

    @property
    def jobs(self) -> int:
        """How many jobs the stage has, without skipped ones."""
        return self.count(*JobStatus)

    @property
    def headline(self) -> str:
        """The stage in one sentence."""
        if not self.batches:
            return "This stage has no batch."
        finished = self.count(JobStatus.FINISHED)
        said = f"{finished:,} of {counted(self.jobs, 'job')} finished"
        failed = f", {self.failures_total:,} did not succeed" if self.failures_total else ""
        return f"{said}{failed}."

    @property
    def tone(self) -> Tone:
        """How it looks."""
        if self.failures_total:
            return Tone.BAD
        done = all(batch.status == BatchStatus.COMPLETED for batch in self.batches)
        return Tone.GOOD if self.batches and done else Tone.BUSY if self.batches else Tone.CALM


@dataclass(repr=False)
class StepReport(Report):
    """Where a notebook stands, and the batches of its step."""

    template: ClassVar[str] = "step"

    step: Step
    batches: list[StageBatch]


@dataclass(repr=False)
class SubmissionReport(Report):
    """What became of submitting the batches of a step, or of doing their work."""

    template: ClassVar[str] = "submitted"

    step: Step
    submissions: list[BatchSubmission]
    verb: str  # "submitted" or "done"

    @property
    def done(self) -> int:
        """How many jobs were submitted, or had their work done."""
        return sum(item["submitted"] for item in self.submissions)

    @property
    def failed(self) -> int:
        """How many jobs were not."""
        return sum(item["failed"] for item in self.submissions)

    @property
    def headline(self) -> str:
        """The submission in one sentence."""
        if not self.submissions:
            return f"Nothing was {self.verb}: this step has no prepared batch."
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{counted(self.done, 'job')} {self.verb}{failed}."

    @property
    def tone(self) -> Tone:
        """How it looks."""
        if self.failed:
            return Tone.BAD
        return Tone.GOOD if self.submissions else Tone.CALM
