"""Which jobs a pass asks Moody's about, which of its APIs knows them, and how fast it may ask."""

import math
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from helpers.constants import Family, JobStatus
from helpers.database import queries
from helpers.irp_integration.health import SearchProblem
from helpers.irp_integration.pace import Pace

_FORGET_AFTER = timedelta(days=1)
_TRY_AGAIN_AFTER = timedelta(hours=1)


class JobToPoll(TypedDict):
    """A job that a pass asks about, or would if it had been submitted."""

    job_id: int
    batch_id: int
    batch_type: str
    workflow_id: str | None
    status: str
    is_legacy: bool  # ids of its batch are known to Moody's older API
    is_silent: bool  # for an hour, neither its status has changed nor was it read by id
    read_ts: datetime | None


def each_job_to_poll(batch_ids: Collection[int]) -> Iterator[JobToPoll]:
    """Give the jobs of these batches that may still move, longest unasked first.

    One by one: a hundred thousand at once would take the memory of all else.
    """
    known = set(JobStatus)
    rows = queries("recording").each(
        "jobs_to_poll", batch_ids=list(batch_ids), terminal=list(JobStatus.terminal())
    )
    for row in rows:
        if row["status"] in known:
            yield row


def note_legacy_ids(batch_ids: Collection[int]) -> None:
    """Remember that ids of these batches are known to Moody's older API."""
    queries("recording").note_legacy_ids(batch_ids=list(batch_ids))


def searchable_families() -> frozenset[Family]:
    """Return the families whose search may be tried: all but those that were of no use lately."""
    rows = queries("recording").families_not_searched(forget_after=_TRY_AGAIN_AFTER)
    return frozenset(Family) - {row["family"] for row in rows}


def remember_search_problems(problems: Mapping[Family, SearchProblem]) -> None:
    """Remember which searches are not to be tried for a while.

    A search that is known to work is tried again at once after a mere failure.
    """
    useless = {
        family: problem.text
        for family, problem in problems.items()
        if problem.is_wrong or not family.search_is_proven
    }
    queries("recording").remember_search_problems(
        families=list(useless), problems=list(useless.values())
    )


def remembered_paces(*, most: int) -> dict[Family, Pace]:
    """Return how fast each family was asked in the last pass, if that is not long ago.

    Args:
        most: requests at once, whatever was learned.
    """
    rows = list(queries("recording").paces(forget_after=_FORGET_AFTER))
    return {
        Family(row["family"]): Pace(
            most,
            window=min(row["at_once"], most),
            rate=row["per_second"] or math.inf,
            is_limited=row["at_once_is_limit"],
            calm_seconds=row["calm_seconds"],
        )
        for row in rows
        if row["family"] in set(Family)
    }


def remember_paces(paces: Mapping[Family, Pace]) -> None:
    """Remember how fast families were asked; those that have not answered taught nothing."""
    learned = {family: pace for family, pace in paces.items() if pace.has_answered}
    queries("recording").remember_paces(
        families=list(learned),
        at_once=[float(pace.window) for pace in learned.values()],
        limits=[pace.is_limited for pace in learned.values()],
        calm_seconds=[pace.calm_seconds for pace in learned.values()],
        per_second=[pace.rate if math.isfinite(pace.rate) else None for pace in learned.values()],
    )
