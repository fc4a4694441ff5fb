"""One job: read it, poll it, submit it.

Stage notebooks and the monitor work on jobs through these functions; asking about many at once is
the business of ``helpers.irp_integration.polling``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, assert_never, cast

from helpers.constants import BatchType, JobStatus, unknown_batch_type
from helpers.database import in_transaction, queries, transaction
from helpers.errors import JobError, MoodysError, OutcomeUnknownError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.answers import status_of
from helpers.irp_integration.client import job_reader, send_prepared
from helpers.irp_integration.endpoints import required_id
from helpers.irp_integration.prepared import METHODS, PreparedRequest
from helpers.irp_integration.questions import Answer, Question
from helpers.irp_integration.submissions import Outcome, Submission
from helpers.recording import MAX_REASON, record, server_clock
from helpers.records import JobConfiguration, JobDetails, is_id
from helpers.redaction import redact, redact_json, shown
from helpers.text import storable_json

__all__ = [
    "JobError",
    "complete_job",
    "fail_job",
    "get_job_config",
    "read_job",
    "submit_job",
    "track_job_status",
]

_UNKNOWN = (
    "It is not known whether the job was accepted. Submit it again: with the same request id, "
    "Moody's runs it once."
)


def read_job(job_id: int) -> JobDetails:
    """Return one job.

    Raises:
        JobError: there is no such job, or the id is no id.
    """
    row = queries("job").read_job(job_id=_checked(job_id))
    if row is None:
        raise JobError(f"There is no job {job_id} in the metastore.", job_id=job_id)
    return cast("JobDetails", row)


def get_job_config(job_id: int) -> JobConfiguration:
    """Return the configuration that a job was made from; its data is in ``job_configuration_data``.

    Raises:
        JobError: there is no such job, or it has no configuration.
    """
    read_job(job_id)
    row = queries("job").job_configuration(job_id=job_id)
    if row is None:
        raise JobError(f"Job {job_id} was made without a configuration.", job_id=job_id)
    return cast("JobConfiguration", row)


def track_job_status(job_id: int, batch_type: str, irp_client: IRPClient) -> str:
    """Ask Moody's where a job stands, record the answer, and return the job's status.

    The poll is recorded whether it succeeds or not. A job that has already ended is not asked
    about. A status that nobody knows is recorded word for word, and leaves the job as it is.

    Args:
        job_id: the job's id in the metastore.
        batch_type: decides which call of the client reads the job.
        irp_client: offers the calls of ``job_reader``.

    Returns:
        The job's status after the answer, one of ``JobStatus``.

    Raises:
        JobError: the job is unknown or was never submitted, its batch type is not polled, or
            Moody's gave no status; the job is left as it was.
    """
    _require_no_transaction(job_id)
    job = read_job(job_id)
    family = _known(job_id, batch_type).family
    if family is None:
        polled = ", ".join(sorted(BatchType.polled()))
        raise JobError(
            f"Job {job_id}: jobs of type {batch_type!r} are not polled. Polled are: {polled}.",
            job_id=job_id,
        )
    if job["status"] in JobStatus.terminal():
        return job["status"]
    workflow_id = job["moodys_workflow_id"]
    if workflow_id is None:
        raise JobError(
            f"Job {job_id} was never submitted: it has no workflow id. Submit it first.",
            job_id=job_id,
        )
    question = Question(job_id, workflow_id, family, job["status"])
    [recorded] = record([_ask(question, irp_client)])
    if recorded.answer.error is not None:
        raise JobError(redact(f"Job {job_id}: {recorded.answer.error}"), job_id=job_id)
    return recorded.new_status or read_job(job_id)["status"]


def _ask(question: Question, irp_client: IRPClient) -> Answer:
    asked_ts = server_clock()()
    try:
        moodys_id = required_id(question.workflow_id)
        body = job_reader(irp_client, question.family)(int(moodys_id))
        status = status_of(body, workflow_id=question.workflow_id)
    except MoodysError as exc:
        return Answer(question, asked_ts, http_status=exc.http_status, error=str(exc))
    return Answer(question, asked_ts, status, body, 200)


def _known(job_id: int, batch_type: object) -> BatchType:
    known = BatchType.known(batch_type)
    if known is None:
        raise JobError(
            f"Job {job_id} is neither submitted nor polled: {unknown_batch_type(batch_type)}",
            job_id=job_id,
        )
    return known


def submit_job(job_id: int, batch_type: str, irp_client: IRPClient) -> str:
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
    _require_no_transaction(job_id)
    job = read_job(job_id)
    if job["status"] != JobStatus.INITIATED or job["moodys_workflow_id"] is not None:
        return job["status"]
    is_polled = _known(job_id, job["batch_type"]).family is not None
    request = _prepared(job, batch_type)
    request_id = _claim_request_id(job_id)
    if request_id is None:
        return read_job(job_id)["status"]
    try:
        judged = send_prepared(irp_client, request, request_id, is_polled=is_polled)
    except MoodysError as exc:
        judged = Submission(Outcome.UNKNOWN, None, str(exc), None)
    return _record_submission(job_id, judged, is_polled=is_polled)


def _require_no_transaction(job_id: int) -> None:
    """Raise inside a transaction: what must be on record before a request would not be."""
    if in_transaction():
        raise JobError(
            f"Job {job_id}: Moody's is not asked inside a transaction. End it first.",
            job_id=job_id,
        )


def _prepared(job: JobDetails, batch_type: str) -> PreparedRequest:
    """Return a job's request, if it may be sent at all."""
    request = PreparedRequest.read(job["submission_request"])
    if job["skipped"]:
        problem = f"Job {job['id']} is skipped and is not submitted."
    elif batch_type != job["batch_type"]:
        problem = f"Job {job['id']} is of type {job['batch_type']!r}, not {batch_type!r}."
    elif not isinstance(job["submission_request"], Mapping):
        problem = f"Job {job['id']} has no prepared request in submission_request."
    elif request is None:
        problem = (
            f"The prepared request of job {job['id']} cannot be sent: it needs a method "
            f"({', '.join(sorted(METHODS))}) and a path that starts with a slash."
        )
    else:
        return request
    raise JobError(problem, job_id=job["id"])


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
    problem = redact(judged.problem)
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
                queries("job").record_failure(
                    job_id=job_id,
                    status=JobStatus.ERROR,
                    reason=problem,
                    response=judged.response,
                )
            case Outcome.UNKNOWN:
                problem += " " + _UNKNOWN
                is_due = queries("job").record_doubt(
                    job_id=job_id, reason=problem, response=judged.response
                )
            case _:
                assert_never(judged.outcome)
    if judged.outcome is Outcome.UNKNOWN and is_due:  # else another run has submitted it meanwhile
        raise OutcomeUnknownError(f"Job {job_id}: {problem}", job_id=job_id)
    return read_job(job_id)["status"]


