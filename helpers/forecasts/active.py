"""Forecast the ACTIVE batches, and find the jobs that take far longer than usual.

The decisions are those of ``helpers.forecasting``. Nothing here asks Moody's or changes a job.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.forecasting import BatchForecast, BatchState, History, Job, JobForecast, job_size
from helpers.forecasts.history import read_history
from helpers.forecasts.late import LateJob, SeenJobs, late_jobs
from helpers.settings import monitor_interval

_FINISHED = [JobStatus.FINISHED.value]
_RUNNING = [JobStatus.RUNNING.value]
_WAITING = [JobStatus.SUBMITTED.value, JobStatus.PENDING.value, JobStatus.QUEUED.value]


@dataclass(frozen=True)
class ActiveForecast:
    """What is forecast of one ACTIVE batch, and of its running and waiting jobs by their ids."""

    batch: BatchForecast
    jobs: dict[int, JobForecast]
    late: list[LateJob]  # its jobs that take far longer than usual
    seen: SeenJobs


def forecast_active() -> dict[int, ActiveForecast]:
    """Forecast the ACTIVE batches of which Moody's has a job, by batch id; nothing is written."""
    with transaction():
        batches = open_batches()
        history, seen = _history(batches), list(_seen(batches))
    if not seen:
        return {}
    # A pass that forecasts nothing does not pay for loading numpy.
    from helpers.forecasting.batches import forecast_batches  # noqa: PLC0415
    from helpers.forecasting.jobs import forecast_jobs  # noqa: PLC0415

    forecasts = forecast_batches(history, [jobs.state for jobs in seen])
    return {
        jobs.batch["batch_id"]: ActiveForecast(
            forecast,
            dict(zip(jobs.open_ids, forecast_jobs(history, jobs.state), strict=True)),
            _late(history, jobs),
            jobs,
        )
        for jobs, forecast in zip(seen, forecasts, strict=True)
    }


def find_late_jobs() -> list[LateJob]:
    """Return the jobs that ``forecast_active`` would find late; nothing is written."""
    with transaction():
        batches = open_batches()
        history = _history(batches)
        return [job for jobs in _seen(batches) for job in _late(history, jobs)]


def _late(history: History, jobs: SeenJobs) -> list[LateJob]:
    return late_jobs(history, jobs, pass_seconds=monitor_interval().total_seconds())


def _history(batches: Sequence[Mapping[str, Any]]) -> History:
    return (
        read_history(sorted({batch["batch_type"] for batch in batches})) if batches else History()
    )


def _seen(batches: Sequence[Mapping[str, Any]]) -> Iterator[SeenJobs]:
    """Give the jobs of each of these batches; the rows of one at a time are held."""
    by_id = {batch["batch_id"]: batch for batch in batches}
    rows = queries("forecasts").each(
        "jobs", batch_ids=list(by_id), finished=_FINISHED, waiting=_WAITING, running=_RUNNING
    )
    for batch_id, of in groupby(rows, key=itemgetter("batch_id")):
        yield _jobs_seen(by_id[batch_id], list(of))


def open_batches() -> list[dict[str, Any]]:
    """Return the ACTIVE batches of which Moody's has a job."""
    return list(queries("forecasts").open_batches(waiting=_WAITING, running=_RUNNING))


def _jobs_seen(batch: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> SeenJobs:
    finished, running, waiting = (
        [row for row in rows if row["status"] in statuses]
        for statuses in (_FINISHED, _RUNNING, _WAITING)
    )
    sizes = {row["job_id"]: job_size(row["configuration"], row["members"]) for row in rows}

    def jobs(of: Sequence[Mapping[str, Any]], column: str = "seconds") -> list[Job]:
        return [Job(_seconds(row[column]), sizes[row["job_id"]]) for row in of]

    return SeenJobs(
        batch,
        BatchState(batch["batch_type"], jobs(finished), jobs(running), jobs(waiting)),
        running_ids=[row["job_id"] for row in running],
        waiting_ids=[row["job_id"] for row in waiting],
        finished_stills=jobs([row for row in finished if row["still"]], "still"),
        running_stills=jobs(running, "still"),
        ended_ago=[_seconds(row["ended_ago"]) for row in finished],
    )


def _seconds(value: float | None) -> float:
    """Return how long a job took, has run or has waited; nothing if its times make no sense."""
    return value if value is not None and 0 < value < math.inf else 0.0
