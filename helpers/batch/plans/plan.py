"""What a person is about to do with a batch: it shows itself, and is applied exactly or refused.

Making a plan reads and writes nothing. It carries what it saw: the batch's activation and status,
and each job that it would touch. Applying it locks the batch row as reconciling does, compares, and
does all of it or, if anything has changed, none of it (``PlanOvertakenError``). What was done is in
``irp_action`` under the plan's id, in the same transaction. So applying a plan a second time, after
a crash or by a second click, does nothing twice: it goes on where the first was cut off, and
returns the same outcome.

Two people who apply plans for the same job meet at the lock: the second one is overtaken. Another
tool's SQL that replaces the same job meets the unique index on live replacements.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypedDict
from uuid import UUID, uuid4

from helpers import actions
from helpers.actions import Action
from helpers.batch.plans.seeing import SeenJob, changes_since
from helpers.constants import ActionKind
from helpers.database import in_transaction, queries, transaction
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
    badge,
)
from helpers.errors import BatchError, DatabaseError, PlanOvertakenError
from helpers.records import Batch
from helpers.text import counted

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

_CONNECTIONS = 8  # as many as are submitted side by side
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's appendix A

Json: TypeAlias = dict[str, Any]


class PlanOutcome(TypedDict):
    """What became of a plan; the same for each time it is applied."""

    plan_id: UUID
    kind: str  # an ``ActionKind``
    batch_id: int
    done: int  # jobs, or configurations, that were acted on; by Moody's too, if it was asked
    failed: int  # jobs that Moody's rejected, or of which it is not known
    new_job_ids: list[int]  # of the jobs that replace others, in the order of those
    errors: list[str]  # one line per job that failed


@dataclass(frozen=True, repr=False)
class PlanView(Report):
    """What a plan shows."""

    verb: str
    batch: Batch
    jobs: Sequence[SeenJob]
    refused: Mapping[str, str]
    follows: Sequence[str]

    def blocks(self) -> Iterator[Block]:
        """Show what would be done, what not, and what follows."""
        batch, jobs = self.batch, counted(len(self.jobs), "job")
        location = f"step {batch['stage_num']}.{batch['step_num']} {batch['step_name']}"
        yield Headline(
            Severity.INFO if self.jobs else Severity.WARNING,
            f"Plan: {self.verb} {jobs} of batch {batch['batch_id']} ({batch['batch_type']}, "
            f"{batch['status']}) of cycle {batch['cycle_name']}, {location}",
        )
        rows = [Row([job.known_as, badge(job.status), job.cause or "—"]) for job in self.jobs]
        yield Table(["Job", "Status", "Reason"], rows, noun="job")
        refused = [Remark(job, why, Severity.WARNING) for job, why in self.refused.items()]
        yield Remarks(refused, title="Not done", noun="job")
        if self.jobs:
            follows = [Remark(str(i), line) for i, line in enumerate(self.follows, 1)]
            yield Remarks(follows, title="What follows")
            yield Note('Nothing is done yet. Do it with: plan.apply(reason="…")')


class Plan(ABC):
    """What would be done to a batch, and to which of its jobs."""

    kind: ClassVar[ActionKind]
    verb: ClassVar[str]  # as in "resubmit 3 jobs"

    def __init__(self, batch: Batch, jobs: Iterable[SeenJob], refused: dict[str, str]) -> None:
        """Hold what was seen; ``refused`` are jobs that the plan leaves alone, and why."""
        self.plan_id = uuid4()
        self.batch = batch
        self.jobs = tuple(jobs)
        self.refused = refused

    def apply(self, irp_client: "IRPClient | None" = None, *, reason: str) -> PlanOutcome:
        """Do what the plan shows, or refuse.

        Args:
            irp_client: sends the requests; None opens one, if there are any.
            reason: why, for the history.

        Raises:
            PlanOvertakenError: what the plan saw has changed; nothing was done.
            BatchError: there is nothing to do.
        """
        why = actions.checked_reason(reason)
        self._require_ready()
        if irp_client is None and self.requests:
            from helpers.irp_integration import IRPClient  # noqa: PLC0415 - brings requests

            with IRPClient(connections=_CONNECTIONS) as own_client:
                return self._applied(own_client, why)
        return self._applied(irp_client, why)

    def _applied(self, irp_client: "IRPClient | None", why: str) -> PlanOutcome:
        with self._alone(), _overtaken_by_another_tool(self.batch), transaction():
            queries("mending").lock_open_batch(batch_id=self.batch["batch_id"])
            if not actions.actions_of(self.plan_id):
                self._require_unchanged()
                for action in self._change(why):
                    actions.record(self.plan_id, action, reason=why)
        self._follow_up(irp_client)
        return self.outcome()

    def outcome(self) -> PlanOutcome:
        """Return what became of the plan so far; all zero before it was applied."""
        rows = actions.actions_of(self.plan_id)
        done = [row for row in rows if row["status"] == "DONE"]
        failed = [row for row in rows if row["status"] in {"REJECTED", "UNKNOWN"}]
        return PlanOutcome(
            plan_id=self.plan_id,
            kind=self.kind.value,
            batch_id=self.batch["batch_id"],
            done=len(done),
            failed=len(failed),
            new_job_ids=[row["new_job_id"] for row in rows if row["new_job_id"] is not None],
            errors=[f"Job {row['job_id']}: {row['outcome']}" for row in failed],
        )

    @property
    def requests(self) -> int:
        """How many requests are sent to Moody's."""
        return 0

    @abstractmethod
    def _change(self, why: str) -> Sequence[Action]:
        """Write what the plan changes, in the transaction under way; return what to record."""

    @abstractmethod
    def _consequences(self) -> list[str]:
        """Return what follows, a line each."""

    def _follow_up(self, irp_client: "IRPClient | None") -> None:  # noqa: B027 - most do nothing
        """Do what comes after the transaction; a repeat goes on with it."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out meanwhile, beyond the lock of the batch row."""
        yield

    def _action(
        self, job: SeenJob, *, details: dict[str, Any] | None = None, **more: Any
    ) -> Action:
        """Return what to record of one job of this plan."""
        return Action(
            kind=self.kind,
            cycle_id=self.batch["cycle_id"],
            step_id=self.batch["step_id"],
            batch_id=self.batch["batch_id"],
            job_id=job.job_id,
            details={"was": job.status, **(details or {})},
            **more,
        )

    def _reactivate(self) -> None:
        """Let a batch that has ended be watched and decided anew."""
        queries("mending").reactivate(batch_id=self.batch["batch_id"])

    def _require_ready(self) -> None:
        if not self.jobs:
            raise BatchError(f"There is nothing to do. {self}", batch_id=self.batch["batch_id"])
        if in_transaction():
            raise BatchError(
                "A plan is not applied inside a transaction. End it first.",
                batch_id=self.batch["batch_id"],
            )

    def _require_unchanged(self) -> None:
        list(queries("mending").lock_jobs(job_ids=[j.job_id for j in self.jobs]))
        changes = changes_since(self.batch, self.jobs)
        if changes:
            raise PlanOvertakenError(
                f"Nothing was done, because this has changed since the plan was made: "
                f"{'; '.join(changes)}. Make the plan again."
            )

    def view(self) -> PlanView:
        """Return what is shown of it."""
        follows = self._consequences() if self.jobs else []
        return PlanView(self.verb, self.batch, self.jobs, self.refused, follows)

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def __repr__(self) -> str:
        return str(self.view())


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
