"""What each section of a pass found and did. Facts, and the one sentence that sums them up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import ClassVar

from helpers.batch import Reconciliation
from helpers.chaining.runs import OpenChainRun
from helpers.constants import BatchStatus, ChainRunStatus, CycleStatus
from helpers.display import Report, Tone, moment
from helpers.recording import Recorded
from helpers.records import ActiveBatch
from helpers.text import counted, listed

_NAMED = 8  # of the things that one remark is about


@dataclass(repr=False)
class FoundReport(Report):
    """Section 1: the batches that are watched."""

    template: ClassVar[str] = "found"

    batches: list[ActiveBatch]


@dataclass(frozen=True)
class Transition:
    """A job that moved."""

    job_id: int
    batch_id: int
    old_status: str
    new_status: str


@dataclass(frozen=True)
class Movement:
    """Jobs of one batch that moved alike."""

    batch_id: int
    old_status: str
    new_status: str
    job_ids: list[int]


@dataclass(frozen=True)
class Remark:
    """Something about one job, batch or section that a person should know."""

    about: str
    text: str


def said_once(remarks: list[Remark]) -> list[Remark]:
    """Return each text once, with all that it is about: a dead host is not a thousand remarks."""
    about: dict[str, list[str]] = {}
    for remark in remarks:
        about.setdefault(remark.text, []).append(remark.about)
    return [Remark(listed(names, most=_NAMED), text) for text, names in about.items()]


@dataclass(repr=False)
class PollReport(Report):
    """Section 2: what Moody's said."""

    template: ClassVar[str] = "polled"

    batch_ids: list[int] = field(default_factory=list)  # polled by this pass
    held_elsewhere: dict[int, str] = field(default_factory=dict)  # batch -> who polls it
    jobs_due: int = 0
    jobs_polled: int = 0
    polls_failed: int = 0
    transitions: list[Transition] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    not_submitted: list[int] = field(default_factory=list)  # jobs without a workflow id
    not_asked: int = 0  # for want of time, or of an answer from the host
    refused: str | None = None  # Moody's cannot be asked at all: settings or credentials
    errors: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)  # what went another way, and well
    seconds: float = 0.0

    def note(self, recorded: Recorded, batch_id: int) -> None:
        """Take in one recorded answer."""
        job_id = recorded.answer.question.job_id
        self.jobs_polled += 1
        self.polls_failed += recorded.answer.error is not None
        if recorded.changed and recorded.old_status and recorded.new_status:
            moved = Transition(job_id, batch_id, recorded.old_status, recorded.new_status)
            self.transitions.append(moved)
        if recorded.remark is not None:
            self.remarks.append(Remark(f"Job {job_id}", recorded.remark))
        elif recorded.note is not None:
            self.notes.append(Remark(f"Job {job_id}", recorded.note))

    @property
    def problems(self) -> list[Remark]:
        """What is wrong with a host first, then what is odd about single jobs; each thing once."""
        return said_once(self.errors + self.remarks)

    @property
    def movements(self) -> list[Movement]:
        """The jobs that moved, together where they moved alike; batches in order."""
        alike: dict[tuple[int, str, str], list[int]] = defaultdict(list)
        for move in self.transitions:
            alike[move.batch_id, move.old_status, move.new_status].append(move.job_id)
        return [Movement(*key, sorted(job_ids)) for key, job_ids in sorted(alike.items())]

    @property
    def all_remarks(self) -> list[Remark]:
        """The problems, and what people should know besides."""
        return self.problems + said_once(self.notes)

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if self.refused:
            return f"Moody's could not be asked about {counted(self.jobs_due, 'job')}."
        if not self.jobs_due:
            return "No job to ask Moody's about."
        said = (
            f"{counted(self.jobs_polled, 'job')} polled, {len(self.transitions):,} changed status"
        )
        failed = f", {self.polls_failed:,} without a usable answer" if self.polls_failed else ""
        left = f", {self.not_asked:,} left for the next pass" if self.not_asked else ""
        return f"{said}{failed}{left}; it took {self.seconds:.1f} s."

    @property
    def tone(self) -> Tone:
        """How it looks."""
        if self.refused:
            return Tone.BAD
        if self.all_remarks or self.not_submitted or self.not_asked:
            return Tone.WARN
        return Tone.GOOD if self.jobs_polled else Tone.CALM


