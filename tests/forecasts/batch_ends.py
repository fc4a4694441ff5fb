"""Take a finished batch back to points in its life, forecast its end there, and judge that."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from helpers.forecasting import BatchState, History, Interval, Job, miss
from helpers.forecasting.batches import forecast_batches

Array: TypeAlias = npt.NDArray[np.float64]
POINTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # shares of the jobs that have finished


@dataclass(frozen=True)
class Batch:
    """How a batch went: its jobs are given to the server that is free first, in their order."""

    kind: str
    seconds: Array
    sizes: Sequence[float | None]
    servers: int

    @cached_property
    def starts(self) -> Array:
        """When each job started, after the submission of all."""
        free = [0.0] * self.servers
        starts = []
        for seconds in self.seconds.tolist():
            starts.append(free[0])
            heapq.heapreplace(free, free[0] + seconds)
        return np.array(starts)

    @cached_property
    def ends(self) -> Array:
        """When each job ended."""
        return self.starts + self.seconds

    @property
    def end(self) -> float:
        """When the last job ended."""
        return float(self.ends.max())

    def when_finished(self, share: float) -> float:
        """Return when this share of its jobs had finished."""
        return float(np.sort(self.ends)[max(1, int(np.ceil(share * len(self.ends)))) - 1])

    def state(self, now: float) -> BatchState:
        """Return what was known of it at this time."""
        finished = [n for n in np.argsort(self.ends, kind="stable") if self.ends[n] <= now]
        running = np.flatnonzero((self.starts <= now) & (self.ends > now))
        return BatchState(
            self.kind,
            finished=[Job(float(self.seconds[n]), self.sizes[n]) for n in finished],
            running=[Job(now - float(self.starts[n]), self.sizes[n]) for n in running],
            queued=[Job(now, self.sizes[n]) for n in np.flatnonzero(self.starts > now)],
        )


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """One forecast of a batch's end, and what became of it."""

    point: float
    stage: int
    now: float
    end: float  # after its submission, as it came
    interval: Interval
    miss: float

    @property
    def held(self) -> bool:
        """Whether it ended when forecast."""
        return self.interval.low <= self.end - self.now <= self.interval.high

    @property
    def error(self) -> float:
        """How far the median was off, as a share of the whole duration."""
        return abs(self.interval.median - (self.end - self.now)) / self.end

    @property
    def extrapolation_error(self) -> float:
        """The same, had the share of finished jobs been taken for that of the time."""
        return abs(self.now / self.point - self.end) / self.end

    @property
    def width(self) -> float:
        """How many times the latest end is the earliest, from the submission on."""
        return (self.now + self.interval.high) / (self.now + self.interval.low)


def forecast_ends(history: History, batch: Batch) -> list[BatchEnd]:
    """Forecast a batch's end at each point at which some of it was left."""
    times = [(point, now) for p in POINTS if (now := batch.when_finished(point := p)) < batch.end]
    states = [batch.state(now) for _, now in times]
    return [
        BatchEnd(
            point,
            forecast.stage,
            now,
            batch.end,
            forecast.remaining,
            miss(forecast.drawn, batch.end - now),
        )
        for (point, now), forecast in zip(times, forecast_batches(history, states), strict=True)
        if forecast.remaining is not None and forecast.drawn is not None
    ]
