"""Simulate cycles of batches whose law is known, and forecast them beside an oracle.

20 to 200 jobs on 8 to 24 servers; on the log a batch effect of 0.4 and a job's own 0.5; 3 % are
stragglers, which take three to six times as long.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from helpers.forecasting import History
from helpers.forecasting.history import KEPT_ERRORS
from helpers.forecasting.learning import Learner, Margin
from tests.forecasts.batch_ends import Array, Batch, BatchEnd, forecast_ends

EFFECT_SD, JOB_SD = 0.4, 0.5
STRAGGLERS, STRAGGLER_TIMES = 0.03, (3.0, 6.0)
KINDS = {"Analysis": np.log(1_800), "GeoHaz": np.log(600), "Grouping": np.log(300)}


def draw_jobs(rng: np.random.Generator, count: int) -> Array:
    """Return logs of jobs beside their kind and their batch's effect."""
    stragglers = rng.random(count) < STRAGGLERS
    times = np.where(stragglers, rng.uniform(*STRAGGLER_TIMES, count), 1.0)
    logs: Array = rng.normal(0, JOB_SD, count) + np.log(times)
    return logs


@dataclass
class Cycles:
    """Batches one after another, and what has been learned of them."""

    seed: int
    _margin: Margin = field(default_factory=Margin)
    _learners: dict[str, Learner] = field(default_factory=dict)
    _misses: dict[int, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT_ERRORS))
    )

    def batches(self, count: int) -> Iterator[tuple[float, Batch]]:
        """Draw so many batches, each with its effect; each is learned when the next is drawn."""
        rng = np.random.default_rng(self.seed)
        for number in range(count):
            kind = list(KINDS)[number % len(KINDS)]
            effect = float(rng.normal(0, EFFECT_SD))
            jobs = int(rng.integers(20, 201))
            seconds = np.exp(KINDS[kind] + effect + draw_jobs(rng, jobs))
            batch = Batch(kind, seconds, [None] * jobs, int(rng.integers(8, 25)))
            yield effect, batch
            self._learn(batch)

    def history(self) -> History:
        """Return what is known now."""
        kinds = {kind: learner.history() for kind, learner in self._learners.items()}
        return History(kinds, misses=self._misses)

    def forecast(self, batch: Batch) -> list[BatchEnd]:
        """Forecast a batch at each point, and keep the outcomes."""
        found = forecast_ends(self.history(), batch)
        for each in found:
            self._misses[each.stage].append(each.miss)
        return found

    def _learn(self, batch: Batch) -> None:
        learner = self._learners.setdefault(batch.kind, Learner(self._margin))
        residuals: list[float] = []
        for log in np.log(batch.seconds[np.argsort(batch.ends, kind="stable")]).tolist():
            promise = learner.promise(None, residuals)
            learner.finish(log, None, promise)
            if promise is not None:
                residuals.append(log - promise.base)
        learner.finish_batch(residuals)
