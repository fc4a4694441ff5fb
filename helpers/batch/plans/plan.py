"""What the plans for a batch have in common.

Applying one locks the batch row as reconciling does. Two people who apply plans for the same job
meet at the lock: the second one is overtaken. Another tool's SQL that replaces the same job meets
the unique index on live replacements.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from helpers import actions
from helpers.batch.plans.seeing import SeenJob, changes_since
from helpers.batch.reading import read_batch
from helpers.database import queries
from helpers.display import Block, Headline, Note, Remark, Remarks, Row, Severity, Table, badge
from helpers.errors import BatchError, DatabaseError, PlanOvertakenError
from helpers.records import Batch, step_title
from helpers.text import counted

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

_CONNECTIONS = 8  # as many as are submitted side by side
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's appendix A


class PlanOutcome(TypedDict):
    """What became of a plan; the same for each time it is applied."""

    plan_id: UUID
    kind: str  # an ``ActionKind``
    batch_id: int
    done: int  # jobs, or configurations, that were acted on; by Moody's too, if it was asked
    failed: int  # jobs that Moody's rejected, or of which it is not known
    new_job_ids: list[int]  # of the jobs that replace others, in the order of those
    errors: list[str]  # one line per job that failed


class BatchPlan(actions.Plan):
    """What would be done to a batch, and to which of its jobs."""

    verb: str  # as in "resubmit 3 jobs"

    def __init__(self, batch: Batch, jobs: Iterable[SeenJob]) -> None:
        """Hold what was seen: the jobs that it acts on, and why it leaves others alone."""
        super().__init__(batch)
        self.batch = batch
        whys = [(job, self._why_not(job)) for job in jobs]
        self.jobs = tuple(job for job, why in whys if not why)
        self.refused = {job.known_as: why for job, why in whys if why}

    @abstractmethod
    def _why_not(self, job: SeenJob) -> str:
        """Return why the plan leaves a job alone; empty if it does not."""

    def apply(self, irp_client: "IRPClient | None" = None, *, reason: str) -> PlanOutcome:
        """Do what the plan shows, or refuse; ``reason`` says why, for the history.

        Without a client one is opened, if there are requests to send.

        Raises:
            PlanOvertakenError: what the plan saw has changed; nothing was done.
            BatchError: there is nothing to do.
        """
        why = actions.checked_reason(reason)
        if problem := self._why_not_now(is_empty=not self.jobs):
            raise BatchError(problem, batch_id=self.batch["batch_id"])
        if irp_client is None and self.requests:
            from helpers.irp_integration import IRPClient  # noqa: PLC0415 - brings requests

            with IRPClient(connections=_CONNECTIONS) as own_client:
                return self._applied(own_client, why)
        return self._applied(irp_client, why)

    def _applied(self, irp_client: "IRPClient | None", why: str) -> PlanOutcome:
        with self._alone(), _overtaken_by_another_tool(self.batch):
            self._apply_once(why)
        self._follow_up(irp_client)
        return self.outcome()

    def outcome(self) -> PlanOutcome:
        """Return what became of the plan so far; all zero before it was applied."""
        rows = actions.actions_of(self.plan_id)
        failed = [row for row in rows if row["status"] in {"REJECTED", "UNKNOWN"}]
        return PlanOutcome(
            plan_id=self.plan_id,
            kind=self.kind.value,
            batch_id=self.batch["batch_id"],
            done=sum(row["status"] == "DONE" for row in rows),
            failed=len(failed),
            new_job_ids=[row["new_job_id"] for row in rows if row["new_job_id"] is not None],
            errors=[f"Job {row['job_id']}: {row['outcome']}" for row in failed],
        )

    @property
    def requests(self) -> int:
        """How many requests are sent to Moody's."""
        return 0

    def _follow_up(self, irp_client: "IRPClient | None") -> None:
        """Do what comes after the transaction; a repeat goes on with it."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out meanwhile, beyond the lock of the batch row."""
        yield

    def _record_job(self, why: str, job: SeenJob, *, details: Any = None, **facts: Any) -> None:
        """Put on record what is done to one job."""
        details = {"was": job.status, **(details or {})}
        self._record(why, job_id=job.job_id, details=details, **facts)

    def _reactivate(self) -> None:
        """Let a batch that has ended be watched and decided anew."""
        queries("mending").reactivate(batch_id=self.batch["batch_id"])

    def _lock(self) -> None:
        queries("mending").lock_open_batch(batch_id=self.batch["batch_id"])

    def _changes(self) -> list[str]:
        list(queries("mending").lock_jobs(job_ids=[job.job_id for job in self.jobs]))
        return changes_since(self.batch, self.jobs)

    def blocks(self) -> Iterator[Block]:
        """Show what would be done, what not, and what follows; once applied, what became of it."""
        if self.is_applied:
            yield from self._what_became()
            return
        severity = Severity.INFO if self.jobs else Severity.WARNING
        yield Headline(severity, f"Plan: {self._title(self.batch)}")
        rows = [Row([job.known_as, badge(job.status), job.cause or "—"]) for job in self.jobs]
        yield Table(["Job", "Status", "Reason"], rows, noun="job")
        refused = [Remark(job, why, Severity.WARNING) for job, why in self.refused.items()]
        yield Remarks(refused, title="Not done", noun="job")
        if self.jobs:
            yield from self._what_follows()

    def _what_became(self) -> Iterator[Block]:
        found, title = self.outcome(), self._title(read_batch(self.batch["batch_id"]))
        failed = f": {counted(found['failed'], 'job')} failed" if found["failed"] else ""
        yield Headline(Severity.WARNING if failed else Severity.OK, f"Applied: {title}{failed}")
        yield Table(["Problem"], [Row([error]) for error in found["errors"]], noun="problem")
        if (left := len(self.jobs) - found["done"] - found["failed"]) > 0:
            text = f"It was cut off before {counted(left, 'job')}; applying it again goes on."
            yield Note(text, Severity.WARNING)

    def _title(self, batch: Batch) -> str:
        return (
            f"{self.verb} {counted(len(self.jobs), 'job')} of batch {batch['batch_id']} "
            f"({batch['batch_type']}, {batch['status']}) of cycle {batch['cycle_name']}, "
            f"{step_title(batch)}"
        )


@contextmanager
def _overtaken_by_another_tool(batch: Batch) -> Iterator[None]:
    try:
        yield
    except DatabaseError as exc:
        if exc.sqlstate != _UNIQUE_VIOLATION:
            raise
        raise PlanOvertakenError(
            f"Nothing was done: a job of batch {batch['batch_id']} has been replaced already. "
            "Make the plan again."
        ) from exc
