"""Keep what was forecast, so that it can be judged when the batch has ended."""

from typing import Any

from helpers.database import queries, transaction
from helpers.forecasting import BatchForecast, Outcome
from helpers.forecasts.active import forecast_active, open_batches
from helpers.forecasts.chains import later_types
from helpers.forecasts.history import refresh

_LATELY = 400


def store_forecasts() -> None:
    """Judge the forecasts whose batches have ended, refresh the history, and forecast anew.

    A batch keeps one forecast an hour; those without a number say why.
    """
    with transaction():
        queries("forecasts").judge()
        queries("forecasts").forget_unjudgeable()
        batches = open_batches()
        batch_types = {batch["batch_type"] for batch in batches}
        for batch in batches:
            batch_types |= set(later_types(batch))
    if not batch_types:
        return  # and numpy is not imported
    refresh(sorted(batch_types))
    made = forecast_active()
    with transaction():
        for batch_id, active in made.items():
            queries("forecasts").store_forecast(
                batch_id=batch_id,
                activation_num=active.seen.batch["activation_num"],
                **_columns(active.batch),
            )


def held_lately(*, most: int = _LATELY) -> tuple[int, int]:
    """Return how many of the last forecasts held, and how many those are: their batches ended."""
    row = queries("forecasts").held_lately(most=most)
    return row["held"], row["total"]


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
