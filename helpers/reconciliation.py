"""Decide what a batch is, from counts of its jobs and configurations. Pure.

The priorities decide among terminal jobs only: while one job still runs, the batch stays
ACTIVE. Otherwise it would leave the watch at its first failure, its other jobs would never
be asked about again, and a chain that fires on FAILED would summarise a half-run analysis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from helpers.constants import BatchStatus, BatchType, JobStatus, unknown_batch_type
from helpers.text import counted, listed


@dataclass(frozen=True)
class BatchFacts:
    """What is counted of a batch. "Skipped" rows are left out except where it says total."""

    total_jobs: int
    non_skipped_jobs: int
    job_status_counts: dict[str, int]  # by label, skipped jobs under "SKIPPED"
    failed_job_ids: list[int]
    cancelled_job_ids: list[int]
    error_job_ids: list[int]
    total_configs: int
    non_skipped_configs: int
    fulfilled_configs: int  # with a FINISHED job
    unfulfilled_config_ids: list[int]

    @property
    def open_counts(self) -> dict[str, int]:
        """Jobs that are not terminal, by label."""
        terminal = {status.value for status in JobStatus.terminal()} | {"SKIPPED"}
        return {k: n for k, n in sorted(self.job_status_counts.items()) if k not in terminal}

    def summary(self) -> dict[str, Any]:
        """Return what the reconciliation log has always held of it."""
        return {
            "total_configs": self.total_configs,
            "non_skipped_configs": self.non_skipped_configs,
            "fulfilled_configs": self.fulfilled_configs,
            "unfulfilled_configs": len(self.unfulfilled_config_ids),
            "unfulfilled_config_ids": self.unfulfilled_config_ids,
            "total_jobs": self.total_jobs,
            "non_skipped_jobs": self.non_skipped_jobs,
            "job_status_counts": self.job_status_counts,
            "failed_job_ids": self.failed_job_ids,
            "cancelled_job_ids": self.cancelled_job_ids,
            "error_job_ids": self.error_job_ids,
        }


@dataclass(frozen=True)
class Decision:
    """What a batch is, why, and whether it will stay so until a person does something."""

    status: BatchStatus
    reason: str
    needs_attention: bool = False


def decide(facts: BatchFacts) -> Decision:  # noqa: PLR0911 - one return per row of the table
    """Return what a batch is; the first row of the decision table that applies."""
    jobs = facts.non_skipped_jobs
    if jobs == 0 and facts.non_skipped_configs == 0:
        return Decision(BatchStatus.COMPLETED, "Nothing to do: the batch is empty.")
    if facts.open_counts:
        return Decision(BatchStatus.ACTIVE, _progress(facts))
    if jobs and len(facts.cancelled_job_ids) == jobs:
        return Decision(BatchStatus.CANCELLED, f"All {counted(jobs, 'job')} cancelled.")
    # Counted, not named: whoever shows this names the jobs beside it, with their reasons.
    of_jobs = f"of {counted(jobs, 'job')}"
    if errors := len(facts.error_job_ids):
        return Decision(BatchStatus.ERROR, f"{errors:,} {of_jobs} not submitted.")
    if failed := len(facts.failed_job_ids):
        return Decision(BatchStatus.FAILED, f"{failed:,} {of_jobs} failed.")
    if not facts.unfulfilled_config_ids:
        return Decision(BatchStatus.COMPLETED, f"{counted(jobs, 'job')} done.")
    return Decision(BatchStatus.ACTIVE, _unfulfilled(facts), needs_attention=True)


def _progress(facts: BatchFacts) -> str:
    """Say how many jobs run, wait or are not submitted, and how many have already failed."""
    waiting = ", ".join(f"{n} {label.lower()}" for label, n in facts.open_counts.items())
    failed = len(facts.failed_job_ids) + len(facts.error_job_ids)
    done = facts.job_status_counts.get(JobStatus.FINISHED, 0)
    parts = [waiting, f"{done} of {facts.non_skipped_jobs} finished"]
    return "; ".join(parts + ([f"{failed} already failed"] if failed else [])) + "."


def _unfulfilled(facts: BatchFacts) -> str:
    ids = facts.unfulfilled_config_ids
    named = listed(ids)
    one = len(ids) == 1
    if not facts.total_jobs:
        why = "it has no job" if one else "they have no job"
    elif not facts.non_skipped_jobs:
        why = "every job is skipped"
    else:
        why = f"no job of {'it' if one else 'theirs'} has finished"
    return (
        f"No success for {'configuration' if one else 'configurations'} {named}: {why}. "
        f"Resubmit {'it' if one else 'them'}, or skip "
        f"{'the configuration' if one else 'the configurations'}."
    )


class StuckJob(TypedDict):
    """A job that is not terminal, with Moody's last answer about it."""

    job_id: int
    status: str
    moodys_workflow_id: str | None
    updated_ts: datetime | None
    last_status: str | None
    error_message: str | None
    http_status: int | None
    was_sent: bool  # its submission was tried
    is_prepared: bool  # it has a request to submit
    last_error: str | None
    total: int


