"""Which jobs a pass asks Moody's about, in which order, and which of its APIs knows them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict

from helpers.constants import JobStatus
from helpers.database import queries


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


def jobs_to_poll(batch_ids: Collection[int]) -> list[JobToPoll]:
    """Return the jobs of these batches that may still move, longest unasked first."""
    rows = queries("recording").jobs_to_poll(
        batch_ids=list(batch_ids), terminal=list(JobStatus.terminal())
    )
    return [row for row in rows if row["status"] in set(JobStatus)]


def note_legacy_ids(batch_ids: Collection[int]) -> None:
    """Remember that ids of these batches are known to Moody's older API."""
    queries("recording").note_legacy_ids(batch_ids=list(batch_ids))
