"""What sections 1 to 3 of a pass found and did. Facts, and the one sentence that sums them up."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from helpers.batch import Reconciliation
from helpers.constants import BatchStatus
from helpers.display import (
    Block,
    Headline,
    Note,
    Remark,
    Remarks,
    Report,
    Row,
    Severity,
    Table,
    Value,
    badge,
    clock_and_age,
)
from helpers.notifications.failures import Failures, failures_of
from helpers.recording import Recorded
from helpers.records import ActiveBatch
from helpers.text import counted, listed

_MOODYS_ID = re.compile(r"\bjob [0-9]+\b")


def grouped_by_text(remarks: list[Remark]) -> list[Remark]:
    """Return each text once, with all that it is about: a dead host is not a thousand remarks.

    Texts that differ in Moody's id of their job only are the same.
    """
    groups: dict[str, list[Remark]] = {}
    for remark in remarks:
        groups.setdefault(_MOODYS_ID.sub("job …", remark.text), []).append(remark)
    return [
        Remark(_together([r.about for r in group]), group[0].text if len(group) == 1 else text)
        for text, group in groups.items()
    ]


def _together(names: list[str]) -> str:
    """Return ``Job 5, Batch 2`` for different things, and ``Jobs 5, 6 and 40 more`` for alike."""
    jobs = [name.removeprefix("Job ") for name in names]
    if len(names) > 1 and all(job.isdecimal() for job in jobs):
        return f"Jobs {listed(jobs)}"
    return listed(names)


@dataclass(repr=False)
class PollReport(Report):
    """Section 2: what Moody's said."""

    batch_ids: list[int] = field(default_factory=list)  # polled by this pass
    held_elsewhere: dict[int, str] = field(default_factory=dict)  # batch -> who polls it
    jobs_due: int = 0
    jobs_polled: int = 0
    polls_failed: int = 0
    moves: dict[tuple[int, str, str], list[int]] = field(default_factory=dict)
    """The jobs that moved, by batch, old status and new status."""
    remarks: list[Remark] = field(default_factory=list)
    not_submitted: list[int] = field(default_factory=list)  # jobs without a workflow id
    not_asked: int = 0  # there was no time, or the host did not answer
    refused: str | None = None  # Moody's cannot be asked at all: settings or credentials
    errors: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)  # what went another way, and well
    seconds: float = 0.0

    def note(self, recorded: Recorded) -> Remark | None:
        """Take in one recorded answer; return what people should know of it."""
        job_id, batch_id = recorded.answer.question.job_id, recorded.answer.question.batch_id
        self.jobs_polled += 1
        self.polls_failed += recorded.answer.error is not None
        if recorded.changed and recorded.old_status and recorded.new_status:
            move = batch_id, recorded.old_status, recorded.new_status
            self.moves.setdefault(move, []).append(job_id)
        if recorded.remark is not None:
            return Remark(f"Job {job_id}", recorded.remark)
        if recorded.note is not None:
            self.notes.append(Remark(f"Job {job_id}", recorded.note))
        return None

    @property
    def problems(self) -> list[Remark]:
        """What is wrong with a host first, then what is odd about single jobs; each thing once."""
        return grouped_by_text(self.errors + self.remarks)

    @property
    def jobs_moved(self) -> int:
        """How many jobs changed their status."""
        return sum(map(len, self.moves.values()))

    @property
    def all_remarks(self) -> list[Remark]:
        """The problems, and what people should know besides."""
        return self.problems + grouped_by_text(self.notes)

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if self.refused:
            return f"Moody's could not be asked about {counted(self.jobs_due, 'job')}."
        if not self.jobs_due:
            return "No job to ask Moody's about."
        counts = f"{counted(self.jobs_polled, 'job')} polled, {self.jobs_moved:,} changed status"
        failed = f", {self.polls_failed:,} without a usable answer" if self.polls_failed else ""
        left = f", {self.not_asked:,} left for the next pass" if self.not_asked else ""
        return f"{counts}{failed}{left}; it took {self.seconds:.1f} s."

    @property
    def severity(self) -> Severity:
        """How it looks."""
        if self.refused:
            return Severity.ERROR
        if self.all_remarks or self.not_submitted or self.not_asked:
            return Severity.WARNING
        return Severity.OK if self.jobs_polled else Severity.NEUTRAL

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        yield Headline(self.severity, self.headline)
        if self.refused:
            yield Note(self.refused, Severity.ERROR)
        if self.not_submitted:
            were = counted(len(self.not_submitted), "job was", "jobs were")
            text = f"{were} never submitted and cannot be polled: {listed(self.not_submitted)}."
            yield Note(
                f"{text} Submit the batch again, or skip what is not needed.", Severity.WARNING
            )
        yield Remarks(self.all_remarks)
        rows = [
            Row([str(batch), len(jobs), badge(old), badge(new), listed(sorted(jobs))])
            for (batch, old, new), jobs in sorted(self.moves.items())
        ]
        yield Table(["Batch", "Jobs", "From", "To", "Which"], rows, "status change")
        held = list(self.held_elsewhere.items())
        for batch_id, owner in held[: self.most_lines]:
            yield Note(f"batch {batch_id} is polled by another run: {owner}")
        if more := len(held[self.most_lines :]):
            yield Note(f"… and {counted(more, 'more batch', 'more batches')}")


