"""Reconcile batches with their jobs.

A batch that ends takes one transaction: the batch is locked, its facts are counted, and the
decision is written together with everything that follows from it (the log, the notification, the
chain run of the next step): all of it or none of it. Those that stay ACTIVE, almost all of a pass,
are decided about together, in as many statements as one takes.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from helpers.batch.reading import checked_id, facts_of, read_batch
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import LockSpace, lock_holders, queries, transaction
from helpers.errors import BatchError
from helpers.irp_integration.answers import NOT_OF_THE_JOB
from helpers.irp_integration.endpoints import normal_id
from helpers.notifications import events
from helpers.reconciliation import BatchFacts, Decision, StuckJob, decide, patience, stuck_lines
from helpers.records import Batch, step_call
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
    mend: str = ""  # the call that lets the batch go on, if it needs attention
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
        if nothing := _nothing_to_decide(batch):
            return nothing
        facts = facts_of([batch_id])[batch_id]
        decision = decide(facts)
        _log([(batch_id, decision, facts)], always=always_log)
        if decision.status is BatchStatus.ACTIVE:
            return _still_active([(batch, decision, facts)])[batch_id]
        queries("batch").end_batch(batch_id=batch_id, status=decision.status)
        return _end(batch, decision, facts)


def reconcile_together(batch_ids: Collection[int]) -> dict[int, Reconciliation]:
    """Reconcile those of these batches that stay ACTIVE; the others are left to ``reconcile``.

    Nothing but the log is written. A batch that changes meanwhile is decided about by whoever
    changes it, or in the next pass.
    """
    with transaction():
        rows = queries("batch").read_batches(batch_ids=list(batch_ids))
        batches = {row["batch_id"]: row for row in rows if row["status"] == BatchStatus.ACTIVE}
        facts = facts_of(batches)
        decisions = {batch_id: decide(facts[batch_id]) for batch_id in batches}
        stay = [i for i in batches if decisions[i].status is BatchStatus.ACTIVE]
        _log([(i, decisions[i], facts[i]) for i in stay], always=False)
        return _still_active([(batches[i], decisions[i], facts[i]) for i in stay])


def look(batch_id: int) -> Reconciliation:
    """Return what reconciling a batch would decide now; nothing is locked or written."""
    batch = read_batch(batch_id)
    if nothing := _nothing_to_decide(batch):
        return nothing
    facts = facts_of([batch_id])[batch_id]
    decision = decide(facts)
    if decision.status is not BatchStatus.ACTIVE:
        return Reconciliation(batch_id, BatchStatus.ACTIVE, decision.status, decision.reason)
    return _still_active([(batch, decision, facts)])[batch_id]


def _nothing_to_decide(batch: Batch) -> Reconciliation | None:
    """Return what is said of a batch that is not ACTIVE; None if it is."""
    if batch["status"] not in set(BatchStatus):
        raise BatchError(
            f"Batch {batch['batch_id']} is {batch['status']}, an unrecognised status; the batch "
            f"was left unchanged. Set it to one of {', '.join(BatchStatus)}.",
            batch_id=batch["batch_id"],
        )
    was = BatchStatus(batch["status"])
    if was is BatchStatus.ACTIVE:
        return None
    return Reconciliation(batch["batch_id"], was, was, f"The batch is {was}: nothing to decide.")


def _log(decided: Sequence[tuple[int, Decision, BatchFacts]], *, always: bool) -> None:
    """Put decisions on record; the end of a batch always."""
    queries("batch").log_reconciliations(
        batch_ids=[batch_id for batch_id, _, _ in decided],
        statuses=[decision.status for _, decision, _ in decided],
        summaries=[
            json.dumps({**facts.summary(), "reason": decision.reason})
            for _, decision, facts in decided
        ],
        always=always or any(one.status is not BatchStatus.ACTIVE for _, one, _ in decided),
    )


def _end(batch: Batch, decision: Decision, facts: BatchFacts) -> Reconciliation:
    """Write what follows from the end of a batch, in the transaction that ends it."""
    rule, why = fired_rule(batch, decision.status)
    if rule is not None:
        claims.make_due(batch["batch_id"], batch["activation_num"], rule)
    events.announce_batch(batch, decision=decision, facts=facts, next_step=why)
    return Reconciliation(
        batch["batch_id"], BatchStatus.ACTIVE, decision.status, decision.reason, chain=why
    )


def _still_active(
    decided: Sequence[tuple[Batch, Decision, BatchFacts]],
) -> dict[int, Reconciliation]:
    batches = [batch for batch, *_ in decided]
    stuck = _stuck_jobs(batches, submitted_only=False)
    # Nobody is asked for where all jobs are submitted.
    unsubmitted = [i for i in stuck if any(j["moodys_workflow_id"] is None for j in stuck[i])]
    submitters = lock_holders(LockSpace.SUBMIT_BATCH, unsubmitted) if unsubmitted else {}
    if submitters:  # what is not submitted yet will be, in a moment
        submitted = [batch for batch in batches if batch["batch_id"] in submitters]
        stuck = {i: jobs for i, jobs in stuck.items() if i not in submitters}
        stuck |= _stuck_jobs(submitted, submitted_only=True)
    return {
        batch["batch_id"]: _outcome(
            batch,
            decision,
            facts,
            stuck.get(batch["batch_id"], []),
            submitters.get(batch["batch_id"]),
        )
        for batch, decision, facts in decided
    }


def _outcome(
    batch: Batch,
    decision: Decision,
    facts: BatchFacts,
    stuck: list[StuckJob],
    submitter: str | None,
) -> Reconciliation:
    lines = stuck_lines(stuck, batch_type=batch["batch_type"])
    unnamed = stuck[0]["total"] - len(stuck) if stuck else 0
    if unnamed:
        lines.append(f"… and {counted(unnamed, 'more job')}.")
    return Reconciliation(
        batch["batch_id"],
        BatchStatus.ACTIVE,
        BatchStatus.ACTIVE,
        f"{decision.reason} {submitter} is submitting it." if submitter else decision.reason,
        needs_attention=decision.needs_attention or bool(stuck),
        attention=tuple(lines),
        mend=_mend(batch, facts, stuck) if decision.needs_attention or stuck else "",
    )


def _mend(batch: Batch, facts: BatchFacts, stuck: list[StuckJob]) -> str:
    """Return the call that lets a batch go on: with what is left of it, else without."""
    batch_id = batch["batch_id"]
    if not stuck and facts.cancelled_job_ids:
        return f"plan_resubmit({batch_id})"
    if not stuck:
        return f'skip_job_configuration({facts.unfulfilled_config_ids[0]}, "…")'
    is_known = BatchType.known(batch["batch_type"]) is not None
    if is_known and any(_is_due(job) for job in stuck):
        step = batch["cycle_name"], batch["stage_num"], batch["step_num"]
        return step_call("plan_rerun", *step)
    plan = "plan_cancel" if is_known and all(map(_is_silent, stuck)) else "plan_skip"
    return f"{plan}({batch_id}, {[job['job_id'] for job in stuck]})"


def _is_silent(job: StuckJob) -> bool:
    """Tell whether a job runs at Moody's as far as is known, only for long."""
    is_there = job["status"] in JobStatus.of_moodys() and not job["error_message"]
    return is_there and normal_id(job["moodys_workflow_id"]) is not None


def _is_due(job: StuckJob) -> bool:
    """Tell whether the step's notebook submits a job, or does its work, when it is run again."""
    return job["status"] == JobStatus.INITIATED and job["moodys_workflow_id"] is None


def _stuck_jobs(batches: Sequence[Batch], *, submitted_only: bool) -> dict[int, list[StuckJob]]:
    """Return by batch the jobs that will not move by themselves, if there are any."""
    rows = queries("batch").stuck_jobs(
        batch_ids=[batch["batch_id"] for batch in batches],
        submitted_only=submitted_only,
        unpolled=[BatchType.known(batch["batch_type"]) is None for batch in batches],
        stale_after=[patience(batch["batch_type"]) for batch in batches],
        statuses=list(JobStatus),
        terminal=list(JobStatus.terminal()),
        known=list(JobStatus.of_moodys()),
        not_of_the_job=list(NOT_OF_THE_JOB),
        most=_MOST_STUCK,
    )
    return {i: list(jobs) for i, jobs in groupby(rows, key=itemgetter("batch_id"))}
