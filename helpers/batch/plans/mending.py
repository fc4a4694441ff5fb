"""What is done about jobs that failed: replace them by new ones, or do without them.

A job that ended stays as it was, with its reason, and its replacement points to it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.batch.plans.plan import BatchPlan, PlanOutcome
from helpers.batch.plans.seeing import SeenJob, chosen_jobs, consequences, open_batch, seen_jobs
from helpers.batch.reading import read_batch
from helpers.batch.requests import is_built_from_names
from helpers.batch.submitting import submit_batch
from helpers.constants import ActionKind, BatchStatus, BatchType, JobStatus
from helpers.database import queries
from helpers.display import Block, Note, Severity
from helpers.errors import BatchError
from helpers.irp_integration.prepared import PreparedRequest
from helpers.records import Batch
from helpers.text import counted, listed, storable_json

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

FAILED = frozenset({JobStatus.FAILED, JobStatus.ERROR, JobStatus.CANCELLED})
"""What may be replaced; the others run, wait, or have a result."""

_NOT_SUBMITTED = frozenset({JobStatus.INITIATED, JobStatus.ERROR})

Row = Mapping[str, Any]


class ResubmitPlan(BatchPlan):
    """Replace jobs by new ones, and submit these."""

    kind = ActionKind.RESUBMIT
    verb = "resubmit"
    remark = ""  # which of the jobs people had cancelled

    def __init__(
        self,
        batch: Batch,
        jobs: Sequence[SeenJob],
        *,
        changes: Mapping[int, Row],
        new_requests: Mapping[int, Row],
    ) -> None:
        self._changed, self._new_requests = dict(changes), dict(new_requests)
        super().__init__(batch, jobs)

    def _why_not(self, job: SeenJob) -> str:
        if job.skipped:
            return "it is skipped, or was replaced already."
        if job.status == JobStatus.FINISHED:
            return "it is FINISHED, and what has a result is not run again."
        if job.status not in FAILED:
            return f"it is {job.status}: it may still succeed. Cancel it first, or wait."
        return self._why_not_send(job)

    def _why_not_send(self, job: SeenJob) -> str:
        """Return why there is no request to send; empty if there is one, or none is needed."""
        is_changed, new_request = job.job_id in self._changed, self._new_requests.get(job.job_id)
        request = job.request if new_request is None else new_request
        if is_changed and job.configuration_id is None:
            return "it was made without a configuration that could be changed."
        if self._is_built(job, request):
            return ""
        if request is not None and PreparedRequest.read(request) is None:
            return (
                "its request was built by another tool and cannot be sent: resubmit it with that."
            )
        if request is None and BatchType.known(self.batch["batch_type"]) in BatchType.polled():
            return "it has no prepared request: give one in requests={…}."
        if is_changed and job.request is not None and new_request is None:
            return (
                "its request would stay the same: give the changed request as well, in "
                "requests={…}."
            )
        return ""

    @property
    def requests(self) -> int:
        """One for each job; work that the notebook does itself sends none."""
        return sum(
            bool(self._new_requests.get(job.job_id) or job.request)
            or self._is_built(job, job.request)
            for job in self.jobs
        )

    def _is_built(self, job: SeenJob, request: object) -> bool:
        row = {**(job.configuration or {}), **self._changed.get(job.job_id, {})}
        return is_built_from_names(self.batch["batch_type"], request, row)

    def _change(self, why: str) -> None:
        for job in self.jobs:
            self._replace(job, why)
        self._reactivate()

    def _replace(self, job: SeenJob, why: str) -> None:
        change, request = self._changed.get(job.job_id), self._new_requests.get(job.job_id)
        configuration_id = change and queries("mending").add_configuration(
            parent_id=job.configuration_id,
            data=storable_json({**(job.configuration or {}), **change}),
            reason=why,
        )
        new_job_id = queries("mending").replace_job(
            job_id=job.job_id,
            configuration_id=configuration_id or None,
            request=None if request is None else storable_json(dict(request)),
            keep_request=not self._is_built(job, job.request),
        )
        details = {"changes": dict(change or {})}
        self._record_job(why, job, new_job_id=new_job_id, details=details)

    def outcome(self) -> PlanOutcome:
        """Return what became of the plan so far, and of the new jobs' submission."""
        found = super().outcome()
        new = set(found["new_job_ids"])
        errors = [
            f"Job {job.job_id}, in place of {job.name or 'another'}: {job.reason}"
            for job in seen_jobs(self.batch["batch_id"])
            if job.job_id in new and job.status in _NOT_SUBMITTED and job.reason
        ]
        return found | {"failed": len(errors), "errors": errors}

    def _follow_up(self, irp_client: "IRPClient | None") -> None:
        """Submit what was replaced and is not submitted yet."""
        new = set(super().outcome()["new_job_ids"])
        batch_id = self.batch["batch_id"]
        is_open = read_batch(batch_id)["status"] == BatchStatus.ACTIVE
        due = any(
            job.job_id in new and job.status == JobStatus.INITIATED for job in seen_jobs(batch_id)
        )
        if irp_client is not None and self.requests and is_open and due:
            submit_batch(batch_id, irp_client)

    def _what_follows(self) -> Iterator[Block]:
        if self.remark:
            yield Note(self.remark, Severity.WARNING)
        yield from super()._what_follows()

    def _consequences(self) -> Iterator[str]:
        if self.requests:
            yield f"{counted(self.requests, 'request')} to Moody's."
        if own_work := len(self.jobs) - self.requests:
            yield f"Run the step's notebook: it does the work of {counted(own_work, 'job')}."
        yield from consequences(self.batch)


