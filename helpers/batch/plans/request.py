"""Ask Moody's to cancel jobs, or to run them sooner or later.

Our job moves only when Moody's says so, at its next poll: what is asked here is on record before it
is sent, under the key with which every repeat is sent, and its outcome afterwards.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from helpers import actions
from helpers.actions import ActionRow
from helpers.batch.plans.plan import BatchPlan
from helpers.batch.plans.seeing import SeenJob, chosen_jobs, open_batch
from helpers.constants import ActionKind, ActionStatus, BatchType, Family, JobStatus
from helpers.display import progress
from helpers.errors import BatchError, MoodysError
from helpers.irp_integration.endpoints import invalid_id, normal_id
from helpers.irp_integration.submissions import Outcome, judge
from helpers.records import Batch
from helpers.text import counted

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

PRIORITIES = ("Very Low", "Low", "Medium", "High", "Very High")
"""As Moody's names them; Medium is what a job gets."""

_STATUS_OF = {
    Outcome.ACCEPTED: ActionStatus.DONE,
    Outcome.REJECTED: ActionStatus.REJECTED,
    Outcome.UNKNOWN: ActionStatus.UNKNOWN,
}


class RequestPlan(BatchPlan):
    """Send one request about each of several jobs that run at Moody's."""

    def __init__(
        self,
        batch: Batch,
        jobs: Sequence[SeenJob],
        *,
        kind: ActionKind,
        verb: str,
        body: dict[str, str],
    ) -> None:
        """Plan to send the body: what is to be different. Moody's has not confirmed its shape."""
        super().__init__(batch, jobs)
        self.kind, self.verb, self._body = kind, verb, body

    def _why_not(self, job: SeenJob) -> str:
        if _family_of(self.batch) is None:
            return f"jobs of type {self.batch['batch_type']!r} do not run at Moody's."
        if job.status in JobStatus.terminal():
            return f"it is {job.status}: it has ended."
        if job.status == JobStatus.INITIATED:
            return "it has not been submitted; skip it to do without it."
        return "" if normal_id(job.moodys_id) else invalid_id(job.moodys_id)

    @property
    def requests(self) -> int:
        """One for each job."""
        return len(self.jobs)

    def _change(self, why: str) -> None:
        for job in self.jobs:
            self._record_job(
                why,
                job,
                status=ActionStatus.PLANNED,
                request_id=uuid4(),
                details={"asked": self._body},
            )

    def _follow_up(self, irp_client: "IRPClient | None") -> None:
        """Send what has no outcome, or an unknown one; a repeat carries the same key."""
        rows = actions.actions_of(self.plan_id)
        due = [row for row in rows if row["status"] in actions.REPEATABLE]
        ids = {job.job_id: normal_id(job.moodys_id) for job in self.jobs}
        family = _family_of(self.batch)
        if irp_client is None or family is None:
            return
        with progress(len(due), self.verb.capitalize(), "jobs") as bar:
            for row in due:
                self._send(irp_client, family, row, str(ids[row["job_id"] or 0]))
                bar.update()

    def _send(self, client: "IRPClient", family: Family, row: ActionRow, moodys_id: str) -> None:
        key = str(row["request_id"])
        try:
            raw = client.submit(
                "PATCH", family.job_path(moodys_id), body=self._body, request_id=key
            )
        except MoodysError as exc:
            actions.finish(row["id"], ActionStatus.UNKNOWN, str(exc))
            return
        reply = judge(raw, is_polled=False)
        outcome = reply.problem or "Moody's accepted the request."
        actions.finish(row["id"], _STATUS_OF[reply.outcome], outcome)

    def _consequences(self) -> Iterator[str]:
        yield f"{counted(self.requests, 'request')} to Moody's, which may reject some."
        yield "The jobs' status here changes when Moody's says so, at their next polls."


def plan_cancel(batch_id: int, job_ids: Collection[int] | None = None) -> RequestPlan:
    """Plan to ask Moody's to stop jobs.

    Moody's can stop every job that is QUEUED, and only some types that are PENDING or RUNNING; it
    rejects the others. Races: a job that ends before the request arrives is rejected, and keeps its
    end; one that moves between plan and apply overtakes the plan.

    Without ``job_ids`` it takes all that run at Moody's.

    Raises:
        BatchError: there is no such batch or job, or the batch's cycle is not ACTIVE.
    """
    batch, jobs = _running(batch_id, job_ids)
    body = {"status": JobStatus.CANCELLED.value}
    return RequestPlan(batch, jobs, kind=ActionKind.CANCEL, verb="cancel", body=body)


def plan_priority(
    batch_id: int, priority: str, job_ids: Collection[int] | None = None
) -> RequestPlan:
    """Plan to ask Moody's to run jobs sooner or later than others.

    Races: as for ``plan_cancel``; of two people whose requests arrive at once, the later one counts
    at Moody's, and both are on record.

    ``priority`` is one of ``PRIORITIES``. Without ``job_ids`` it takes all that run at Moody's.

    Raises:
        BatchError: there is no such batch, job or priority, or the batch's cycle is not ACTIVE.
    """
    if priority not in PRIORITIES:
        raise BatchError(
            f"{priority!r} is not a priority. Moody's knows: {', '.join(PRIORITIES)}.",
            batch_id=batch_id,
        )
    batch, jobs = _running(batch_id, job_ids)
    verb, body = "change the priority of", {"priority": priority}
    return RequestPlan(batch, jobs, kind=ActionKind.PRIORITY, verb=verb, body=body)


def _running(batch_id: int, job_ids: Collection[int] | None) -> tuple[Batch, list[SeenJob]]:
    """Return the batch, and its jobs that are named, or else that run at Moody's."""
    batch = open_batch(batch_id)
    waiting = set(JobStatus) - JobStatus.terminal() - {JobStatus.INITIATED}
    return batch, chosen_jobs(batch_id, job_ids, by_default=waiting)


def _family_of(batch: Batch) -> Family | None:
    known = BatchType.known(batch["batch_type"])
    return known.family if known else None
