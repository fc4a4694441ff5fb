"""What a stage notebook shows: what was submitted, and what became of its stage."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from helpers.constants import BatchStatus, JobStatus
from helpers.database import queries, transaction
from helpers.display import (
    AsOf,
    Block,
    Cell,
    Headline,
    Note,
    Report,
    Row,
    Severity,
    Table,
    Value,
    badge,
    clock,
    duration,
    tally,
)
from helpers.notifications.failures import Failures, failures_of
from helpers.pass_health import PassHealth, pass_health
from helpers.records import BatchSubmission, Step
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

    @property
    def row(self) -> Row:
        """The batch with its figures."""
        totals = [
            Note(f"{name}: {total:,.10g}", is_quiet=True) for name, total in self.totals.items()
        ]
        cells: list[Value] = [
            f"{self.step_num} {self.step_name}",
            f"{self.batch_id} {self.batch_type}",
            badge(self.status),
            Cell(tally(self.job_counts), counts=self.job_counts),
            clock(self.submitted_ts),
            duration(self.took),
            duration(self.longest_job),
        ]
        return Row(cells, totals)


@dataclass(repr=False)
class StageSummary(Report):
    """What was submitted in a stage, what finished, what failed and why, how long it took."""

    step: Step
    batches: list[StageBatch]
    failures: dict[int, Failures]  # by batch
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
    def failures_total(self) -> int:
        """How many jobs ended badly."""
        return sum(failures.total for failures in self.failures.values())

    def _failure_rows(self) -> Iterator[Row]:
        types = {batch.batch_id: batch.batch_type for batch in self.batches}
        for batch_id, failures in self.failures.items():
            batch = f"{batch_id} {types.get(batch_id, '')}"
            for group in failures.groups:
                cells: list[Value] = [batch, group.jobs, badge(group.status), group.who]
                yield Row(cells, [Note(group.reason)])
            if left := failures.left_out:
                yield Row([batch, left, "", "for other reasons"])

    @property
    def headline(self) -> str:
        """The stage in one sentence."""
        if not self.batches:
            return "This stage has no batch."
        finished = self.count(JobStatus.FINISHED)
        done = f"{finished:,} of {counted(self.jobs, 'job')} finished"
        failed = f", {self.failures_total:,} did not succeed" if self.failures_total else ""
        return f"{done}{failed}."

    @property
    def severity(self) -> Severity:
        """How it looks."""
        if self.failures_total:
            return Severity.ERROR
        done = all(batch.status == BatchStatus.COMPLETED for batch in self.batches)
        if not self.batches:
            return Severity.NEUTRAL
        return Severity.OK if done else Severity.INFO

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        step = self.step
        about = f"{step['cycle_name']}, stage {step['stage_num']} {step['stage_name']}"
        yield Headline(self.severity, f"{about}: {self.headline}")
        for warning in self.warnings:
            yield Note(warning, Severity.WARNING)
        yield Table(
            ["Batch", "Jobs", "Status", "What did not succeed, and why"],
            list(self._failure_rows()),
            "reason",
        )
        if self.failures:
            yield Note(
                "Resubmit or skip what failed in the notebook Manage Batches; the next pass then "
                "decides the batch anew."
            )
        yield Table(
            ["Step", "Batch", "Status", "Jobs", "Submitted", "Took", "Longest job"],
            [batch.row for batch in self.batches],
            "batch",
            "batches",
        )
        for line in self.health.lines():
            yield Note(line, is_quiet=True)
        yield AsOf.at(self.health.now_ts)


@dataclass(repr=False)
class SubmissionReport(Report):
    """What became of submitting the batches of a step, or of doing their work."""

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
    def severity(self) -> Severity:
        """How it looks."""
        if self.failed:
            return Severity.ERROR
        return Severity.OK if self.submissions else Severity.NEUTRAL

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        yield Headline(self.severity, self.headline)
        if not self.submissions:
            yield Note(
                'A batch is prepared by step.prepare("list.csv").apply(). One that has ended is '
                "not submitted again."
            )
            return
        columns = ["Batch", "Status", self.verb.capitalize(), "Failed", "Not touched"]
        yield Table(columns, [self._row(item) for item in self.submissions], "batch", "batches")
        if self.failed and not self.done:
            yield Note("Correct what is named above, then resubmit in the notebook Manage Batches.")
        else:
            yield Note(
                "The monitor takes over from here: it watches the batch and starts the next step "
                "when this one is done."
            )

    def _row(self, item: BatchSubmission) -> Row:
        figures: list[Value] = [item["submitted"], item["failed"], item["untouched"]]
        errors = [Note(error, Severity.ERROR) for error in item["errors"][: self.most_lines]]
        more = len(item["errors"]) - len(errors)
        errors += [Note(f"… and {counted(more, 'more error')}")] if more else []
        return Row([str(item["batch_id"]), badge(item["status"]), *figures], errors)


def summarise_stage(step: Step) -> StageSummary:
    """Return what was submitted in the step's stage, what finished, what failed and why."""
    with transaction():
        batches = stage_batches(step)
        failures = failures_of([batch.batch_id for batch in batches])
    health = pass_health()
    # A pass that runs this very notebook is on, however long ago one was completed.
    is_on = queries("stage").is_run_by_pass(step_id=step["step_id"])
    warnings = health.about_schedules() if is_on else health.warnings()
    return StageSummary(step, batches, failures, health, warnings)


def stage_batches(step: Step) -> list[StageBatch]:
    """Return the batches of the step's stage, in the order of the steps."""
    stage = {"cycle_id": step["cycle_id"], "stage_num": step["stage_num"]}
    with transaction():
        totals = _totals(queries("stage").results_of_notebook_work(**stage))
        rows = queries("stage").batches_of_stage(**stage)
        return [StageBatch(**row, totals=dict(totals[row["batch_id"]])) for row in rows]


def _totals(rows: Iterable[dict[str, Any]]) -> dict[int, Counter[str]]:
    """Sum the numbers that notebooks noted of their own work, by batch."""
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        # A bool does not count as a number.
        numbers = {k: v for k, v in row["details"].items() if type(v) in {int, float}}
        totals[row["batch_id"]].update(numbers)
    return totals