def complete_job(job_id: int, details: Mapping[str, Any] | None = None) -> None:
    """Finish a job whose work the notebook has done itself; ``details`` go on record.

    Raises:
        JobError: the job is unknown, runs at Moody's, waits to be sent there though nobody knows
            its batch type, or has ended before.
    """
    job = read_job(job_id)
    batch_type = BatchType.known(job["batch_type"])
    if batch_type is None and (job["submission_request"] or job["moodys_workflow_id"]):
        _known(job_id, job["batch_type"])  # a team's own type is for work of the notebook's own
    if batch_type is not None and batch_type.family is not None:
        raise JobError(
            f"Job {job_id} runs at Moody's ({batch_type}): it ends when Moody's says so.",
            job_id=job_id,
        )
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
        JobError: the job is unknown, or has ended or was submitted before.
    """
    changed = queries("job").record_failure(
        job_id=_checked(job_id),
        status=JobStatus.FAILED,
        reason=shown(reason, MAX_REASON),
        response=None,
    )
    _require_change(job_id, changed)


def _require_change(job_id: int, changed: int) -> None:
    if not changed:
        status = read_job(job_id)["status"]
        raise JobError(
            f"Job {job_id} is {status}: only a job that is INITIATED ends here.", job_id=job_id
        )


def _checked(job_id: object) -> int:
    if not is_id(job_id):
        raise JobError(f"{job_id!r} is not a valid job id (a positive integer).", job_id=job_id)
    return job_id
