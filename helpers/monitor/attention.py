"""What waits for a person, whichever pass found it.

Somebody who looks at seven in the morning sees what failed at two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import queries, transaction
from helpers.display import Remark, Severity, clock, clock_and_age, duration
from helpers.monitor.reports import ReconReport
from helpers.notifications.failures import FailingBatch, Failures, failures_of, so_far
from helpers.steps.claims import describe_hold, describe_wait, open_runs, step_call
from helpers.text import counted, listed, shorten

_MOST = 50
_MOST_REASONS = 3
_MOST_OF_AN_ERROR = 1_000
_MISSED_INTERVALS = 3  # so long without a poll means that nobody watches the batch
_MOST_UNPOLLED = 5


def what_waits_for_people(
    reconciled: ReconReport, failing: Sequence[FailingBatch]
) -> tuple[list[Remark], int]:
    """Return what waits, the urgent first, and how many things wait in all.

    Batches that ended badly, next steps that failed or are held, batches of which jobs have failed
    so far, prepared ones that nobody submits, and statuses that are not ours, as the metastore has
    them now; and the batches that this pass found stuck.
    """
    with transaction():
        batches = list(queries("attention").ended_badly(most=_MOST))
        chains = list(queries("attention").failed_next_steps(most=_MOST))
        held = list(queries("attention").held_steps(most=_MOST))
        prepared = list(queries("attention").prepared_and_idle(most=_MOST))
        unrecognised = list(
            queries("attention").unrecognised_batches(known=list(BatchStatus), most=_MOST)
        )
        cycles = list(queries("attention").unwatched_cycles(known=list(CycleStatus), most=_MOST))
    failures = failures_of([row["batch_id"] for row in [*batches, *failing][:_MOST]])
    stuck = [
        Remark(item.name, " ".join(item.outcome.attention) or item.outcome.reason, Severity.WARNING)
        for item in reconciled.needing_attention
    ]
    failed = [_failed_batch(row, failures.get(row["batch_id"])) for row in batches]
    urgent = [*failed, *map(_failed_chain, chains)]
    others = [_failing_batch(batch, failures.get(batch["batch_id"])) for batch in failing]
    others += [*stuck, *_held_chains(), *map(_prepared, prepared)]
    odd = [
        *map(_held_step, held),
        *map(_unrecognised_batch, unrecognised),
        *map(_unwatched_cycle, cycles),
    ]
    limited = (batches, chains, held, unrecognised, cycles)
    total = sum(rows[0]["total"] for rows in limited if rows) + len(others)
    return [*urgent, *others, *odd][:_MOST], total


def _held_chains() -> list[Remark]:
    """Return the next steps that wait for something that will not change by itself."""
    going_on = {BatchStatus.ACTIVE, BatchStatus.COMPLETED}
    return [
        Remark(
            f"Next step ({_location(run, run['next_step_num'])})",
            f"{describe_wait(run['waits_for'])}. Correct that, or start it all the same: "
            + step_call("release_step", run["cycle_name"], run["stage_num"], run["next_step_num"]),
            Severity.WARNING,
        )
        for run in open_runs()
        if run["cycle_status"] == CycleStatus.ACTIVE
        and not run["held_by"]
        and any(holder["batch_status"] not in going_on for holder in run["waits_for"])
    ]


def why_idle() -> str:
    """Say why nothing is active, if nothing is."""
    row = queries("attention").cycles()
    if not row["cycles"]:
        return "there is no cycle yet"
    if not row["active"]:
        return "no cycle is active"
    if row["without_batch"] is not None:
        return f"cycle {row['without_batch']} has no batch yet"
    return "nothing is active"


def _unrecognised_batch(row: dict[str, Any]) -> Remark:
    text = f"{row['status']} is an unrecognised status; the batch was left unchanged. "
    text += f"Let it be decided anew: activate_batch({row['batch_id']})"
    return Remark(_batch_name(row), text, Severity.WARNING)


def _unwatched_cycle(row: dict[str, Any]) -> Remark:
    batches = counted(row["active_batches"], "active batch", "active batches")
    status = row["status"] or "without a status"
    text = f"The cycle is {status}, so nobody watches its {batches}: make it ACTIVE or ARCHIVED."
    return Remark(f"Cycle {row['cycle_name']}", text, Severity.WARNING)


def unpolled_batches(holders: Mapping[int, str], *, interval: timedelta) -> list[str]:
    """Return a warning if there are watched batches that nobody has polled for three intervals.

    Args:
        holders: who polls the batches that this pass left alone, by batch.
        interval: how often the monitor is meant to run.
    """
    rows = queries("attention").unpolled(
        polled_types=list(BatchType.polled()),
        terminal=list(JobStatus.terminal()),
        for_longer_than=_MISSED_INTERVALS * interval,
    )
    batches = [_unpolled_batch(row, holders.get(row["batch_id"])) for row in rows]
    if not batches:
        return []
    warning = (
        f"Not polled for over {duration(_MISSED_INTERVALS * interval)}: "
        f"{listed(batches, most=_MOST_UNPOLLED)}. If a process holds them, it may be frozen: "
        "end it, and the next pass polls them."
    )
    return [warning]


def _unpolled_batch(row: dict[str, Any], holder: str | None) -> str:
    never = row["last_polled_ts"] is None
    last = "never" if never else f"last at {clock(row['last_polled_ts'])}"
    held = f", held by {holder}" if holder else ""
    return f"batch {row['batch_id']} ({row['batch_type']}; {last}{held})"


def _failed_batch(row: dict[str, Any], failures: Failures | None) -> Remark:
    since = f"{row['status']} since {clock_and_age(row['completed_ts'])}."
    parts = [since, row["reason"], _why(failures), _mend(row["batch_id"])]
    return Remark(_batch_name(row), " ".join(filter(None, parts)), Severity.ERROR)


def _failing_batch(batch: FailingBatch, failures: Failures | None) -> Remark:
    parts = [so_far(batch), _why(failures), _mend(batch["batch_id"])]
    return Remark(_batch_name(batch), " ".join(filter(None, parts)), Severity.ERROR)


def _why(failures: Failures | None) -> str:
    return failures.sentence(most=_MOST_REASONS) if failures else ""


def _mend(batch_id: int) -> str:
    return f"Mend it: plan_resubmit({batch_id})"


def _batch_name(row: Mapping[str, Any]) -> str:
    return f"Batch {row['batch_id']} ({row['batch_type']}, {_location(row, row['step_num'])})"


def _prepared(row: dict[str, Any]) -> Remark:
    step = f"{row['stage_num']}.{row['step_num']}"
    jobs = counted(row["jobs"], "prepared job")
    are = "is" if row["jobs"] == 1 else "are"
    run = step_call("plan_rerun", row["cycle_name"], row["stage_num"], row["step_num"])
    text = f"{jobs} of step {step} {are} not submitted. Run the step's notebook: {run}"
    return Remark(f"Cycle {row['cycle_name']}", text, Severity.WARNING)


def _failed_chain(row: dict[str, Any]) -> Remark:
    reason = shorten(row["error_message"] or "no reason noted", _MOST_OF_AN_ERROR).rstrip(". ")
    step = row["cycle_name"], row["stage_num"], row["step_num"]
    mend = step_call("plan_rerun", *step) if row["is_known"] else f"create_cycle({step[0]!r})"
    at = clock_and_age(row["completed_ts"])
    text = f"failed at {at}: {reason}. Correct the cause, then: {mend}"
    return Remark(f"Next step ({_location(row, row['step_num'])})", text, Severity.ERROR)


def _held_step(row: dict[str, Any]) -> Remark:
    text = describe_hold(row, row["cycle_name"], row["stage_num"], row["step_num"])
    return Remark(f"Step ({_location(row, row['step_num'])})", text, Severity.WARNING)


def _location(row: Mapping[str, Any], step_num: int) -> str:
    return f"{row['cycle_name']}, stage {row['stage_num']} step {step_num}"
