"""Send a job's prepared request to Moody's, once."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.errors import JobError, MoodysError, OutcomeUnknownError
from helpers.irp_integration.prepared import METHODS, PreparedRequest
from helpers.irp_integration.submissions import Outcome, Submission
from helpers.job.ending import record_failure
from helpers.job.reading import known_type, read_job, require_no_transaction
from helpers.recording import MAX_REASON
from helpers.records import JobDetails
from helpers.redaction import shown

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

_UNKNOWN = (
    "It is not known whether the job was accepted. Submit it again: with the same request id, "
    "Moody's runs it once."
)


def submit_job(job_id: int, batch_type: str, irp_client: "IRPClient") -> str:
    """Send a job's prepared request to Moody's, once, and return the job's status.

    The request stands in ``submission_request`` as ``{"method", "path", "json"}``. It carries an
    idempotency key that is stored before the first try and reused on every repeat, so that a
    repeat after a crash finds the job that is already there. A job that was submitted is left
    alone.

    Returns:
        SUBMITTED, FINISHED for a synchronous batch type, ERROR if Moody's rejected it (the reason
        is in ``last_error``), or the status of a job that was submitted before.

    Raises:
        JobError: the job is unknown, skipped or has no prepared request, or its batch is of another
            type or of one that nobody knows.
        OutcomeUnknownError: Moody's did not say whether it accepted the job, which stays due:
            submit it again.
    """
    require_no_transaction(job_id)
    job = read_job(job_id)
    if job["status"] != JobStatus.INITIATED or job["moodys_workflow_id"] is not None:
        return job["status"]
    from helpers.irp_integration.client import send_prepared  # noqa: PLC0415 - brings requests

    is_polled = known_type(job_id, job["batch_type"]).family is not None
    request = _prepared(job, batch_type)
    request_id = _claim_request_id(job_id)
    if request_id is None:
        return read_job(job_id)["status"]
    try:
        judged = send_prepared(irp_client, request, request_id, is_polled=is_polled)
    except MoodysError as exc:
        judged = Submission(Outcome.UNKNOWN, None, str(exc), None)
    return _record_submission(job_id, judged, is_polled=is_polled)


def _prepared(job: JobDetails, batch_type: str) -> PreparedRequest:
    """Return a job's request, if it may be sent at all."""
    if job["skipped"]:
        problem = f"Job {job['id']} is skipped and is not submitted."
    elif batch_type != job["batch_type"]:
        problem = f"Job {job['id']} is of type {job['batch_type']!r}, not {batch_type!r}."
    else:
        problem = why_not_sent(job["id"], job["submission_request"])
    request = PreparedRequest.read(job["submission_request"])
    if problem or request is None:
        raise JobError(problem, job_id=job["id"])
    return request


def why_not_sent(job_id: int, request: object) -> str:
    """Return why a job's request cannot be sent; empty if it can."""
    if not isinstance(request, Mapping):
        return f"Job {job_id} has no prepared request in submission_request."
    if PreparedRequest.read(request) is None:
        return (
            f"The prepared request of job {job_id} cannot be sent: it needs a method "
            f"({', '.join(sorted(METHODS))}) and a path that starts with a slash."
        )
    return ""


def _claim_request_id(job_id: int) -> str | None:
    """Store a key, or return the one that is there; None if the job has moved on meanwhile."""
    key: str | None = queries("job").claim_request_id(job_id=job_id, request_id=str(uuid.uuid4()))
    return key


def _record_submission(job_id: int, judged: Submission, *, is_polled: bool) -> str:
    """Put on record what became of a request; return the job's status.

    A job whose outcome is unknown stays due and keeps its key, so that whoever submits its batch
    again finds the first one, or starts it, but never twice. As ERROR it would be replaced by a new
    job with a new key, and Moody's would run both.
    """
    problem = judged.problem
    with transaction():
        match judged.outcome:
            case Outcome.ACCEPTED:
                queries("job").record_submission(
                    job_id=job_id,
                    status=JobStatus.SUBMITTED if is_polled else JobStatus.FINISHED,
                    workflow_id=judged.workflow_id,
                    response=judged.response,
                )
            case Outcome.REJECTED:
                record_failure(job_id, JobStatus.ERROR, problem, response=judged.response)
            case Outcome.UNKNOWN:
                problem += " " + _UNKNOWN
                is_due = queries("job").record_unknown_outcome(
                    job_id=job_id, reason=shown(problem, MAX_REASON), response=judged.response
                )
            case _:
                assert_never(judged.outcome)
    if judged.outcome is Outcome.UNKNOWN and is_due:  # else another run has submitted it meanwhile
        raise OutcomeUnknownError(f"Job {job_id}: {problem}", job_id=job_id)
    return read_job(job_id)["status"]
