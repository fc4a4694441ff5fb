"""End jobs that are INITIATED: those that were not accepted, and a notebook's own work."""

from collections.abc import Mapping
from typing import Any

from helpers.constants import BatchType, JobStatus
from helpers.database import queries
from helpers.errors import JobError
from helpers.job.reading import known_type, read_job
from helpers.recording import MAX_REASON
from helpers.records import JobDetails
from helpers.redaction import redact_json, shown
from helpers.text import storable_json


def record_failure(
    job_id: int, status: JobStatus, reason: str, *, response: str | None = None
) -> bool:
    """End a job that is INITIATED, with the reason that people read; False if it is not.

    ``response`` is Moody's answer as JSON, without secrets.
    """
    changed: int = queries("job").record_failure(
        job_id=job_id, status=status, reason=shown(reason, MAX_REASON), response=response
    )
    return changed > 0


def require_own_work(job_id: int) -> None:
    """Raise unless the work of a job is the notebook's own.

    Raises:
        JobError: the job is unknown or runs at Moody's; or it was sent there, and its outcome is
            unknown; or it waits to be sent though nobody knows its batch type.
    """
    job = read_job(job_id)
    batch_type = BatchType.known(job["batch_type"])
    if batch_type is None and (job["submission_request"] or job["moodys_workflow_id"]):
        known_type(job_id, job["batch_type"])  # a team's own type is for work of the notebook's own
    if batch_type is not None and batch_type.family is not None:
        raise JobError(
            f"Job {job_id} runs at Moody's ({batch_type}): it ends when Moody's says so.",
            job_id=job_id,
        )
    _require_unsent(job)


def _require_unsent(job: JobDetails) -> None:
    """Raise for a job that Moody's may have: without its key, it would be run twice."""
    if job["status"] == JobStatus.INITIATED and job["submission_request_id"] is not None:
        raise JobError(
            f"Job {job['id']} was sent, and nobody knows whether Moody's accepted it. Submit it "
            f"again, or say what became of it: plan_resolve({job['id']}, …).",
            job_id=job["id"],
        )


def complete_job(job_id: int, details: Mapping[str, Any] | None = None) -> None:
    """Finish a job whose work the notebook has done itself; ``details`` go on record.

    Raises:
        JobError: its work is not the notebook's own (``require_own_work``), or it has ended before.
    """
    require_own_work(job_id)
    changed = queries("job").record_submission(
        job_id=job_id,
        status=JobStatus.FINISHED,
        workflow_id=None,
        response=None if details is None else redact_json(storable_json(dict(details))),
    )
    _require_change(job_id, changed)


def fail_job(job_id: int, reason: str) -> None:
    """End a job that was not submitted and will not be, with the reason that people will read.

    Raises:
        JobError: the job is unknown, has ended, or was sent to Moody's.
    """
    _require_unsent(read_job(job_id))
    _require_change(job_id, record_failure(job_id, JobStatus.FAILED, reason))


def _require_change(job_id: int, has_changed: bool) -> None:  # noqa: FBT001
    if not has_changed:
        status = read_job(job_id)["status"]
        raise JobError(
            f"Job {job_id} is {status}: only a job that is INITIATED ends here.", job_id=job_id
        )