@dataclass(frozen=True)
class ReconciledBatch:
    """A batch with what became of it."""

    batch: ActiveBatch
    outcome: Reconciliation

    @property
    def name(self) -> str:
        """The batch as people know it."""
        place = f"stage {self.batch['stage_num']} step {self.batch['step_num']}"
        return f"Batch {self.batch['batch_id']} ({self.batch['batch_type']}, {place})"


@dataclass(repr=False)
class ReconReport(Report):
    """Section 3: what each batch became, and why."""

    template: ClassVar[str] = "reconciled"

    batches: list[ReconciledBatch] = field(default_factory=list)
    left_to_others: int = 0
    errors: list[Remark] = field(default_factory=list)

    @property
    def settled(self) -> list[ReconciledBatch]:
        """Batches that ended in this pass."""
        return [item for item in self.batches if item.outcome.settled]

    @property
    def needing_attention(self) -> list[ReconciledBatch]:
        """Batches that wait for a person."""
        return [item for item in self.batches if item.outcome.needs_attention]

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if not self.batches and not self.errors:
            return "No batch to reconcile."
        ended = [str(item.outcome.status) for item in self.settled]
        counts = [f"{ended.count(status)} {status}" for status in sorted(set(ended))]
        still = sum(item.outcome.status is BatchStatus.ACTIVE for item in self.batches)
        counts += [f"{still} still ACTIVE"] if still else []
        waiting = len(self.needing_attention)
        counts += [f"{waiting} needing attention"] if waiting else []
        counts += [f"{len(self.errors)} not reconciled"] if self.errors else []
        counts += [f"{self.left_to_others} left to other runs"] if self.left_to_others else []
        return f"{counted(len(self.batches), 'batch', 'batches')}: {', '.join(counts)}."

    @property
    def tone(self) -> Tone:
        """How it looks."""
        ended = {item.outcome.status for item in self.settled}
        if self.errors or ended & BatchStatus.announced():
            return Tone.BAD
        if self.needing_attention:
            return Tone.WARN
        return Tone.GOOD if ended else Tone.CALM


@dataclass(frozen=True)
class ChainedStep:
    """A next step that this pass started, or tried to."""

    batch_id: int
    cycle_name: str
    stage_num: int
    from_step_num: int
    next_step_num: int
    error: str | None
    executed_path: str | None = None
    seconds: float | None = None  # None: it was not started

    @property
    def status(self) -> ChainRunStatus:
        """How it ended."""
        return ChainRunStatus.COMPLETED if self.error is None else ChainRunStatus.FAILED


@dataclass(repr=False)
class ChainReport(Report):
    """Section 4: the steps that followed."""

    template: ClassVar[str] = "chained"

    steps: list[ChainedStep] = field(default_factory=list)
    open_elsewhere: list[OpenChainRun] = field(default_factory=list)
    blocked: str | None = None  # why nothing was started
    errors: list[Remark] = field(default_factory=list)

    @property
    def failed(self) -> list[ChainedStep]:
        """Steps whose notebook failed or could not be started."""
        return [step for step in self.steps if step.error is not None]

    def state(self, run: OpenChainRun) -> str:
        """Say why a hand-over that is due or running is not this pass's business."""
        if run["cycle_status"] != CycleStatus.ACTIVE:
            return f"waits, because the cycle is {run['cycle_status']}"
        if run["status"] == ChainRunStatus.RUNNING:
            since, alive = moment(run["started_ts"]), moment(run["heartbeat_ts"])
            return f"run by {run['owner']} since {since}, last sign of life {alive}"
        return "due; the next pass starts it"

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if self.blocked:
            return f"No step was started, because it would fail as well: {self.blocked}"
        if not self.steps:
            return "No step was due."
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{counted(len(self.steps), 'next step')} started{failed}."

    @property
    def tone(self) -> Tone:
        """How it looks."""
        if self.failed or self.errors or self.blocked:
            return Tone.BAD
        return Tone.GOOD if self.steps else Tone.CALM
