"""Submit the prepared jobs of a batch, several at a time; a repeat submits nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from helpers.batch.reading import get_batch_jobs, read_batch
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import (
    AdvisoryLocks,
    LockSpace,
    in_transaction,
    lock_holders,
    queries,
    transaction,
)
from helpers.display import Progress, progress
from helpers.errors import (
    BatchError,
    DatabaseUnavailableError,
    JobError,
    SubmissionInDoubtError,
)
from helpers.identity import process_name
from helpers.irp_integration import IRPClient
from helpers.job import read_job, submit_job
from helpers.records import Batch, BatchSubmission, Job
from helpers.redaction import redact
from helpers.text import counted

_SUBMIT_WORKERS = 8
_LOOK_SECONDS = 5.0  # between two looks at the lock


def _require_open(batch: Batch) -> None:
    """Raise where a batch has ended, or nobody would watch it."""
    problem = None
    if batch["status"] in BatchStatus.terminal():
        problem = f"is {batch['status']}: only a prepared batch is submitted."
    elif batch["cycle_status"] != CycleStatus.ACTIVE:
        problem = f"belongs to cycle {batch['cycle_name']}, which is {batch['cycle_status']}."
    if problem is not None:
        raise BatchError(f"Batch {batch['batch_id']} {problem}", batch_id=batch["batch_id"])


def submit_batch(
    batch_id: int, irp_client: IRPClient, *, retry_after: Sequence[float] = ()
) -> BatchSubmission:
    """Make a prepared batch ACTIVE and submit its jobs, several at a time.

    The batch is watched from the start, so that nothing is lost when this is cut off; calling it
    again submits what is left and nothing twice. A job that Moody's refuses becomes ERROR with the
    reason, one of which it is not known whether Moody's has taken it stays due, and the others go
    on.

    Args:
        batch_id: the batch.
        irp_client: sends the requests.
        retry_after: seconds to wait before each further try of the jobs in doubt.

    Returns:
        Counts, and one line per job that failed; see ``BatchSubmission``.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, or it is being
            submitted by another run.
    """
    with batch_to_submit(batch_id) as (batch, locks):
        jobs = get_batch_jobs(batch_id)
        due = _to_submit(batch, jobs)
        submitter = _Submitter(batch["batch_type"], irp_client, may_submit=locks.are_held)
        problems = _submit_patiently(due, submitter, retry_after)
        return submission_of(batch_id, jobs=len(jobs), due=len(due), problems=problems)


def left_to_submit(batch_id: int) -> list[int]:
    """Return the jobs of a batch that are due to be submitted at this moment, in order."""
    return _to_submit(read_batch(batch_id), get_batch_jobs(batch_id))


def submission_of(batch_id: int, *, jobs: int, due: int, problems: list[str]) -> BatchSubmission:
    """Return what became of a batch of so many jobs, of which so many were due."""
    return BatchSubmission(
        batch_id=batch_id,
        status=read_batch(batch_id)["status"],
        submitted=due - len(problems),
        failed=len(problems),
        untouched=jobs - due,
        errors=problems,
    )


@contextmanager
def batch_to_submit(
    batch_id: int, *, ends_when_idle: bool = True
) -> Iterator[tuple[Batch, AdvisoryLocks]]:
    """Give a prepared batch, now ACTIVE, to the one run that may submit it or do its work.

    Args:
        batch_id: the batch.
        ends_when_idle: as for ``AdvisoryLocks``, which it gives with the batch.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, or another run is
            at it.
    """
    batch = read_batch(batch_id)
    _require_open(batch)
    _require_no_transaction(batch_id)
    with submitting_alone(batch_id, ends_when_idle=ends_when_idle) as locks:
        with transaction() as connection:
            queries("batch").activate(connection, batch_id=batch_id)
        if read_batch(batch_id)["status"] != BatchStatus.ACTIVE:
            _require_open(read_batch(batch_id))
        yield batch, locks


@contextmanager
def submitting_alone(batch_id: int, *, ends_when_idle: bool = True) -> Iterator[AdvisoryLocks]:
    """Keep others from submitting a batch meanwhile.

    Raises:
        BatchError: another run is submitting it.
    """
    with AdvisoryLocks(owner=process_name(), ends_when_idle=ends_when_idle) as locks:
        if not locks.try_acquire(LockSpace.SUBMIT_BATCH, [batch_id]):
            holder = lock_holders(LockSpace.SUBMIT_BATCH, [batch_id]).get(batch_id, "another run")
            raise BatchError(f"Batch {batch_id} is being submitted by {holder}.", batch_id=batch_id)
        yield locks


def _require_no_transaction(batch_id: int) -> None:
    """Raise inside a transaction: what must be on record before a request would not be."""
    if in_transaction():
        raise BatchError(
            f"Batch {batch_id} is not submitted inside a transaction. End it first.",
            batch_id=batch_id,
        )


def _to_submit(batch: Batch, jobs: Sequence[Job]) -> list[int]:
    # Without a prepared request, a job that is not polled is work that the notebook does itself.
    every_job = BatchType.known(batch["batch_type"]) in BatchType.polled()
    return [
        job["id"]
        for job in jobs
        if not job["skipped"]
        and job["status"] == JobStatus.INITIATED
        and (every_job or job["submission_request"])
    ]


@dataclass(frozen=True)
class _Problem:
    """Why a job was not submitted."""

    text: str
    is_in_doubt: bool


@dataclass(frozen=True)
class _Submitter:
    """Submits jobs of one batch, several at a time."""

    batch_type: str
    irp_client: IRPClient
    may_submit: Callable[[], bool]

    def submit(self, job_ids: Sequence[int], bar: Progress) -> dict[int, _Problem]:
        """Submit these jobs; return those that were not submitted, and count the others."""
        problems = {}
        with ThreadPoolExecutor(_SUBMIT_WORKERS, thread_name_prefix="submit") as pool:
            waiting = {pool.submit(self._submit_one, job_id): job_id for job_id in job_ids}
            try:
                while waiting:
                    self.may_submit()  # this thread's pings keep the lock
                    ended, _ = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
                    for future in ended:
                        job_id, problem = waiting.pop(future), future.result()
                        if problem is not None:
                            problems[job_id] = problem
                        if problem is None or not problem.is_in_doubt:
                            bar.update()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return problems

    def _submit_one(self, job_id: int) -> _Problem | None:
        if not self.may_submit():
            text = (
                "was not submitted: this process made no progress for a minute and lost the batch."
            )
            return _Problem(f"Job {job_id} {text} Submit the batch again.", is_in_doubt=True)
        try:
            status = _submit_over_a_lost_connection(job_id, self.batch_type, self.irp_client)
        except JobError as exc:
            return _Problem(redact(str(exc)), isinstance(exc, SubmissionInDoubtError))
        if status != JobStatus.ERROR:
            return None
        return _Problem(f"Job {job_id}: {read_job(job_id)['last_error']}", is_in_doubt=False)


def _submit_patiently(
    due: Sequence[int], submitter: _Submitter, retry_after: Sequence[float]
) -> list[str]:
    """Submit jobs, and those in doubt again; return one line per job that was not submitted."""
    bar = progress(len(due), "Submitting", "jobs")
    try:
        problems = submitter.submit(due, bar)
        for pause in retry_after:
            in_doubt = [job_id for job_id, problem in problems.items() if problem.is_in_doubt]
            if not in_doubt:
                break
            bar.set_postfix_str(f"{counted(len(in_doubt), 'job')} again in {pause:.0f} s")
            _pause(pause, submitter.may_submit)
            again = submitter.submit(in_doubt, bar)
            problems = {k: p for k, p in problems.items() if not p.is_in_doubt} | again
    finally:
        bar.close()
    return [problems[job_id].text for job_id in sorted(problems)]


def _pause(seconds: float, may_submit: Callable[[], bool]) -> None:
    """Sleep for so long, or until the batch is lost."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and may_submit():
        time.sleep(min(left, _LOOK_SECONDS))


def _submit_over_a_lost_connection(job_id: int, batch_type: str, irp_client: IRPClient) -> str:
    """Submit one job, and once more where the database was lost: its key makes that safe."""
    try:
        return submit_job(job_id, batch_type, irp_client)
    except DatabaseUnavailableError:
        return submit_job(job_id, batch_type, irp_client)
