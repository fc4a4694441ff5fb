"""What is amiss with the watch itself: batches that nobody polls, or nothing to watch."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from helpers.constants import BatchType, JobStatus
from helpers.database import queries
from helpers.display import clock, duration
from helpers.text import listed

_MISSED_INTERVALS = 3  # so long without a poll means that nobody watches the batch
_MOST_UNPOLLED = 5


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
