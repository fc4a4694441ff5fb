"""The events that people hear of, as they are put into the outbox.

An event is written in the transaction that makes it true, so that none is lost, and holds all
that its card tells, so that a late card still tells what happened then.
"""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, assert_never

from helpers.clock import CLOCK
from helpers.constants import BatchStatus, NotificationKind
from helpers.database import queries
from helpers.notifications.failures import (
    FailingBatch,
    Failures,
    LateBatch,
    UnfinishedBatch,
    failures_of,
    how_many_late,
    so_far,
)
from helpers.reconciliation import BatchFacts, Decision
from helpers.records import Batch, ChainRun
from helpers.redaction import printable
from helpers.text import map_texts, shorten

_LONGEST_TEXT = 16_000  # about what a card can hold
_MOST_LATE = 20  # jobs that a card names


def announce_batch(batch: Batch, *, decision: Decision, facts: BatchFacts, next_step: str) -> None:
    """Store what people should hear of a batch's end; belongs in the transaction that ends it.

    A batch that failed, and one that completes after people were, or will be, told that it failed.
    """
    queries("notifications").close_early(batch_id=batch["batch_id"], reason="The batch has ended.")
    kind = _batch_event(batch["batch_id"], decision.status)
    if kind is None:
        return
    failures = failures_of([batch["batch_id"]]).get(batch["batch_id"], Failures([], 0))
    payload = {
        **_location(batch),
        "notebook_path": batch["notebook_path"],
        "batch_status": decision.status,
        "reason": decision.reason,
        "job_status_counts": _counts(batch["batch_id"], facts.job_status_counts),
        "jobs": failures.jobs,
        "jobs_total": failures.total,
        "next_step": f"{_advice(decision.status)} {next_step}",
    }
    _enqueue(kind, batch["batch_id"], batch["activation_num"], None, payload)


def announce_failing(batches: list[FailingBatch]) -> None:
    """Store, once per activation, that jobs of batches have failed which are still ACTIVE.

    What fails later is told when the batch has ended.
    """
    new = [batch for batch in batches if not batch["is_announced"]]
    failures = failures_of([batch["batch_id"] for batch in new])
    for batch in new:
        found = failures.get(batch["batch_id"], Failures([], 0))
        more = {
            "reason": so_far(batch),
            "jobs_total": found.total,
            "jobs": found.jobs,
            "next_step": "The same may strike what still runs: look at the reasons. Resubmit or "
            "skip what failed in the notebook Manage Batches.",
        }
        _enqueue_early(NotificationKind.JOBS_FAILED, batch, more)


def announce_late(batches: Sequence[LateBatch]) -> None:
    """Store, once per activation, that jobs of these batches take far longer than usual."""
    for batch in batches:
        if batch["is_announced"]:
            continue
        more = {
            "reason": how_many_late(batch),
            "jobs_total": len(batch["jobs"]),
            "jobs": batch["jobs"][:_MOST_LATE],
            "next_step": "Look for the reason at Moody's. The notebook Manage Batches cancels and "
            "resubmits.",
        }
        _enqueue_early(NotificationKind.JOBS_LATE, batch, more)


def _enqueue_early(kind: NotificationKind, batch: UnfinishedBatch, more: dict[str, Any]) -> None:
    payload = {**_location(batch), "notebook_path": batch["notebook_path"], **more}
    queries("notifications").enqueue_early(
        kind=kind,
        batch_id=batch["batch_id"],
        activation_num=batch["activation_num"],
        payload=_as_json(payload),
    )


def announce_report(*, cycle_id: int, report_date: date, payload: dict[str, Any]) -> None:
    """Store the report of a cycle and a day, once, whoever makes it."""
    queries("notifications").enqueue_report(
        cycle_id=cycle_id, report_date=report_date, payload=_as_json(payload)
    )


def _batch_event(batch_id: int, status: BatchStatus) -> NotificationKind | None:
    if status in BatchStatus.announced():
        return NotificationKind.BATCH_FAILED
    last = queries("notifications").last_announced(batch_id=batch_id)
    return NotificationKind.BATCH_RECOVERED if last == NotificationKind.BATCH_FAILED else None


def _advice(status: BatchStatus) -> str:
    match status:
        case BatchStatus.FAILED:
            return "Look at what failed, then resubmit or skip it."
        case BatchStatus.ERROR:
            return "This never reached Moody's: correct what the reason names, then resubmit."
        case BatchStatus.CANCELLED:
            return "Somebody cancelled this at Moody's: resubmit what is still needed."
        case BatchStatus.COMPLETED:
            return "Nothing to do: the batch completed after it had failed."
        case BatchStatus.INITIATED | BatchStatus.ACTIVE:
            raise ValueError(f"A batch that is {status} has not ended.")
        case _:
            assert_never(status)


def announce_chain_failure(
    run: ChainRun, *, error: str, notebook_path: str | None, executed_path: str | None
) -> None:
    """Store that the next step failed or could not start; belongs with the write that says so."""
    payload = {
        **_location(run),
        "notebook_path": notebook_path,
        "executed_path": executed_path,
        "next_step_num": run["next_step_num"],
        "error": error,
    }
    _enqueue(
        NotificationKind.CHAIN_FAILED, run["batch_id"], run["activation_num"], run["id"], payload
    )


def _counts(batch_id: int, by_label: dict[str, int]) -> dict[str, int]:
    """Return how many jobs there are by label, those that a resubmission replaced as REPLACED."""
    skipped = by_label.get("SKIPPED", 0)
    replaced = queries("notifications").replaced_jobs(batch_id=batch_id) if skipped else 0
    counts = {**by_label, "SKIPPED": skipped - replaced, "REPLACED": replaced}
    return {label: jobs for label, jobs in counts.items() if jobs}


def _location(of: Batch | ChainRun | UnfinishedBatch) -> dict[str, Any]:
    return {
        "cycle_name": of["cycle_name"],
        "stage_num": of["stage_num"],
        "stage_name": of["stage_name"],
        "step_num": of["step_num"],
        "step_name": of["step_name"],
        "batch_id": of["batch_id"],
        "batch_type": of["batch_type"],
        "occurred_ts": CLOCK.now().isoformat(timespec="seconds"),
    }


def _enqueue(
    kind: NotificationKind,
    batch_id: int,
    activation_num: int,
    chain_run_id: int | None,
    payload: dict[str, Any],
) -> None:
    queries("notifications").enqueue(
        kind=kind,
        batch_id=batch_id,
        activation_num=activation_num,
        chain_run_id=chain_run_id,
        payload=_as_json(payload),
    )


def _as_json(payload: dict[str, Any]) -> str:
    """Return what an event holds as it is stored: no text with a secret, and none endless."""
    return json.dumps(map_texts(payload, lambda text: shorten(printable(text), _LONGEST_TEXT)))
