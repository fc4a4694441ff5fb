"""What failed in a batch or is late, and why: told in one way on cards, boards and in summaries.

Jobs are told by name, with Moody's id beside it, together if they failed for the same reason;
the first of them by name, all of them by number.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.database import queries
from helpers.job_names import job_name
from helpers.records import Location
from helpers.text import counted, shorten

_NAMED_JOBS = 8
_NAMED_LATE = 4
_MOST_REASONS = 10
_LONGEST_REASON = 400  # in a sentence
_NO_REASON = "No reason was given."


@dataclass(frozen=True)
class Failure:
    """Jobs that ended badly for one reason."""

    status: str
    reason: str
    jobs: int
    named: tuple[str, ...]  # the first of them

    @property
    def who(self) -> str:
        """The jobs, as people know them."""
        more = self.jobs - len(self.named)
        shown = ", ".join(self.named)
        return f"{shown} and {more:,} more" if more > 0 else shown


@dataclass(frozen=True)
class Failures:
    """What failed in one batch."""

    jobs: list[dict[str, Any]]  # the first of each reason, fit to be stored with an event
    total: int

    @property
    def groups(self) -> tuple[Failure, ...]:
        """Each reason with its jobs."""
        return grouped(self.jobs)

    @property
    def left_out(self) -> int:
        """How many jobs stand in no group."""
        return self.total - sum(group.jobs for group in self.groups)

    def sentence(self, *, most: int) -> str:
        """Return ``A (Moody's 900): “EDM not found”; B: “…”; 2 more jobs``, as one sentence."""
        shown = self.groups[:most]
        parts = [f"{g.who}: “{shorten(g.reason, _LONGEST_REASON)}”" for g in shown]
        left = self.total - sum(group.jobs for group in shown)
        sentence = "; ".join([*parts, *([counted(left, "more job")] if left > 0 else [])])
        return sentence if sentence.endswith((".”", "!”", "?”")) else f"{sentence}."


class UnfinishedBatch(Location):
    """An ACTIVE batch that people hear of before it ends."""

    batch_id: int
    batch_type: str
    activation_num: int
    notebook_path: str | None
    is_announced: bool


class FailingBatch(UnfinishedBatch):
    """One of which jobs have failed while others are open: how many are what."""

    jobs: int
    failed: int
    cancelled: int
    open: int


class LateBatch(UnfinishedBatch):
    """One of which jobs take far longer than usual."""

    jobs: list[dict[str, Any]]  # as those of failures, the latest first


def failing_batches() -> list[FailingBatch]:
    """Return the watched batches of which jobs have failed while others are open."""
    return list(queries("failures").failing_batches())


def so_far(batch: FailingBatch) -> str:
    """Say how many jobs of a batch have failed or were cancelled, and how many are open."""
    of = f"{batch['failed']:,} of {counted(batch['jobs'], 'job')}"
    have = "has" if batch["failed"] == 1 else "have"
    were = counted(batch["cancelled"], "was", "were")
    cancelled = f", {were} cancelled" if batch["cancelled"] else ""
    are = "is" if batch["open"] == 1 else "are"
    return f"{of} {have} failed so far{cancelled}; {batch['open']:,} {are} still open."


def how_many_late(batch: LateBatch) -> str:
    """Say how many jobs take far longer than usual."""
    jobs = batch["jobs"]
    return f"{counted(len(jobs), 'job takes', 'jobs take')} far longer than usual."


def late_sentence(batch: LateBatch) -> str:
    """Return ``A (Moody's 900): running for 5 h, usually 20 min; 2 more jobs.``."""
    shown = batch["jobs"][:_NAMED_LATE]
    parts = [f"{name}: {job['reason']}" for name, job in zip(known_as(shown), shown, strict=True)]
    more = len(batch["jobs"]) - len(shown)
    return f"{'; '.join([*parts, *([counted(more, 'more job')] if more else [])])}."


def failures_of(batch_ids: Collection[int]) -> dict[int, Failures]:
    """Return what failed in each of these batches; those in which nothing did are left out."""
    rows = list(
        queries("failures").first_of_each_reason(
            batch_ids=list(batch_ids), most=_NAMED_JOBS, most_reasons=_MOST_REASONS
        )
    )
    found: dict[int, Failures] = {}
    for row in rows:
        failures = found.setdefault(row["batch_id"], Failures([], row["total"]))
        failures.jobs.append(
            {
                "job_id": row["job_id"],
                "name": job_name(row["configuration"], row["request"]),
                "moodys_workflow_id": row["moodys_workflow_id"],
                "status": row["status"],
                "reason": row["reason"],
                "alike": row["alike"],
            }
        )
    return found


def grouped(jobs: Iterable[Mapping[str, Any]]) -> tuple[Failure, ...]:
    """Return each reason once, with the jobs that gave it, in the order of the jobs."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for job in jobs:
        groups.setdefault((job["status"], job["reason"] or _NO_REASON), []).append(job)
    return tuple(
        Failure(status, reason, max(len(alike), alike[0].get("alike", 0)), tuple(known_as(alike)))
        for (status, reason), alike in groups.items()
    )


def known_as(jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Give the jobs by name; by number if none of them has one."""
    has_names = any(job.get("name") for job in jobs)
    noun = "job " if has_names else "Job " if len(jobs) == 1 else "Jobs "
    for job in jobs[:_NAMED_JOBS]:
        moodys_id = job["moodys_workflow_id"]
        # An event of an older version says what the job was made from.
        beside = [job.get("made_from", ""), f"Moody's {moodys_id}" if moodys_id else ""]
        more = "; ".join(filter(None, beside))
        known = job.get("name") or f"{noun}{job['job_id']}"
        yield f"{known} ({more})" if more else str(known)
        noun = noun if has_names else ""
