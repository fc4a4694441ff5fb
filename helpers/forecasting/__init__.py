"""When running jobs and their batches will be done: intervals that are checked afterwards. Pure.

A forecast stands on the history of its kind and on what its batch has shown so far, finished
jobs and still running ones. Under 20 samples there is no number. Whoever makes forecasts keeps
their outcomes: the intervals are widened by their own record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from helpers.forecasting.history import (
    COVERAGE,
    SAMPLES_NEEDED,
    STAGES,
    History,
    KindHistory,
    Record,
    quantile_points,
    size_class,
    stage,
)
from helpers.forecasting.sizes import job_size
from helpers.forecasting.values import (
    BatchForecast,
    BatchState,
    Interval,
    Job,
    JobForecast,
    Outcome,
    PastJob,
    miss,
)

__all__ = [
    "COVERAGE",
    "SAMPLES_NEEDED",
    "STAGES",
    "BatchForecast",
    "BatchState",
    "History",
    "Interval",
    "Job",
    "JobForecast",
    "KindHistory",
    "Outcome",
    "PastJob",
    "Record",
    "find_overruns",
    "forecast_batches",
    "forecast_chain",
    "forecast_jobs",
    "job_size",
    "learn",
    "miss",
    "quantile_points",
    "size_class",
    "stage",
]

# numpy takes a tenth of a second to load, which a pass that forecasts nothing does not pay.


def find_overruns(history: History, batch: BatchState, *, pass_seconds: float) -> list[int]:
    """Return which running jobs, by position, take far longer than any of their batch does."""
    from helpers.forecasting.batches import find_overruns  # noqa: PLC0415

    return find_overruns(history, batch, pass_seconds=pass_seconds)


def forecast_batches(history: History, batches: Sequence[BatchState]) -> list[BatchForecast]:
    """Return when each of these batches will end, in their order; all are played at once."""
    from helpers.forecasting.batches import forecast_batches  # noqa: PLC0415

    return forecast_batches(history, batches)


def forecast_chain(history: History, batches: Sequence[BatchState]) -> BatchForecast:
    """Return when the last of these batches will end, each of which starts after the one before."""
    from helpers.forecasting.batches import forecast_chain  # noqa: PLC0415

    return forecast_chain(history, batches)


def forecast_jobs(history: History, batch: BatchState) -> list[JobForecast]:
    """Return when each running job of a batch will end, and after them each queued one."""
    from helpers.forecasting.jobs import forecast_jobs  # noqa: PLC0415

    return forecast_jobs(history, batch)


def learn(
    kinds: Mapping[str, Sequence[PastJob]], *, log: Callable[[float], float]
) -> dict[str, KindHistory]:
    """Return the histories of kinds after these jobs, each forecast from what had ended before."""
    from helpers.forecasting.learning import learn  # noqa: PLC0415

    return learn(kinds, log=log)
