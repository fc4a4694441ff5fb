"""Reconcile a batch with its jobs: one transaction.

The batch is locked, its facts are counted, and the decision is written together with everything
that follows from it (the log, the notification, the chain run of the next step): all of it or
none of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from helpers.batch.reading import checked_id, read_batch
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import LockSpace, lock_holders, queries, transaction
from helpers.errors import BatchError
from helpers.irp_integration.answers import NOT_OF_THE_JOB
from helpers.notifications import events
from helpers.reconciliation import BatchFacts, Decision, StuckJob, decide, patience, stuck_lines
from helpers.records import Batch
from helpers.steps import claims
from helpers.steps.rules import fired_rule
from helpers.text import counted

_MOST_STUCK = 10


@dataclass(frozen=True)
class Reconciliation:
    """What one reconciliation decided, and what it set going."""

    batch_id: int
    old_status: BatchStatus
    status: BatchStatus
    reason: str
    needs_attention: bool = False
    attention: tuple[str, ...] = ()  # one line per job that will not move by itself
    chain: str = ""  # which step is due, or why none is; empty while the batch is ACTIVE

    @property
    def finished(self) -> bool:
        """Whether this reconciliation ended the batch."""
        return self.status != self.old_status


def recon_batch(batch_id: int) -> str:
    """Reconcile a batch with its jobs and return its status, one of ``BatchStatus``.

    Only an ACTIVE batch is decided about; one that has ended, or has not begun, stays as it is.
    The decision is always put on record.

    Raises:
        BatchError: there is no such batch, or its status is not one of ``BatchStatus``.
    """
    return reconcile(batch_id, always_log=True).status


def reconcile(batch_id: int, *, always_log: bool = False) -> Reconciliation:
    """Do what ``recon_batch`` does, and return the reasons with it.

    Args:
        batch_id: the batch.
        always_log: also put on record a decision that was the last one within this hour.
    """
    checked_id(batch_id)
    with transaction():
        queries("batch").lock_batch(batch_id=batch_id)
        batch = read_batch(batch_id)
        was = _status(batch)
        if was is not BatchStatus.ACTIVE:
            return Reconciliation(batch_id, was, was, f"The batch is {was}: nothing to decide.")
        facts = BatchFacts(**queries("batch").facts(batch_id=batch_id))
        decision = decide(facts)
        _write(batch_id, decision, facts, always_log=always_log)
        if decision.status is not BatchStatus.ACTIVE:
            return _end(batch, decision, facts)
        return _still_active(batch, decision)


def look(batch_id: int) -> Reconciliation:
    """Return what reconciling a batch would decide now; nothing is locked or written."""
    batch = read_batch(batch_id)
    was = _status(batch)
    if was is not BatchStatus.ACTIVE:
        return Reconciliation(batch_id, was, was, f"The batch is {was}: nothing to decide.")
    decision = decide(BatchFacts(**queries("batch").facts(batch_id=batch_id)))
    if decision.status is not BatchStatus.ACTIVE:
        return Reconciliation(batch_id, was, decision.status, decision.reason)
    return _still_active(batch, decision)


def _status(batch: Batch) -> BatchStatus:
    if batch["status"] not in set(BatchStatus):
        raise BatchError(
            f"Batch {batch['batch_id']} is {batch['status']}, an unrecognised status; the batch "
            f"was left unchanged. Set it to one of {', '.join(BatchStatus)}.",
            batch_id=batch["batch_id"],
        )
    return BatchStatus(batch["status"])


def _write(batch_id: int, decision: Decision, facts: BatchFacts, *, always_log: bool) -> None:
    with transaction():
        queries("batch").log_reconciliation(
            batch_id=batch_id,
            status=decision.status,
            summary=json.dumps({**facts.summary(), "reason": decision.reason}),
            always=always_log or decision.status is not BatchStatus.ACTIVE,
        )
        if decision.status is not BatchStatus.ACTIVE:
            queries("batch").end_batch(batch_id=batch_id, status=decision.status)


def _end(batch: Batch, decision: Decision, facts: BatchFacts) -> Reconciliation:
    """Write what follows from the end of a batch, in the transaction that ends it."""
    verdict = fired_rule(
        stage_num=batch["stage_num"],
        step_num=batch["step_num"],
        batch_type=batch["batch_type"],
        status=decision.status,
    )
    if verdict.rule is not None:
        claims.make_due(batch["batch_id"], batch["activation_num"], verdict.rule)
    events.announce_batch(batch, decision=decision, facts=facts, next_step=verdict.reason)
    return Reconciliation(
        batch["batch_id"],
        BatchStatus.ACTIVE,
        decision.status,
        decision.reason,
        chain=verdict.reason,
    )


def _still_active(batch: Batch, decision: Decision) -> Reconciliation:
    jobs = _stuck_jobs(batch, submitted_only=False)
    submitter = _submitter_of(batch["batch_id"], jobs)
    if submitter is not None:  # what is not submitted yet will be, in a moment
        jobs = _stuck_jobs(batch, submitted_only=True)
    lines = stuck_lines(jobs, batch_type=batch["batch_type"])
    unnamed = jobs[0]["total"] - len(jobs) if jobs else 0
    if unnamed:
        lines.append(f"… and {counted(unnamed, 'more job')}.")
    return Reconciliation(
        batch["batch_id"],
        BatchStatus.ACTIVE,
        BatchStatus.ACTIVE,
        f"{decision.reason} {submitter} is submitting it." if submitter else decision.reason,
        needs_attention=decision.needs_attention or bool(jobs),
        attention=tuple(lines),
    )


def _submitter_of(batch_id: int, jobs: list[StuckJob]) -> str | None:
    """Return who is submitting the batch; nobody is asked for where all jobs are submitted."""
    if all(job["moodys_workflow_id"] is not None for job in jobs):
        return None
    return lock_holders(LockSpace.SUBMIT_BATCH, [batch_id]).get(batch_id)


def _stuck_jobs(batch: Batch, *, submitted_only: bool) -> list[StuckJob]:
    return list(
        queries("batch").stuck_jobs(
            batch_id=batch["batch_id"],
            submitted_only=submitted_only,
            unpolled=BatchType.known(batch["batch_type"]) is None,
            statuses=list(JobStatus),
            terminal=list(JobStatus.terminal()),
            known=list(JobStatus.of_moodys()),
            not_of_the_job=list(NOT_OF_THE_JOB),
            stale_after=patience(batch["batch_type"]),
            most=_MOST_STUCK,
        )
    )
