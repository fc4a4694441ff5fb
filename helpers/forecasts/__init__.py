"""Forecasts of the metastore's batches: made, kept, and judged when their batch has ended."""

from helpers.forecasts.active import ActiveForecast, find_late_jobs, forecast_active
from helpers.forecasts.chains import StepRef, forecast_chains
from helpers.forecasts.keeping import held_lately, store_forecasts
from helpers.forecasts.late import LateJob, Lateness

__all__ = [
    "ActiveForecast",
    "LateJob",
    "Lateness",
    "StepRef",
    "find_late_jobs",
    "forecast_active",
    "forecast_chains",
    "held_lately",
    "store_forecasts",
]