_MOST_REASONS = 3


def stands_in(batch: ActiveBatch) -> str:
    """Return where a batch stands in the workflow."""
    return (
        f"{batch['cycle_name']} · stage {batch['stage_num']} {batch['stage_name']} "
        f"· step {batch['step_num']} {batch['step_name']}"
    )


@dataclass(repr=False)
class FoundReport(Report):
    """Section 1: the batches that are watched."""

    batches: list[ActiveBatch]

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        if not self.batches:
            yield Headline(
                Severity.NEUTRAL, "Nothing to do: no batch is active in an active cycle."
            )
            yield Note(
                "A batch is watched from the moment a stage notebook submits it. Cards that wait "
                "and steps that are due are handled below all the same."
            )
            return
        found = counted(len(self.batches), "active batch", "active batches")
        yield Headline(Severity.INFO, f"{found} found.")
        rows = [
            Row(
                [
                    str(b["batch_id"]),
                    b["batch_type"],
                    stands_in(b),
                    clock_and_age(b["submitted_ts"]),
                ]
            )
            for b in self.batches
        ]
        yield Table(["Batch", "Type", "Where", "Submitted"], rows, "batch", "batches")


@dataclass(frozen=True)
class ReconciledBatch:
    """A batch with what became of it."""

    batch: ActiveBatch
    outcome: Reconciliation
    failures: Failures | None = None  # of a batch that ended with some

    @property
    def row(self) -> Row:
        """What became of it, and why."""
        outcome = self.outcome
        why = self.failures.sentence(most=_MOST_REASONS) if self.failures else None
        notes = [Note(" ".join(filter(None, [outcome.reason, why])))]
        notes += [Note(line, Severity.WARNING) for line in outcome.attention]
        if outcome.needs_attention and not outcome.attention:
            notes.append(Note("Needs attention.", Severity.WARNING))
        notes += [Note(outcome.chain, is_quiet=True)] if outcome.chain else []
        batch = self.batch
        cells: list[Value] = [
            str(batch["batch_id"]),
            batch["batch_type"],
            badge(outcome.status),
            stands_in(batch),
        ]
        return Row(cells, notes)


@dataclass(repr=False)
class ReconReport(Report):
    """Section 3: what each batch became, and why."""

    batches: list[ReconciledBatch] = field(default_factory=list)
    left_to_others: int = 0
    errors: list[Remark] = field(default_factory=list)
    swept: list[Remark] = field(default_factory=list)  # ended by another tool

    def add_failures(self) -> None:
        """Look up what failed in the batches that ended in this pass."""
        failures = failures_of([item.batch["batch_id"] for item in self.finished])
        self.batches = [
            replace(item, failures=failures.get(item.batch["batch_id"])) for item in self.batches
        ]

    @property
    def finished(self) -> list[ReconciledBatch]:
        """Batches that ended in this pass."""
        return [item for item in self.batches if item.outcome.finished]

    @property
    def needing_attention(self) -> list[ReconciledBatch]:
        """Batches that wait for a person."""
        return [item for item in self.batches if item.outcome.needs_attention]

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if not self.batches and not self.errors:
            return "No batch to reconcile."
        ended = [str(item.outcome.status) for item in self.finished]
        counts = [f"{ended.count(status)} {status}" for status in sorted(set(ended))]
        still = sum(item.outcome.status is BatchStatus.ACTIVE for item in self.batches)
        counts += [f"{still} still ACTIVE"] if still else []
        waiting = len(self.needing_attention)
        counts += [f"{waiting} needing attention"] if waiting else []
        counts += [f"{len(self.errors)} not reconciled"] if self.errors else []
        counts += [f"{self.left_to_others} left to other runs"] if self.left_to_others else []
        return f"{counted(len(self.batches), 'batch', 'batches')}: {', '.join(counts)}."

    @property
    def severity(self) -> Severity:
        """How it looks."""
        ended = {item.outcome.status for item in self.finished}
        if self.errors or ended & BatchStatus.announced():
            return Severity.ERROR
        if self.needing_attention:
            return Severity.WARNING
        return Severity.OK if ended else Severity.NEUTRAL

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        yield Headline(self.severity, self.headline)
        yield Remarks(self.errors)
        rows = [item.row for item in self.batches]
        yield Table(["Batch", "Type", "Became", "Where"], rows, "batch", "batches")
        yield Remarks(self.swept, "batch", title="Ended by another tool")
