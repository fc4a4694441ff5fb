"""When running jobs and their batches will be done: intervals that are checked afterwards. Pure.

A forecast stands on the history of its kind and on what its batch has shown so far, finished
jobs and still running ones. Under 20 samples there is no number. Whoever makes forecasts keeps
their outcomes: the intervals are widened by their own record. What is asked and answered stands
here; ``batches``, ``jobs`` and ``learning`` compute, and are imported by whoever does: they bring
numpy, which takes a tenth of a second to load.
"""

from helpers.forecasting.history import (
    SAMPLES_NEEDED,
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
    "SAMPLES_NEEDED",
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
    "job_size",
    "miss",
    "quantile_points",
    "size_class",
    "stage",
]