class SkipPlan(BatchPlan):
    """Do without jobs and, if no other job of theirs counts, without what they were made for."""

    kind = ActionKind.SKIP
    verb = "skip"

    def __init__(self, batch: Batch, jobs: Sequence[SeenJob], *, with_configurations: bool) -> None:
        super().__init__(batch, jobs)
        self._with_configurations = with_configurations

    def _why_not(self, job: SeenJob) -> str:
        if job.skipped:
            return "it is skipped already."
        if job.status == JobStatus.INITIATED and job.has_key:
            return (
                "Moody's may have accepted it: submit the batch again, or use "
                f"plan_resolve({job.job_id}, …), and then skip it."
            )
        return ""

    def _change(self, why: str) -> None:
        queries("mending").skip_jobs(job_ids=[job.job_id for job in self.jobs])
        if self._with_configurations:
            configurations = [j.configuration_id for j in self.jobs if j.configuration_id]
            queries("mending").skip_configurations(
                configuration_ids=configurations, reason=why, override_id=None
            )
        self._reactivate()
        for job in self.jobs:
            self._record_job(why, job)

    def _consequences(self) -> Iterator[str]:
        ended = JobStatus.terminal()
        running = [job for job in self.jobs if job.moodys_id and job.status not in ended]
        if running:
            yield (
                f"{counted(len(running), 'job')} may run on at Moody's, and nobody watches: "
                f"plan_cancel({self.batch['batch_id']}, …) stops them."
            )
        yield from consequences(self.batch)


def plan_resubmit(
    batch_id: int,
    job_ids: Collection[int] | None = None,
    changes: Mapping[int, Row] | None = None,
    *,
    requests: Mapping[int, Row] | None = None,
) -> ResubmitPlan:
    """Plan to replace failed jobs by new ones with the same request, and to submit these.

    Races: a job that is replaced meanwhile, by a person or a tool, overtakes the plan. A pass that
    ends the batch meanwhile overtakes it too. A monitor that polls the batch meanwhile does not: a
    job that failed is no longer polled. A cancelled plan leaves nothing behind.

    Args:
        batch_id: the batch; it may be ACTIVE or have ended.
        job_ids: None for all that are FAILED, ERROR or CANCELLED and not skipped; the plan says
            which of these people had cancelled.
        changes: by job id, what is to be different in its configuration; the new configuration
            points to the old one, which is skipped. A job with a prepared request then needs the
            changed request as well, in ``requests``.
        requests: by job id, the request in place of the old one.

    Raises:
        BatchError: there is no such batch or job, or the batch's cycle is not ACTIVE.
    """
    batch = open_batch(batch_id)
    jobs = chosen_jobs(batch_id, job_ids, by_default=FAILED)
    changes, requests = changes or {}, requests or {}
    named = {job.job_id for job in jobs}
    strangers = [job_id for job_id in {*changes, *requests} if job_id not in named]
    if strangers:
        raise BatchError(f"No resubmitted job has the id {strangers[0]}.", batch_id=batch_id)
    plan = ResubmitPlan(batch, jobs, changes=changes, new_requests=requests)
    if job_ids is None:
        plan.remark = _cancelled_by_hand(plan)
    return plan


def _cancelled_by_hand(plan: ResubmitPlan) -> str:
    """Return how many jobs of a plan people had cancelled, who and why; empty for none."""
    job_ids = [job.job_id for job in plan.jobs if job.status == JobStatus.CANCELLED]
    rows = list(
        queries("actions").cancelled_by_hand(batch_id=plan.batch["batch_id"], job_ids=job_ids)
    )
    if not rows:
        return ""
    number = sum(row["jobs"] for row in rows)
    people = listed([f'{row["person"]} ("{row["reason"]}")' for row in rows], most=3)
    is_one, are_all = number == 1, number == len(plan.jobs)
    these = ("This job" if is_one else "These jobs") if are_all else f"{number} of these"
    others = "" if are_all else f": name the others to leave {'it' if is_one else 'them'} out"
    return f"{these} {'was' if is_one else 'were'} cancelled by {people}{others}."


def plan_skip(
    batch_id: int, job_ids: Collection[int] | None = None, *, with_configurations: bool = True
) -> SkipPlan:
    """Plan to do without jobs and what they were made for; a batch that has ended is decided anew.

    Races: a job whose submission begins meanwhile overtakes the plan, and so does any other change
    of the job or of the batch's status. A skipped job is neither submitted nor polled any more.

    Without ``job_ids`` it takes all that are FAILED, ERROR or CANCELLED and not skipped. Without
    ``with_configurations`` the configurations stay, and then need another job.

    Raises:
        BatchError: there is no such batch or job, or the batch's cycle is not ACTIVE.
    """
    batch = open_batch(batch_id)
    jobs = chosen_jobs(batch_id, job_ids, by_default=FAILED)
    return SkipPlan(batch, jobs, with_configurations=with_configurations)
