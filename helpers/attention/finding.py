"""Find what waits for a person, whichever pass found it.

Somebody who looks at seven in the morning sees what failed at two. Nothing is polled, decided,
written or sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from helpers.attention.items import Item, ItemKind, Waiting, with_acknowledgements
from helpers.batch import Reconciliation, get_active_batches
from helpers.batch.reconciling import look
from helpers.constants import BatchStatus, CycleStatus
from helpers.database import queries, transaction
from helpers.display import Severity, clock_and_age
from helpers.forecasts import LateJob, find_late_jobs
from helpers.job_names import job_name
from helpers.notifications.failures import (
    FailingBatch,
    Failures,
    LateBatch,
    failing_batches,
    failures_of,
    how_many_late,
    late_sentence,
    so_far,
)
from helpers.records import ActiveBatch, step_call, step_in_cycle
from helpers.steps.claims import OpenChainRun, describe_hold, describe_wait, open_runs
from helpers.text import counted, shorten

StuckBatch: TypeAlias = tuple[ActiveBatch, Reconciliation]

_MOST = 50
_MOST_REASONS = 3


def what_waits(
    *,
    failing: Sequence[FailingBatch] | None = None,
    late: Sequence[LateBatch] | None = None,
    stuck: Sequence[StuckBatch] | None = None,
) -> Waiting:
    """Return what waits for a person, the urgent first.

    Batches that ended badly, next steps that failed or are held, batches of which jobs have failed
    so far, take far longer than usual or will not move by themselves, prepared ones that nobody
    submits, and statuses that are not ours. ``failing``, ``late`` and ``stuck`` are what a pass
    has found, and are looked for if they are None.
    """
    attention = queries("attention")
    with transaction():
        ended = attention.ended_badly(most=_MOST)
        failed = attention.failed_next_steps(most=_MOST)
        held = attention.held_steps(most=_MOST)
        prepared = attention.prepared_and_idle(most=_MOST)
        unrecognised = attention.unrecognised_batches(known=list(BatchStatus), most=_MOST)
        cycles = attention.unwatched_cycles(known=list(CycleStatus), most=_MOST)
        failing = failing_batches() if failing is None else failing
        late = late_batches() if late is None else late
        stuck = _stuck_batches() if stuck is None else stuck
        failures = failures_of([row["batch_id"] for row in [*ended, *failing][:_MOST]])
    limited = (ended, failed, held, unrecognised, cycles)
    others = [
        *(_failing_batch(batch, failures.get(batch["batch_id"])) for batch in failing),
        *map(_late_batch, late),
        *(_stuck_batch(batch, outcome) for batch, outcome in stuck),
        *map(_waiting_step, filter(_waits_in_vain, open_runs())),
        *map(_prepared, prepared),
    ]
    items = [
        *(_ended_batch(row, failures.get(row["batch_id"])) for row in ended),
        *map(_failed_step, failed),
        *others,
        *map(_held_step, held),
        *map(_unrecognised_batch, unrecognised),
        *map(_unwatched_cycle, cycles),
    ]
    total = sum(rows[0]["total"] for rows in limited if rows) + len(others)
    return Waiting(with_acknowledgements(items[:_MOST]), total)


def late_batches(jobs: Sequence[LateJob] | None = None) -> list[LateBatch]:
    """Return the watched batches with late jobs, the latest job of each batch first.

    ``jobs`` are those, if somebody has looked already; None looks for them.
    """
    jobs = find_late_jobs() if jobs is None else jobs
    late = {job.job_id: job for job in jobs}
    rows = list(queries("attention").late_jobs(job_ids=list(late))) if late else []
    found: dict[int, LateBatch] = {}
    for row in sorted(rows, key=lambda row: -late[row["job_id"]].seconds):
        batch = cast("LateBatch", {**row["batch"], "jobs": []})
        found.setdefault(row["batch_id"], batch)["jobs"].append(
            {
                "job_id": row["job_id"],
                "name": job_name(row["configuration"], row["request"]),
                "moodys_workflow_id": row["moodys_workflow_id"],
                "status": row["status"],
                "reason": late[row["job_id"]].text,
            }
        )
    return list(found.values())


def _stuck_batches() -> list[StuckBatch]:
    """Return the watched batches that need a person, each with what a pass would say of it."""
    looked_at = [(batch, look(batch["batch_id"])) for batch in get_active_batches()]
    return [(batch, outcome) for batch, outcome in looked_at if outcome.needs_attention]


def _ended_batch(row: Mapping[str, Any], failures: Failures | None) -> Item:
    since = f"{row['status']} since {clock_and_age(row['completed_ts'])}."
    return Item(
        ItemKind.ENDED,
        *_batch_names(row),
        " ".join(filter(None, [since, row["reason"], _why(failures)])),
        [row["status"], row["activation_num"]],
        Severity.ERROR,
        mend=f"plan_resubmit({row['batch_id']})",
    )


def _failing_batch(batch: FailingBatch, failures: Failures | None) -> Item:
    return Item(
        ItemKind.FAILING,
        *_batch_names(batch),
        " ".join(filter(None, [so_far(batch), _why(failures)])),
        [batch["activation_num"], batch["failed"]],
        Severity.ERROR,
        mend=f"plan_resubmit({batch['batch_id']})",
    )


def _why(failures: Failures | None) -> str:
    return failures.sentence(most=_MOST_REASONS) if failures else ""


def _late_batch(batch: LateBatch) -> Item:
    return Item(
        ItemKind.LATE,
        *_batch_names(batch),
        f"{how_many_late(batch)} {late_sentence(batch)} Look for the reason at Moody's.",
        [batch["activation_num"], sorted(job["job_id"] for job in batch["jobs"])],
        mend=f"plan_cancel({batch['batch_id']}, {[job['job_id'] for job in batch['jobs']]})",
    )


def _stuck_batch(batch: ActiveBatch, outcome: Reconciliation) -> Item:
    lines = outcome.attention or (outcome.reason,)
    return Item(
        ItemKind.STUCK,
        *_batch_names(batch),
        " ".join(lines),
        [batch["activation_num"], *(line.partition(":")[0] for line in lines)],
        mend=outcome.mend,
    )


def _waits_in_vain(run: OpenChainRun) -> bool:
    """Tell whether a next step waits for something that will not change by itself."""
    going_on = {BatchStatus.ACTIVE, BatchStatus.COMPLETED}
    return (
        run["cycle_status"] == CycleStatus.ACTIVE
        and not run["held_by"]
        and any(holder["batch_status"] not in going_on for holder in run["waits_for"])
    )


def _waiting_step(run: OpenChainRun) -> Item:
    step = run["cycle_name"], run["stage_num"], run["next_step_num"]
    return Item(
        ItemKind.STEP_WAITS,
        *_step_names("Next step", *step),
        f"{describe_wait(run['waits_for'])}. Correct that, or start it all the same.",
        [run["id"], run["waits_for"]],
        mend=step_call("release_step", *step),
    )


def _failed_step(row: Mapping[str, Any]) -> Item:
    reason = shorten(row["error_message"] or "no reason noted").rstrip(". ")
    step = row["cycle_name"], row["stage_num"], row["step_num"]
    return Item(
        ItemKind.STEP_FAILED,
        *_step_names("Next step", *step),
        f"failed at {clock_and_age(row['completed_ts'])}: {reason}. Correct the cause, and run it.",
        [row["completed_ts"]],
        Severity.ERROR,
        mend=step_call("plan_rerun", *step) if row["is_known"] else f"create_cycle({step[0]!r})",
    )


def _held_step(row: Mapping[str, Any]) -> Item:
    step = row["cycle_name"], row["stage_num"], row["step_num"]
    return Item(
        ItemKind.STEP_HELD,
        *_step_names("Step", *step),
        f"{describe_hold(row)}.",
        [row["held_ts"], row["held_because"]],
        mend=step_call("release_step", *step),
    )


def _prepared(row: Mapping[str, Any]) -> Item:
    step = f"{row['stage_num']}.{row['step_num']}"
    jobs = counted(row["jobs"], "prepared job")
    are = "is" if row["jobs"] == 1 else "are"
    return Item(
        ItemKind.PREPARED,
        *_cycle_names(row),
        f"{jobs} of step {step} {are} not submitted. Run the step's notebook.",
        [step, row["jobs"]],
        mend=step_call("plan_rerun", row["cycle_name"], row["stage_num"], row["step_num"]),
    )


def _unrecognised_batch(row: Mapping[str, Any]) -> Item:
    return Item(
        ItemKind.UNRECOGNISED,
        *_batch_names(row),
        f"{row['status']} is an unrecognised status; the batch was left unchanged. Let it be "
        "decided anew.",
        [row["status"]],
        mend=f"activate_batch({row['batch_id']})",
    )


def _unwatched_cycle(row: Mapping[str, Any]) -> Item:
    batches = counted(row["active_batches"], "active batch", "active batches")
    status = row["status"] or "without a status"
    return Item(
        ItemKind.UNRECOGNISED,
        *_cycle_names(row),
        f"The cycle is {status}, so nobody watches its {batches}: make it ACTIVE or ARCHIVED.",
        [status, row["active_batches"]],
    )


def _batch_names(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a batch as an item's subject, its cycle, and as lists name it."""
    step = step_in_cycle(row["cycle_name"], row["stage_num"], row["step_num"])
    about = f"Batch {row['batch_id']} ({row['batch_type']}, step {step})"
    return f"batch {row['batch_id']}", row["cycle_name"], about


def _step_names(what: str, cycle: str, stage: int, step: int) -> tuple[str, str, str]:
    """Return a step as an item's subject, its cycle, and as lists name it."""
    named = step_in_cycle(cycle, stage, step)
    return f"step {named}", cycle, f"{what} {named}"


def _cycle_names(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a cycle as an item's subject, itself, and as lists name it."""
    return f"cycle {row['cycle_name']}", row["cycle_name"], f"Cycle {row['cycle_name']}"
