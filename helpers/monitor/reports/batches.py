"""What sections 1 and 3 of a pass found and decided: the watched batches."""

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
from helpers.records import ActiveBatch
from helpers.text import counted

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
    def name(self) -> str:
        """The batch as people know it."""
        step = f"stage {self.batch['stage_num']} step {self.batch['step_num']}"
        return f"Batch {self.batch['batch_id']} ({self.batch['batch_type']}, {step})"

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
        yield Remarks(self.swept, "batch", title="Ended by another tool" if self.swept else "")
