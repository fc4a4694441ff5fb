"""What a plan sees of a batch and its jobs, and what has changed since."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from helpers.batch.reading import read_batch
from helpers.constants import BatchStatus, CycleStatus
from helpers.database import queries
from helpers.display import clock
from helpers.errors import BatchError
from helpers.job_names import job_name
from helpers.records import Batch, is_id
from helpers.steps.rules import fired_rule
from helpers.text import one_line


@dataclass(frozen=True)
class SeenJob:
    """A job as a plan saw it. What is compared before the plan is applied is what it rests on."""

    job_id: int
    status: str
    skipped: bool
    moodys_id: str | None
    has_key: bool  # a submission was tried: Moody's may have accepted it
    configuration_id: int | None
    request: Any = field(compare=False)
    configuration: Any = field(compare=False)
    reason: str | None = field(compare=False)  # why it failed

    @property
    def name(self) -> str | None:
        """What people call it."""
        return job_name(self.configuration, self.request)

    @property
    def known_as(self) -> str:
        """Its name first, and its ids."""
        known_as = [f"job {self.job_id}", f"Moody's {self.moodys_id}" if self.moodys_id else ""]
        ids = ", ".join(filter(None, known_as))
        return f"{self.name} ({ids})" if self.name else ids

    @property
    def cause(self) -> str:
        """Why it failed, in one line; empty if nobody said."""
        return one_line(self.reason or "")


def seen_jobs(batch_id: int) -> list[SeenJob]:
    """Return the jobs of a batch as a plan sees them, in the order in which they were made."""
    return [SeenJob(**row) for row in queries("mending").jobs_seen(batch_id=batch_id)]


def chosen_jobs(
    batch_id: int, job_ids: Collection[int] | None, *, by_default: Collection[str]
) -> list[SeenJob]:
    """Return the named jobs; without names those in these statuses, except for skipped ones.

    Raises:
        BatchError: a job does not belong to the batch.
    """
    jobs = seen_jobs(batch_id)
    if job_ids is None:
        return [job for job in jobs if not job.skipped and job.status in by_default]
    if isinstance(job_ids, int | str):
        raise BatchError(f"Jobs are given as a list: [{job_ids!r}].", batch_id=batch_id)
    known = {job.job_id for job in jobs}
    strangers = [job_id for job_id in job_ids if not is_id(job_id) or job_id not in known]
    if strangers:
        raise BatchError(
            f"Batch {batch_id} has no job {', '.join(map(repr, strangers))}.", batch_id=batch_id
        )
    return [job for job in jobs if job.job_id in set(job_ids)]


def open_batch(batch_id: int) -> Batch:
    """Return a batch that a person may act on.

    Raises:
        BatchError: there is no such batch, or its cycle is not ACTIVE.
    """
    batch = read_batch(batch_id)
    if batch["cycle_status"] != CycleStatus.ACTIVE:
        raise BatchError(
            f"Batch {batch_id} belongs to cycle {batch['cycle_name']}, which is "
            f"{batch['cycle_status']}: nobody would watch it.",
            batch_id=batch_id,
        )
    return batch


def has_ended(batch: Batch) -> bool:
    """Tell whether a batch is no longer watched, so that acting on it activates it again."""
    return batch["status"] not in {BatchStatus.INITIATED, BatchStatus.ACTIVE}


def changes_since(batch: Batch, jobs: Sequence[SeenJob]) -> list[str]:
    """Return what has changed of a batch and these jobs, a line each; empty if nothing has."""
    found = list(_batch_changes(batch, read_batch(batch["batch_id"])))
    now = {job.job_id: job for job in seen_jobs(batch["batch_id"])}
    return found + [line for job in jobs if (line := _job_change(job, now.get(job.job_id)))]


def _batch_changes(was: Batch, is_now: Batch) -> Iterator[str]:
    if (was["status"], was["activation_num"]) != (is_now["status"], is_now["activation_num"]):
        yield (
            f"batch {was['batch_id']} is {is_now['status']} (attempt "
            f"{is_now['activation_num']}) and was {was['status']} ({was['activation_num']})"
        )
    if was["cycle_status"] != is_now["cycle_status"]:
        yield f"cycle {was['cycle_name']} is {is_now['cycle_status']}"


def _job_change(was: SeenJob, is_now: SeenJob | None) -> str:
    if is_now is None:
        return f"{was.known_as} is gone"
    if was == is_now:
        return ""
    skipped = ", skipped" if is_now.skipped and not was.skipped else ""
    return f"{was.known_as} is {is_now.status}{skipped} and was {was.status}"


def consequences(batch: Batch) -> list[str]:
    """Return what follows from making a batch ACTIVE again, a line each."""
    lines = []
    if has_ended(batch):
        lines.append(
            f"Batch {batch['batch_id']} becomes ACTIVE again (attempt "
            f"{batch['activation_num'] + 1}), and the next pass decides it anew."
        )
    rule, _ = fired_rule(batch, BatchStatus.COMPLETED)
    if rule is None:
        return lines
    run = queries("mending").last_run_of_next_step(
        batch_id=batch["batch_id"], next_step_num=rule.next_step_num
    )
    when = sorted(status.value for status in rule.fires_on)
    step = f"step {batch['stage_num']}.{rule.next_step_num}"
    again = f", which ran last {clock(run['started_ts'])}" if run and run["started_ts"] else ""
    return [*lines, f"When the batch ends as {' or '.join(when)}, {step} starts{again}."]
