"""Submit the prepared jobs of a batch, several at a time; a repeat submits nothing twice."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.batch.reading import get_batch_jobs, read_batch
from helpers.batch.requests import build_requests, to_be_built
from helpers.clock import CLOCK
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace, in_transaction, lock_holders, queries
from helpers.display import Progress, progress
from helpers.errors import BatchError, DatabaseUnavailableError, JobError, OutcomeUnknownError
from helpers.identity import process_name
from helpers.job import read_job, submit_job
from helpers.job.submitting import why_not_sent
from helpers.records import Batch, BatchSubmission, Job
from helpers.steps.acting import acting_on
from helpers.text import counted, listed

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

_SUBMIT_WORKERS = 8
_LOOK_SECONDS = 5.0  # between two looks at the lock


def _require_open(batch: Batch) -> None:
    """Raise if a batch has ended, or nobody would watch it."""
    problem = None
    if batch["status"] in BatchStatus.terminal():
        problem = f"is {batch['status']}: only a prepared batch is submitted."
    elif batch["cycle_status"] != CycleStatus.ACTIVE:
        problem = f"belongs to cycle {batch['cycle_name']}, which is {batch['cycle_status']}."
    if problem is not None:
        raise BatchError(f"Batch {batch['batch_id']} {problem}", batch_id=batch["batch_id"])


def submit_batch(
    batch_id: int, irp_client: "IRPClient", *, retry_after: Sequence[float] = ()
) -> BatchSubmission:
    """Make a prepared batch ACTIVE and submit its jobs, several at a time.

    The batch is watched from the start, so that nothing is lost when this is cut off; calling it
    again submits what is left and nothing twice. A job that Moody's rejects becomes ERROR with the
    reason, one whose outcome is unknown stays due, and the others go on.

    ``retry_after`` are the seconds to wait before each further try of jobs whose outcome is
    unknown. Returns counts, and one line per job that failed; see ``BatchSubmission``.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, it is being
            submitted by another run, or none of its jobs has a request that can be sent; the batch
            stays as it was.
    """
    _require_sendable(batch_id)
    with batch_to_submit(batch_id) as (batch, may_submit):
        jobs = get_batch_jobs(batch_id)
        unbuilt = build_requests(batch, jobs)
        due = [i for i in _to_submit(batch, get_batch_jobs(batch_id)) if i not in unbuilt]
        submitter = _Submitter(batch["batch_type"], irp_client, may_submit=may_submit)
        errors = {**unbuilt, **_submit_all(due, submitter, retry_after)}
        problems = [str(errors[job_id]) for job_id in sorted(errors)]
        return submission_of(
            batch_id, jobs=len(jobs), due=len(due) + len(unbuilt), problems=problems
        )


def _require_sendable(batch_id: int) -> None:
    """Raise if another tool has to submit all of a prepared batch: it holds bodies, or nothing."""
    batch, jobs = read_batch(batch_id), get_batch_jobs(batch_id)
    requests = {job["id"]: job["submission_request"] for job in jobs}
    problems = [why_not_sent(job_id, requests[job_id]) for job_id in _to_submit(batch, jobs)]
    is_new = batch["status"] == BatchStatus.INITIATED and not to_be_built(batch, jobs)
    if is_new and problems and all(problems):
        text = f"Batch {batch_id} is not submitted, and stays as it is."
        raise BatchError(f"{text} {listed(problems)}", batch_id=batch_id)


def left_to_submit(batch_id: int) -> list[int]:
    """Return the jobs of a batch that are due to be submitted at this moment, in order."""
    batch, jobs = read_batch(batch_id), get_batch_jobs(batch_id)
    return sorted({*_to_submit(batch, jobs), *to_be_built(batch, jobs)})


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
) -> Iterator[tuple[Batch, Callable[[], bool]]]:
    """Give a prepared batch, now ACTIVE, to the one run that may submit it or do its work.

    ``ends_when_idle`` is that of ``AdvisoryLocks``.

    Raises:
        BatchError: there is no such batch, it has ended, its cycle is archived, or another run is
            at it.
    """
    batch = read_batch(batch_id)
    _require_open(batch)
    if in_transaction():  # what must be on record before a request would not be
        raise BatchError(
            f"Batch {batch_id} is not submitted inside a transaction. End it first.",
            batch_id=batch_id,
        )
    with submitting_alone(batch_id, ends_when_idle=ends_when_idle) as may_submit:
        queries("batch").activate(batch_id=batch_id)
        if read_batch(batch_id)["status"] != BatchStatus.ACTIVE:
            _require_open(read_batch(batch_id))
        yield batch, may_submit


@contextmanager
def submitting_alone(batch_id: int, *, ends_when_idle: bool = True) -> Iterator[Callable[[], bool]]:
    """Keep others from submitting a batch, and from running its step, meanwhile.

    Gives a function that tells whether that still holds: submit nothing more once it does not.

    Raises:
        BatchError: another run is submitting it, or somebody runs its step.
    """
    with (
        acting_on(read_batch(batch_id)["step_id"]) as is_step_held,
        AdvisoryLocks(owner=process_name(), ends_when_idle=ends_when_idle) as locks,
    ):
        if not locks.try_acquire(LockSpace.SUBMIT_BATCH, [batch_id]):
            holder = lock_holders(LockSpace.SUBMIT_BATCH, [batch_id]).get(batch_id, "another run")
            raise BatchError(f"Batch {batch_id} is being submitted by {holder}.", batch_id=batch_id)
        yield lambda: locks.are_held() and is_step_held()


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
class _Submitter:
    """Submits jobs of one batch, several at a time."""

    batch_type: str
    irp_client: "IRPClient"
    may_submit: Callable[[], bool]

    def submit(self, job_ids: Sequence[int], bar: Progress) -> dict[int, JobError]:
        """Submit these jobs; return why some were not submitted, and count the others."""
        errors: dict[int, JobError] = {}
        with ThreadPoolExecutor(_SUBMIT_WORKERS, thread_name_prefix="submit") as pool:
            waiting = {pool.submit(self._submit_one, job_id): job_id for job_id in job_ids}
            try:
                while waiting:
                    self.may_submit()  # this thread's pings keep the lock
                    ended, _ = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
                    for future in ended:
                        job_id, error = waiting.pop(future), future.result()
                        if error is not None:
                            errors[job_id] = error
                        if not isinstance(error, OutcomeUnknownError):
                            bar.update()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return errors

    def _submit_one(self, job_id: int) -> JobError | None:
        if not self.may_submit():
            text = "this process made no progress for a minute and lost the batch."
            return OutcomeUnknownError(f"Job {job_id}: {text} Submit the batch again.")
        try:
            status = self._submit_over_a_lost_connection(job_id)
        except JobError as exc:
            return exc
        if status != JobStatus.ERROR:
            return None
        return JobError(f"Job {job_id}: {read_job(job_id)['last_error']}", job_id=job_id)

    def _submit_over_a_lost_connection(self, job_id: int) -> str:
        """Submit one job, and once more if the database was lost: its key makes that safe."""
        try:
            return submit_job(job_id, self.batch_type, self.irp_client)
        except DatabaseUnavailableError:
            return submit_job(job_id, self.batch_type, self.irp_client)


def _submit_all(
    due: Sequence[int], submitter: _Submitter, retry_after: Sequence[float]
) -> dict[int, JobError]:
    """Submit jobs, and those of unknown outcome again; return why some were not submitted."""
    with progress(len(due), "Submitting", "jobs") as bar:
        errors = submitter.submit(due, bar)
        for pause in retry_after:
            unknown = [job for job, exc in errors.items() if isinstance(exc, OutcomeUnknownError)]
            if not unknown:
                break
            bar.set_postfix_str(f"{counted(len(unknown), 'job')} again in {pause:.0f} s")
            _pause(pause, submitter.may_submit)
            again = submitter.submit(unknown, bar)
            errors = {job: exc for job, exc in errors.items() if job not in unknown} | again
    return errors


def _pause(seconds: float, may_submit: Callable[[], bool]) -> None:
    """Sleep for so long, or until the batch is lost."""
    end = CLOCK.monotonic() + seconds
    while (left := end - CLOCK.monotonic()) > 0 and may_submit():
        CLOCK.sleep(min(left, _LOOK_SECONDS))
