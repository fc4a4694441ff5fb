"""Batches: read them, reconcile them with their jobs, submit them.

Reconciling is one transaction: the batch is locked, its facts are counted, and the decision is
written together with everything that follows from it (the log, the notification, the hand-over
to the next step): all of it or none of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from helpers import chain_runs
from helpers.chain_rules import fired_rule
from helpers.constants import BatchStatus, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace, in_transaction, queries, transaction
from helpers.errors import BatchError, DatabaseUnavailableError, JobError
from helpers.identity import process_name
from helpers.irp_integration import IRPClient
from helpers.irp_integration.answers import NOT_OF_THE_JOB
from helpers.job import read_job, submit_job
from helpers.notifications import events
from helpers.polling import family_of
from helpers.reconciliation import BatchFacts, Decision, decide, doubts, patience
from helpers.records import ActiveBatch, Batch, BatchSubmission, Job, JobConfiguration
from helpers.settings import redact
from helpers.text import counted

__all__ = [
    "BatchError",
    "Reconciliation",
    "batch_to_submit",
    "get_active_batches",
    "get_batch_job_configurations",
    "get_batch_jobs",
    "read_batch",
    "recon_batch",
    "reconcile",
    "submit_batch",
]

_LARGEST_ID = 2**31 - 1
_MOST_DOUBTS = 10
_SUBMIT_WORKERS = 8


@dataclass(frozen=True)
class Reconciliation:
    """What one reconciliation decided, and what it set going."""

    batch_id: int
    old_status: BatchStatus
    status: BatchStatus
    reason: str
    needs_attention: bool = False
    cause: str | None = None  # in Moody's own words, of the first job that failed
    attention: tuple[str, ...] = ()  # one line per job that will not move by itself
    chain: str = ""  # which step is due, or why none is; empty while the batch is ACTIVE

    @property
    def settled(self) -> bool:
        """Whether this reconciliation ended the batch."""
        return self.status != self.old_status


def get_active_batches() -> list[ActiveBatch]:
    """Return the ACTIVE batches of ACTIVE cycles, oldest first."""
    with transaction() as connection:
        return list(queries("batch").active_batches(connection))


def read_batch(batch_id: int) -> Batch:
    """Return one batch with its place in the workflow.

    Raises:
        BatchError: there is no such batch, or the id is no id.
    """
    with transaction() as connection:
        row = queries("batch").read_batch(connection, batch_id=_checked(batch_id))
    if row is None:
        raise BatchError(f"There is no batch {batch_id} in the metastore.", batch_id=batch_id)
    return cast("Batch", row)


def get_batch_jobs(
    batch_id: int,
    skipped: bool | None = None,  # noqa: FBT001 - the published signature
    status: str | None = None,
) -> list[Job]:
    """Return the jobs of a batch in the order in which they were made.

    Args:
        batch_id: the batch.
        skipped: True for skipped jobs only, False for the others only, None for both.
        status: a ``JobStatus``; None for all.

    Raises:
        BatchError: there is no such batch, or no such status.
    """
    if status is not None and status not in set(JobStatus):
        raise BatchError(f"{status!r} is no job status.", batch_id=batch_id)
    read_batch(batch_id)
    with transaction() as connection:
        rows = queries("batch").batch_jobs(
            connection, batch_id=batch_id, skipped=skipped, status=status
        )
        return list(rows)


def get_batch_job_configurations(
    batch_id: int,
    skipped: bool | None = None,  # noqa: FBT001 - as get_batch_jobs
) -> list[JobConfiguration]:
    """Return the job configurations of a batch in the order in which they were made.

    Raises:
        BatchError: there is no such batch.
    """
    read_batch(batch_id)
    with transaction() as connection:
        rows = queries("batch").batch_job_configurations(
            connection, batch_id=batch_id, skipped=skipped
        )
        return list(rows)


def recon_batch(batch_id: int) -> str:
    """Reconcile a batch with its jobs and return its status, one of ``BatchStatus``.

    Only an ACTIVE batch is decided about; one that has ended, or has not begun, stays as it is.

    Raises:
        BatchError: there is no such batch.
    """
    return reconcile(batch_id).status


def reconcile(batch_id: int) -> Reconciliation:
    """Do what ``recon_batch`` does, and return the reasons with it."""
    _checked(batch_id)
    with transaction() as connection:
        queries("batch").lock_batch(connection, batch_id=batch_id)
        batch = read_batch(batch_id)
        was = BatchStatus(batch["status"])
        if was is not BatchStatus.ACTIVE:
            return Reconciliation(batch_id, was, was, f"The batch is {was}: nothing to decide.")
        facts = BatchFacts(**queries("batch").facts(connection, batch_id=batch_id))
        decision = decide(facts)
        _write(batch_id, decision, facts)
        if decision.status is not BatchStatus.ACTIVE:
            return _settle(batch, decision, facts)
        return _still_active(batch, decision)


def _write(batch_id: int, decision: Decision, facts: BatchFacts) -> None:
    with transaction() as connection:
        queries("batch").log_reconciliation(
            connection,
            batch_id=batch_id,
            status=decision.status,
            summary=json.dumps({**facts.summary(), "reason": decision.reason}),
        )
        if decision.status is not BatchStatus.ACTIVE:
            queries("batch").settle(connection, batch_id=batch_id, status=decision.status)


def _settle(batch: Batch, decision: Decision, facts: BatchFacts) -> Reconciliation:
    """Write what follows from the end of a batch, in the transaction that ends it."""
    verdict = fired_rule(
        stage_num=batch["stage_num"],
        step_num=batch["step_num"],
        batch_type=batch["batch_type"],
        status=decision.status,
    )
    if verdict.rule is not None:
        chain_runs.make_due(batch["batch_id"], batch["activation_num"], verdict.rule)
    events.announce_batch(batch, decision=decision, facts=facts, next_step=verdict.reason)
    return Reconciliation(
        batch["batch_id"],
        BatchStatus.ACTIVE,
        decision.status,
        decision.reason,
        cause=decision.cause,
        chain=verdict.reason,
    )


def _still_active(batch: Batch, decision: Decision) -> Reconciliation:
    with transaction() as connection:
        jobs = list(
            queries("batch").jobs_in_doubt(
                connection,
                batch_id=batch["batch_id"],
                terminal=list(JobStatus.terminal()),
                known=list(JobStatus.of_moodys()),
                nothing_said=list(NOT_OF_THE_JOB),
                stale_after=patience(batch["batch_type"]),
                most=_MOST_DOUBTS,
            )
        )
    lines = doubts(jobs, batch_type=batch["batch_type"])
    unnamed = jobs[0]["total"] - len(jobs) if jobs else 0
    if unnamed:
        lines.append(f"… and {counted(unnamed, 'more job')}.")
    return Reconciliation(
        batch["batch_id"],
        BatchStatus.ACTIVE,
        BatchStatus.ACTIVE,
        decision.reason,
        needs_attention=decision.needs_attention or bool(jobs),
        attention=tuple(lines),
    )


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


def _checked(batch_id: object) -> int:
    if (
        isinstance(batch_id, bool)
        or not isinstance(batch_id, int)
        or not 0 < batch_id <= _LARGEST_ID
    ):
        raise BatchError(
            f"{batch_id!r} is no batch id: those are whole numbers from 1 on.", batch_id=batch_id
        )
    return batch_id
