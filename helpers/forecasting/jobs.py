"""Forecast single jobs: a base from history, moved by the own run, spread by past errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from helpers.forecasting.history import (
    COVERAGE,
    SAMPLES_NEEDED,
    History,
    KindHistory,
    middle,
    shown_group,
)
from helpers.forecasting.values import BatchState, Interval, JobForecast, Outcome

Array: TypeAlias = npt.NDArray[np.float64]
_OWN_JOBS = 10
_LEFT_NEEDED = 5
_STEP = 0.02


@dataclass(frozen=True)
class Spread:
    """The sorted errors that apply to a job, and how much of them its interval takes in."""

    errors: Array
    level: float

    def quantiles(self, beyond: Array) -> Array:
        """Return low, median and high (3 × n) of the errors beyond each threshold.

        NaN if fewer than five lie beyond it. The ranks are those of a sample (n + 1), so that
        few errors give the wider interval that they deserve.
        """
        first = np.searchsorted(self.errors, beyond, side="right")
        left = len(self.errors) - first
        tail = (1 - self.level) / 2
        shares = np.array([[tail], [0.5], [1 - tail]])
        ranks = first + np.maximum(shares * (left + 1) - 1, 0)
        found = np.interp(ranks, np.arange(len(self.errors)), self.errors)
        return np.where(left < _LEFT_NEEDED, np.nan, found)


def forecast_jobs(history: History, batch: BatchState) -> list[JobForecast]:
    """Return when each running job of a batch will end, and after them each queued one."""
    kind = history.kind(batch.kind)
    active = [*batch.running, *batch.queued]
    if not kind.suffices:
        return [JobForecast(Outcome.FEW_SAMPLES, kind.samples) for _ in active]
    residuals = [history.log(job.seconds) - kind.base(job.size) for job in batch.finished]
    moved = shift(residuals)
    centres = np.array([kind.base(job.size) + moved for job in active])
    errors = spread(kind, len(residuals))
    usual = np.exp(centres + errors.quantiles(np.full(1, -np.inf))[1])
    ages = np.array([history.log(job.seconds) for job in batch.running])
    running = centres[: len(ages)]
    ends = np.exp(running + errors.quantiles(ages - running)) - np.exp(ages)
    return [
        _running(kind.samples, remaining, seconds)
        for remaining, seconds in zip(ends.T.tolist(), usual.tolist(), strict=False)
    ] + [
        JobForecast(Outcome.NOT_STARTED, kind.samples, usual_seconds=seconds)
        for seconds in usual[len(ages) :].tolist()
    ]


def _running(samples: int, remaining: list[float], usual: float) -> JobForecast:
    low, median, high = remaining
    if math.isnan(median):
        return JobForecast(Outcome.LONGER_THAN_ALL, samples, usual_seconds=usual)
    return JobForecast(Outcome.KNOWN, samples, Interval(low, median, high), usual)


def shift(residuals: Sequence[float]) -> float:
    """Return by how much the last ten finished jobs of its own run move a job's base."""
    last = sorted(residuals[-_OWN_JOBS:])
    return middle(last) * len(last) / (len(last) + 1) if last else 0.0


def spread(kind: KindHistory, finished: int) -> Spread:
    """Return the errors made after as much was shown; others fill in while they are few."""
    record = kind.record
    group = shown_group(finished)
    errors = list(record.errors[group])
    if len(errors) < SAMPLES_NEEDED:
        errors += [e for n, others in enumerate(record.errors) if n != group for e in others]
    if len(errors) < SAMPLES_NEEDED:
        errors += [point - kind.base(None) for point in kind.classes[None]]
    return Spread(np.sort(np.array(errors)), record.level)


def corrected_level(level: float, *, held: bool) -> float:
    """Return the level after one more outcome: wider after a miss, narrower after a hit."""
    return min(0.995, max(0.3, level + _STEP * (COVERAGE - held)))
