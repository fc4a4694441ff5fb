"""Ask Moody's where one job stands."""

from typing import TYPE_CHECKING

from helpers.constants import BatchType, JobStatus
from helpers.errors import JobError, MoodysError
from helpers.irp_integration.answers import status_of
from helpers.irp_integration.endpoints import required_id
from helpers.irp_integration.questions import Answer, Question
from helpers.job.reading import known_type, read_job, require_no_transaction
from helpers.recording import record, server_clock

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient


def track_job_status(job_id: int, batch_type: str, irp_client: "IRPClient") -> str:
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
