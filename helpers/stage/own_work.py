"""Do the work of a batch's jobs in the notebook itself, and put on record how each went."""

from collections.abc import Callable, Mapping
from typing import Any

from helpers.batch import batch_to_submit, get_batch_jobs, submission_of
from helpers.constants import JobStatus
from helpers.display import progress
from helpers.errors import JobError
from helpers.job import complete_job, fail_job, get_job_config
from helpers.job.ending import require_own_work
from helpers.records import BatchSubmission
from helpers.redaction import shown
from helpers.text import storable_json

Work = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Does the work of one job from its configuration; what it returns goes on record."""


def do_batch(batch_id: int, work: Work, *, about: str) -> BatchSubmission:
    """Do the work of each job of a batch that is due; a job whose work raises has FAILED.

    Raises:
        BatchError: another run is doing this work at this moment.
    """
    # The work of one job may keep this thread for hours.
    with batch_to_submit(batch_id, ends_when_idle=False):
        jobs = get_batch_jobs(batch_id)
        due = [j["id"] for j in jobs if not j["skipped"] and j["status"] == JobStatus.INITIATED]
        problems = []
        with progress(len(due), about, "jobs") as bar:
            for job_id in due:
                problem = _do_job(job_id, work)
                problems += [] if problem is None else [problem]
                bar.update()
    return submission_of(batch_id, jobs=len(jobs), due=len(due), problems=problems)


def _do_job(job_id: int, work: Work) -> str | None:
    """Do the work of one job and put its end on record; return what went wrong, or None."""
    try:
        require_own_work(job_id)
    except JobError as exc:
        return str(exc)
    try:
        configuration = get_job_config(job_id)["job_configuration_data"] or {}
    except JobError as exc:  # made without a configuration
        fail_job(job_id, str(exc))
        return str(exc)
    details, problem = _result(work, configuration)
    try:
        if problem is None:
            complete_job(job_id, details)
        else:
            fail_job(job_id, problem)
    except JobError as exc:  # a person ended it meanwhile, or it runs at Moody's
        return str(exc)
    return problem and shown(f"Job {job_id}: {problem}")


def _result(
    work: Work, configuration: dict[str, Any]
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return what the work returned, or what went wrong with it."""
    try:
        details = work(configuration)
        if details is not None:
            storable_json(dict(details))
    except Exception as exc:  # noqa: BLE001 - the work is the notebook's, and its error the job's
        return None, f"{type(exc).__name__}: {exc}"
    return details, None
