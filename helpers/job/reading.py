"""Read a job, ask Moody's where it stands, and tell what may be done with it at all."""

from typing import TYPE_CHECKING, cast

from helpers.constants import BatchType, JobStatus, unknown_batch_type
from helpers.database import in_transaction, queries
from helpers.errors import JobError, MoodysError
from helpers.irp_integration.answers import status_of
from helpers.irp_integration.endpoints import required_id
from helpers.irp_integration.questions import Answer, Question
from helpers.recording import record, server_clock
from helpers.records import JobConfiguration, JobDetails, is_id

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient


def read_job(job_id: int) -> JobDetails:
    """Return one job.

    Raises:
        JobError: there is no such job, or the id is not valid.
    """
    row = queries("job").read_job(job_id=checked_id(job_id))
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


def track_job_status(job_id: int, batch_type: str, irp_client: "IRPClient") -> str:
    """Ask Moody's where a job stands, record the answer, and return the job's status.

    The poll is recorded whether it succeeds or not. A job that has already ended is not asked
    about. A status that nobody knows is recorded word for word, and leaves the job as it is.

    The batch type decides which call of the client reads the job. Returns the job's status after
    the answer, one of ``JobStatus``.

    Raises:
        JobError: the job is unknown or was never submitted, its batch type is not polled, or
            Moody's gave no status; the job is left as it was.
    """
    require_no_transaction(job_id)
    job = read_job(job_id)
    family = known_type(job_id, batch_type).family
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
        raise JobError(f"Job {job_id}: {recorded.answer.error}", job_id=job_id)
    return recorded.new_status or read_job(job_id)["status"]


def _ask(question: Question, irp_client: "IRPClient") -> Answer:
    from helpers.irp_integration.client import job_reader  # noqa: PLC0415 - brings requests

    asked_ts = server_clock()()
    try:
        moodys_id = required_id(question.workflow_id)
        body = job_reader(irp_client, question.family)(int(moodys_id))
        status = status_of(body, workflow_id=question.workflow_id)
    except MoodysError as exc:
        return Answer(question, asked_ts, http_status=exc.http_status, error=str(exc))
    return Answer(question, asked_ts, status, body, 200)


def known_type(job_id: int, batch_type: object) -> BatchType:
    """Return a batch type; raises ``JobError`` if nobody knows it."""
    known = BatchType.known(batch_type)
    if known is None:
        raise JobError(
            f"Job {job_id} is neither submitted nor polled: {unknown_batch_type(batch_type)}",
            job_id=job_id,
        )
    return known


def require_no_transaction(job_id: int) -> None:
    """Raise inside a transaction: what must be on record before a request would not be."""
    if in_transaction():
        raise JobError(
            f"Job {job_id}: Moody's is not asked inside a transaction. End it first.", job_id=job_id
        )


def checked_id(job_id: object) -> int:
    """Return the id, if it is one that a job may have; raises ``JobError`` otherwise."""
    if not is_id(job_id):
        raise JobError(f"{job_id!r} is not a valid job id (a positive integer).", job_id=job_id)
    return job_id
