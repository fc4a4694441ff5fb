"""Forecasts of the metastore's batches: made, kept, and judged when their batch has ended.

The decisions are those of ``helpers.forecasting``. Nothing here asks Moody's or changes a job.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.forecasting import (
    BatchForecast,
    BatchState,
    History,
    Interval,
    Job,
    JobForecast,
    KindHistory,
    Outcome,
    PastJob,
    Record,
    job_size,
    miss,
)
from helpers.forecasting.history import KEPT_ERRORS, KEPT_SAMPLES

_LATELY = 400
_DECIMALS = 6  # of stored logs
_FINISHED = [JobStatus.FINISHED.value]
_RUNNING = [JobStatus.RUNNING.value]
_WAITING = [JobStatus.SUBMITTED.value, JobStatus.PENDING.value, JobStatus.QUEUED.value]


@dataclass(frozen=True)
class ActiveForecast:
    """What is forecast of one ACTIVE batch, and of its running and waiting jobs by their ids."""

    activation_num: int
    batch: BatchForecast
    jobs: dict[int, JobForecast]
    overruns: list[int]  # ids of running jobs that take far longer than any of the batch


def store_forecasts() -> None:
    """Judge the forecasts whose batches have ended, refresh the history, and forecast anew.

    A batch keeps one forecast an hour; those without a number say why.
    """
    with transaction():
        queries("forecasts").judge()
        queries("forecasts").forget_unjudgeable()
        batch_types = {batch["batch_type"] for batch in _open_batches()}
    if not batch_types:
        return  # and numpy is not imported
    _refresh(sorted(batch_types))
    made = forecast_active(pass_seconds=0.0)
    with transaction():
        for batch_id, active in made.items():
            queries("forecasts").store_forecast(
                batch_id=batch_id,
                activation_num=active.activation_num,
                **_columns(active.batch),
            )


def forecast_active(*, pass_seconds: float) -> dict[int, ActiveForecast]:
    """Forecast the ACTIVE batches of which Moody's has a job, by batch id; nothing is written.

    Args:
        pass_seconds: how often a pass looks; a job is two passes old before it is an overrun.
    """
    with transaction():
        batches = _open_batches()
        if not batches:
            return {}
        rows = _jobs([batch["batch_id"] for batch in batches])
        history = _history(sorted({batch["batch_type"] for batch in batches}))
    # A pass that forecasts nothing does not pay for loading numpy.
    from helpers.forecasting.batches import find_overruns, forecast_batches  # noqa: PLC0415
    from helpers.forecasting.jobs import forecast_jobs  # noqa: PLC0415

    states = [_state(batch["batch_type"], rows.get(batch["batch_id"], [])) for batch in batches]
    found = {}
    forecasts = forecast_batches(history, states)
    for batch, state, forecast in zip(batches, states, forecasts, strict=True):
        of = rows.get(batch["batch_id"], [])
        running = [row["job_id"] for row in of if row["status"] in _RUNNING]
        waiting = [row["job_id"] for row in of if row["status"] in _WAITING]
        overruns = find_overruns(history, state, pass_seconds=pass_seconds)
        found[batch["batch_id"]] = ActiveForecast(
            batch["activation_num"],
            forecast,
            dict(zip(running + waiting, forecast_jobs(history, state), strict=True)),
            [running[position] for position in overruns],
        )
    return found


def held_lately(*, most: int = _LATELY) -> tuple[int, int]:
    """Return how many of the last forecasts held, and how many those are: their batches ended."""
    row = queries("forecasts").held_lately(most=most)
    return row["held"], row["total"]


def _open_batches() -> list[dict[str, Any]]:
    return list(queries("forecasts").open_batches(waiting=_WAITING, running=_RUNNING))


def _jobs(batch_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the jobs of each batch that count, in the order of their ends or starts."""
    rows = queries("forecasts").jobs(
        batch_ids=list(batch_ids), finished=_FINISHED, waiting=_WAITING, running=_RUNNING
    )
    return {key: list(of) for key, of in groupby(rows, key=lambda row: row["batch_id"])}


def _state(batch_type: str, rows: Sequence[Mapping[str, Any]]) -> BatchState:
    def jobs(statuses: list[str]) -> list[Job]:
        return [
            Job(_seconds(row["seconds"]), job_size(row["configuration"], row["members"]))
            for row in rows
            if row["status"] in statuses
        ]

    return BatchState(batch_type, jobs(_FINISHED), jobs(_RUNNING), jobs(_WAITING))


def _seconds(value: float | None) -> float:
    """Return how long a job took, has run or has waited; nothing if its times make no sense."""
    return value if value is not None and 0 < value < math.inf else 0.0


def _refresh(batch_types: Sequence[str]) -> None:
    """Replace the stored histories of these types by those of their last jobs."""
    from helpers.forecasting.learning import learn  # noqa: PLC0415 - brings numpy

    runs: dict[str, list[PastJob]] = {}
    waits: dict[str, list[PastJob]] = {}
    for batch_type in batch_types:
        runs[batch_type], waits[batch_type] = _past_jobs(batch_type)
    for is_wait, jobs in ((False, runs), (True, waits)):
        for batch_type, kind in learn(jobs, log=History().log).items():
            classes = {key or "": of for key, of in kind.classes.items()}
            queries("forecasts").store_history(
                batch_type=batch_type,
                is_wait=is_wait,
                samples=kind.samples,
                classes=json.dumps(_rounded(classes)),
                record=json.dumps(_rounded(asdict(kind.record))),
            )


def _past_jobs(batch_type: str) -> tuple[list[PastJob], list[PastJob]]:
    """Return the last finished jobs of a type, and those whose waiting is known as well."""
    rows = queries("forecasts").past_jobs(
        batch_type=batch_type, finished=_FINISHED, most=KEPT_SAMPLES
    )
    runs, waits = [], []
    for row in rows:
        batch_id, size = row["batch_id"], job_size(row["configuration"], row["members"])
        started = row["submitted"] if row["started"] is None else row["started"]
        if started <= row["ended"]:
            runs.append(PastJob(batch_id, started, row["ended"], size))
        if row["started"] is not None and row["submitted"] <= started:
            waits.append(PastJob(batch_id, row["submitted"], started, size))
    return runs, waits


def _rounded(value: Any) -> Any:
    """Return JSON of the same shape, with numbers as exact as they can matter."""
    if isinstance(value, dict):
        return {str(key): _rounded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(member) for member in value]
    return round(value, _DECIMALS)


def _history(batch_types: Sequence[str]) -> History:
    with transaction():
        rows = queries("forecasts").histories(batch_types=list(batch_types))
        outcomes = queries("forecasts").outcomes(most=KEPT_ERRORS)
    misses: dict[int, list[float]] = defaultdict(list)
    for row in outcomes:
        drawn = Interval(row["low"], row["low"], row["high"])
        misses[row["stage"]].append(miss(drawn, row["actual"]))
    return History(
        {row["batch_type"]: _kind(row) for row in rows if not row["is_wait"]},
        waits={row["batch_type"]: _kind(row) for row in rows if row["is_wait"]},
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


def _columns(forecast: BatchForecast) -> dict[str, Any]:
    remaining, drawn = forecast.remaining, forecast.drawn
    return {
        "stage": forecast.stage,
        "samples": forecast.samples,
        "reason": None if forecast.outcome is Outcome.KNOWN else forecast.outcome.value,
        "low": remaining and remaining.low,
        "median": remaining and remaining.median,
        "high": remaining and remaining.high,
        "drawn_low": drawn and drawn.low,
        "drawn_high": drawn and drawn.high,
    }
