"""Submit the prepared jobs of a batch, several at a time; a repeat submits nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from helpers.batch.reading import get_batch_jobs, read_batch
from helpers.constants import BatchStatus, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace, in_transaction, queries, transaction
from helpers.errors import BatchError, DatabaseUnavailableError, JobError
from helpers.identity import process_name
from helpers.irp_integration import IRPClient
from helpers.job import read_job, submit_job
from helpers.polling import family_of
from helpers.records import Batch, BatchSubmission
from helpers.settings import redact

_SUBMIT_WORKERS = 8


def _require_open(batch: Batch) -> None:
    """Raise where a batch has ended, or nobody would watch it."""
    problem = None
    if batch["status"] not in {BatchStatus.INITIATED, BatchStatus.ACTIVE}:
        problem = f"is {batch['status']}: only a prepared batch is submitted."
    elif batch["cycle_status"] != CycleStatus.ACTIVE:
        problem = f"belongs to cycle {batch['cycle_name']}, which is {batch['cycle_status']}."
    if problem is not None:
        raise BatchError(f"Batch {batch['batch_id']} {problem}", batch_id=batch["batch_id"])


def submit_batch(batch_id: int, irp_client: IRPClient) -> BatchSubmission:
    """Make a prepared batch ACTIVE and submit its jobs, several at a time.

    The batch is watched from the start, so that nothing is lost when this is cut off; calling it
    again submits what is left and nothing twice. A job that Moody's refuses becomes ERROR with the
    reason, one of which it is not known whether Moody's has taken it stays due, and the others go
    on.

    Returns:
        Counts, and one line per job that failed; see ``BatchSubmission``.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, or it is being
            submitted by another run.
    """
    with batch_to_submit(batch_id) as batch:
        return _submit_jobs(batch, irp_client)


@contextmanager
def batch_to_submit(batch_id: int) -> Iterator[Batch]:
    """Give a prepared batch, now ACTIVE, to the one run that may submit it or do its work.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, or another run is
            at it.
    """
    batch = read_batch(batch_id)
    _require_open(batch)
    _require_no_transaction(batch_id)
    with AdvisoryLocks(owner=process_name()) as locks:
        if not locks.try_acquire(LockSpace.SUBMIT_BATCH, [batch_id]):
            holder = locks.holders(LockSpace.SUBMIT_BATCH, [batch_id]).get(batch_id, "another run")
            raise BatchError(f"Batch {batch_id} is being submitted by {holder}.", batch_id=batch_id)
        with transaction() as connection:
            queries("batch").activate(connection, batch_id=batch_id)
        yield batch


def _require_no_transaction(batch_id: int) -> None:
    """Raise inside a transaction: what must be on record before a request would not be."""
    if in_transaction():
        raise BatchError(
            f"Batch {batch_id} is not submitted inside a transaction. End it first.",
            batch_id=batch_id,
        )


def _submit_jobs(batch: Batch, irp_client: IRPClient) -> BatchSubmission:
    jobs = get_batch_jobs(batch["batch_id"])
    # A synchronous job without a prepared request is work that the notebook does itself.
    every_job = family_of(batch["batch_type"]) is not None
    due = [
        job["id"]
        for job in jobs
        if not job["skipped"]
        and job["status"] == JobStatus.INITIATED
        and (every_job or job["submission_request"])
    ]
    with ThreadPoolExecutor(_SUBMIT_WORKERS, thread_name_prefix="submit") as pool:
        problems = [
            problem
            for problem in pool.map(
                lambda job_id: _submit_one(job_id, batch["batch_type"], irp_client), due
            )
            if problem is not None
        ]
    return BatchSubmission(
        batch_id=batch["batch_id"],
        status=read_batch(batch["batch_id"])["status"],
        submitted=len(due) - len(problems),
        failed=len(problems),
        untouched=len(jobs) - len(due),
        errors=problems,
    )


def _submit_one(job_id: int, batch_type: str, irp_client: IRPClient) -> str | None:
    """Submit one job; return what went wrong, or None."""
    try:
        status = _submit_over_a_lost_connection(job_id, batch_type, irp_client)
    except JobError as exc:
        return redact(str(exc))
    if status != JobStatus.ERROR:
        return None
    return f"Job {job_id}: {read_job(job_id)['last_error']}"


def _submit_over_a_lost_connection(job_id: int, batch_type: str, irp_client: IRPClient) -> str:
    """Submit one job, and once more where the database was lost: its key makes that safe."""
    try:
        return submit_job(job_id, batch_type, irp_client)
    except DatabaseUnavailableError:
        return submit_job(job_id, batch_type, irp_client)