# Four hours is longer than a production queue was seen to hold a job, and thirty times the slowest
# run is far longer than work takes; that is less for all other types: 19 s (EDM DB Upgrade) to
# 456 s (MRI Import) were seen.
_PATIENCE_AT_LEAST = timedelta(hours=4)
_SLOWEST_SEEN = {
    BatchType.GEOHAZ: timedelta(seconds=513),
    BatchType.ANALYSIS: timedelta(seconds=501),
}


def patience(batch_type: str) -> timedelta:
    """Return how long a job of this type may show no change before people are told."""
    far_longer = [30 * seen for kind, seen in _SLOWEST_SEEN.items() if kind == batch_type]
    return max([_PATIENCE_AT_LEAST, *far_longer])


def stuck_lines(jobs: Sequence[StuckJob], *, batch_type: str) -> list[str]:
    """Return one line per job that will not move by itself; what several have in common, once."""
    lines: list[str] = []
    names: dict[str, list[str]] = {}
    for job in jobs:
        problem = _unrecognised(job["status"]) or _problem(job, batch_type)
        if problem is None:
            lines.append(f"Job {job['job_id']}{_silence(job, batch_type)}")
        else:
            names.setdefault(problem, []).append(f"Job {job['job_id']}")
    return lines + [f"{listed(named)}: {problem}" for problem, named in names.items()]


def _unrecognised(status: str) -> str | None:
    if status in set(JobStatus):
        return None
    known = ", ".join(JobStatus)
    return f"{status} is an unrecognised status; the job is not polled. Set it to one of {known}."


def _problem(job: StuckJob, batch_type: str) -> str | None:
    """Return what keeps a job from moving, if others may have the same problem; else None."""
    is_of_moodys = job["is_prepared"] or job["was_sent"] or job["moodys_workflow_id"] is not None
    if is_of_moodys and BatchType.known(batch_type) is None:
        return (
            f"neither submitted nor polled. {unknown_batch_type(batch_type)} Correct the type of "
            "this batch in irp_batch."
        )
    status = job["last_status"]
    if job["moodys_workflow_id"] is None:
        if not job["was_sent"]:
            return None
        # Skipping it could leave a job at Moody's that nobody watches.
        return f"{job['last_error'] or 'its submission was cut off.'} Submit its batch again."
    if status in JobStatus.of_moodys():
        return None
    if job["error_message"] or status is None:
        return job["error_message"]
    return f"Moody's says {status!r}, an unrecognised status; the job was left unchanged."


def _silence(job: StuckJob, batch_type: str) -> str:
    if job["moodys_workflow_id"] is not None:
        hours = patience(batch_type) // timedelta(hours=1)
        return f" has been {job['status']} for over {hours} hours: look at it at Moody's."
    if job["is_prepared"] or BatchType.known(batch_type) in BatchType.polled():
        return " was never submitted: submit its batch again, or skip it."
    return " is not done: run the step's notebook again, or skip it."
