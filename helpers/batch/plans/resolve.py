"""Say what became of a submission whose outcome stayed unknown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from helpers.batch.plans.plan import BatchPlan
from helpers.batch.plans.seeing import SeenJob, chosen_jobs, open_batch
from helpers.batch.submitting import submitting_alone
from helpers.constants import ActionKind, BatchType, JobStatus, unknown_batch_type
from helpers.database import queries
from helpers.errors import BatchError, PlanOvertakenError
from helpers.irp_integration.endpoints import invalid_id, normal_id
from helpers.job import read_job
from helpers.job.ending import record_failure
from helpers.records import Batch


class ResolvePlan(BatchPlan):
    """Say what became of a submission whose outcome is unknown."""

    kind = ActionKind.RESOLVE
    verb = "resolve"

    def __init__(self, batch: Batch, jobs: Sequence[SeenJob], *, moodys_id: str | None) -> None:
        super().__init__(batch, jobs)
        self._moodys_id = moodys_id

    def _why_not(self, job: SeenJob) -> str:
        is_unknown = job.status == JobStatus.INITIATED and job.has_key and not job.skipped
        return (
            "" if is_unknown else f"it is {job.status}, and its submission has no unknown outcome."
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with submitting_alone(self.batch["batch_id"]):
            yield

    def _change(self, why: str) -> None:
        [job] = self.jobs
        if self._moodys_id is None:
            reason = f"Not accepted by Moody's, as a person found: {why}"
            record_failure(job.job_id, JobStatus.ERROR, reason)
        else:
            self._accept(job, self._moodys_id)
        outcome = f"accepted as {self._moodys_id}" if self._moodys_id else "not accepted"
        self._record_job(why, job, outcome=outcome)

    def _accept(self, job: SeenJob, moodys_id: str) -> None:
        is_polled = BatchType.known(self.batch["batch_type"]) in BatchType.polled()
        other = queries("mending").job_with_moodys_id(
            batch_type=self.batch["batch_type"], moodys_id=moodys_id
        )
        if is_polled and other is not None:
            raise PlanOvertakenError(f"Nothing was done: job {other} has the id {moodys_id}.")
        queries("mending").resolve_accepted(
            job_id=job.job_id,
            moodys_id=moodys_id,
            status=JobStatus.SUBMITTED if is_polled else JobStatus.FINISHED,
        )

    def _consequences(self) -> Iterator[str]:
        [job] = self.jobs
        if self._moodys_id is not None:
            yield f"{job.known_as} is watched as Moody's {self._moodys_id} from the next pass on."
            return
        yield f"{job.known_as} becomes ERROR, and its request key is dropped."
        yield "If Moody's did accept it all the same, resubmitting runs it a second time."
        yield f"plan_resubmit({self.batch['batch_id']}) sends it again."


def plan_resolve(
    job_id: int, *, moodys_id: str | int | None = None, not_accepted: bool = False
) -> ResolvePlan:
    """Plan to say what became of a submission whose outcome stayed unknown.

    Look for the job on Moody's own page first. Races: a run that submits the batch at this moment
    is waited out (``BatchError`` says who it is), because its answer may decide the matter.

    Args:
        job_id: a job that is INITIATED and was sent.
        moodys_id: the id under which Moody's runs it.
        not_accepted: True if Moody's does not have it: it becomes ERROR, and may be resubmitted.

    Raises:
        JobError: there is no such job.
        BatchError: not exactly one of the two was given, the id is not valid, or nobody knows the
            batch's type.
    """
    batch_id = read_job(job_id)["batch_id"]
    batch = open_batch(batch_id)
    if (moodys_id is None) == (not not_accepted):
        raise BatchError("Give either moodys_id=… or not_accepted=True.", batch_id=batch_id)
    batch_type = BatchType.known(batch["batch_type"])
    if moodys_id is not None and batch_type is None:
        raise BatchError(unknown_batch_type(batch["batch_type"]), batch_id=batch_id)
    if moodys_id is not None and batch_type in BatchType.polled() and normal_id(moodys_id) is None:
        raise BatchError(invalid_id(moodys_id), batch_id=batch_id)
    return ResolvePlan(
        batch,
        chosen_jobs(batch_id, [job_id], by_default=()),
        moodys_id=None if moodys_id is None else normal_id(moodys_id) or str(moodys_id),
    )
