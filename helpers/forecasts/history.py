"""Keep what forecasts stand on: how long jobs took, waited, and went without progress.

The decisions are those of ``helpers.forecasting``. Nothing here asks Moody's or changes a job.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.forecasting import History, Interval, KindHistory, PastJob, Record, job_size, miss
from helpers.forecasting.history import KEPT_ERRORS, KEPT_SAMPLES

_DECIMALS = 6  # of stored logs
_FINISHED = [JobStatus.FINISHED.value]


class Measure(StrEnum):
    """What of a job is measured in seconds."""

    RUNNING = "running"
    WAITING = "waiting"  # at Moody's, before it runs
    STILL = "still"  # the longest time while it ran in which its progress was the same


def refresh(batch_types: Sequence[str]) -> None:
    """Replace the stored histories of these types by those of their last jobs."""
    from helpers.forecasting.learning import learn  # noqa: PLC0415 - brings numpy

    past: dict[Measure, dict[str, list[PastJob]]] = {measure: {} for measure in Measure}
    for batch_type in batch_types:
        for measure, jobs in _past_jobs(batch_type).items():
            past[measure][batch_type] = jobs
    for measure, of in past.items():
        for batch_type, kind in learn(of, log=History().log).items():
            classes = {key or "": points for key, points in kind.classes.items()}
            queries("forecasts").store_history(
                batch_type=batch_type,
                measure=measure,
                samples=kind.samples,
                classes=json.dumps(_rounded(classes)),
                record=json.dumps(_rounded(asdict(kind.record))),
            )


def _past_jobs(batch_type: str) -> dict[Measure, list[PastJob]]:
    """Return the last finished jobs of a type, as far as each measure of them is known."""
    rows = queries("forecasts").past_jobs(
        batch_type=batch_type, finished=_FINISHED, most=KEPT_SAMPLES
    )
    jobs: dict[Measure, list[PastJob]] = {measure: [] for measure in Measure}
    for row in rows:
        batch_id, ended = row["batch_id"], row["ended"]
        size = job_size(row["configuration"], row["members"])
        started = row["submitted"] if row["started"] is None else row["started"]
        if started <= ended:
            jobs[Measure.RUNNING].append(PastJob(batch_id, started, ended, size))
        if row["started"] is not None and row["submitted"] <= started:
            jobs[Measure.WAITING].append(PastJob(batch_id, row["submitted"], started, size))
        if row["still"]:
            jobs[Measure.STILL].append(PastJob(batch_id, ended - row["still"], ended, size))
    return jobs


def _rounded(value: Any) -> Any:
    """Return JSON of the same shape, with numbers as exact as they can matter."""
    if isinstance(value, dict):
        return {str(key): _rounded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(member) for member in value]
    return round(value, _DECIMALS)


def read_history(batch_types: Sequence[str]) -> History:
    """Return what is known of these types, and how the last forecasts of batches came out."""
    with transaction():
        rows = list(queries("forecasts").histories(batch_types=list(batch_types)))
        outcomes = queries("forecasts").outcomes(most=KEPT_ERRORS)
    misses: dict[int, list[float]] = defaultdict(list)
    for row in outcomes:
        drawn = Interval(row["low"], row["low"], row["high"])
        misses[row["stage"]].append(miss(drawn, row["actual"]))
    kinds = {
        measure: {row["batch_type"]: _kind(row) for row in rows if row["measure"] == measure}
        for measure in Measure
    }
    return History(
        kinds[Measure.RUNNING],
        waits=kinds[Measure.WAITING],
        stills=kinds[Measure.STILL],
        misses=misses,
    )


def _kind(row: Mapping[str, Any]) -> KindHistory:
    record = row["record"]
    return KindHistory(
        row["samples"],
        {int(key) if key else None: points for key, points in row["classes"].items()},
        Record(
            errors=tuple(tuple(errors) for errors in record["errors"]),
            level=record["level"],
            effects=tuple(record["effects"]),
            within=tuple(record["within"]),
            margin=record["margin"],
        ),
    )
