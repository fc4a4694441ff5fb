"""Replay finished jobs in the order in which they became known, and keep what forecasts need.

A forecast of a job is made from what was known before it, and judged when the job has
finished: that is where the errors, the level and the effects of batches come from.
"""

from __future__ import annotations

import bisect
import copy
import math
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from helpers.forecasting.history import (
    COVERAGE,
    KEPT_ERRORS,
    KEPT_SAMPLES,
    KindHistory,
    Record,
    shown_group,
    size_class,
)
from helpers.forecasting.jobs import corrected_level, shift, spread
from helpers.forecasting.values import PastJob

_BATCH_NEEDED = 5  # jobs from which a batch's own effect can be told from theirs
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Promise:
    """What was forecast of a job from what was known: logs of seconds, and what it stood on."""

    base: float
    centre: float
    low: float
    median: float
    high: float
    shown: int

    def held(self, log_seconds: float) -> bool:
        """Return whether the job took as long as was forecast."""
        return self.low - _ROUNDING <= log_seconds <= self.high + _ROUNDING


@dataclass
class Learner:
    """The history of one kind while it grows."""

    _last: deque[tuple[float, int | None]] = field(default_factory=deque)
    _classes: dict[int | None, list[float]] = field(default_factory=lambda: {None: []})
    _errors: list[deque[float]] = field(
        default_factory=lambda: [deque(maxlen=KEPT_ERRORS) for _ in Record().errors]
    )
    _level: float = COVERAGE
    _effects: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_ERRORS))
    _within: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_SAMPLES))
    _within_points: tuple[float, ...] = ()

    def history(self) -> KindHistory:
        """Return what is known now."""
        record = Record(
            errors=tuple(tuple(errors) for errors in self._errors),
            level=self._level,
            effects=tuple(self._effects),
            within=self._within_points,
        )
        return KindHistory(len(self._last), self._classes, record)

    def copy(self) -> Learner:
        """Return a history that grows on its own from here."""
        return copy.deepcopy(self)

    def promise(
        self, size: float | None, residuals: Sequence[float], *, log_age: float = -math.inf
    ) -> Promise | None:
        """Forecast a job that has run so long, after these residuals of its own run.

        None if there are too few samples, or it has run longer than all like it.
        """
        kind = self.history()
        if not kind.suffices:
            return None
        base = kind.base(size)
        centre = base + shift(residuals)
        errors = spread(kind, len(residuals)).quantiles(np.array([log_age - centre]))
        low, median, high = (centre + error for error in errors[:, 0].tolist())
        if math.isnan(median):
            return None
        return Promise(base, centre, low, median, high, len(residuals))

    def finish(self, log_seconds: float, size: float | None, promise: Promise | None) -> None:
        """Learn how long a job took, and whether what was forecast of it held."""
        self._add(log_seconds, size_class(size))
        if promise is not None:
            self._errors[shown_group(promise.shown)].append(log_seconds - promise.centre)
            held = promise.held(log_seconds)
            self._level = corrected_level(self._level, held=held)

    def finish_batch(self, residuals: Sequence[float]) -> None:
        """Learn by how much a whole batch was slower than its bases, and its jobs beside that."""
        effect = statistics.median(residuals) if len(residuals) >= _BATCH_NEEDED else 0.0
        if len(residuals) >= _BATCH_NEEDED:
            self._effects.append(effect)
        self._within.extend(residual - effect for residual in residuals)
        self._within_points = tuple(sorted(self._within))

    def _add(self, log_seconds: float, size: int | None) -> None:
        if len(self._last) == KEPT_SAMPLES:
            old, old_size = self._last.popleft()
            for key in {None, old_size}:
                points = self._classes[key]
                del points[bisect.bisect_left(points, old)]
        self._last.append((log_seconds, size))
        for key in {None, size}:
            bisect.insort(self._classes.setdefault(key, []), log_seconds)


def learn(jobs: Sequence[PastJob], *, log: Callable[[float], float]) -> KindHistory:
    """Return the history of a kind after these jobs, each forecast from what had ended before it.

    A run is taken for over when the last of these jobs of it has ended.
    """
    learner, promises = Learner(), dict[int, Promise | None]()
    residuals: dict[object, list[float]] = defaultdict(list)
    left = Counter(job.run for job in jobs)
    ends = [(job.ended, 0, number) for number, job in enumerate(jobs)]
    starts = [
        (job.started, 1, number) for number, job in enumerate(jobs) if job.ended > job.started
    ]
    for _, is_start, number in sorted(ends + starts):
        job = jobs[number]
        if is_start:
            promises[number] = learner.promise(job.size, residuals[job.run])
            continue
        seconds, promise = log(job.ended - job.started), promises.get(number)
        learner.finish(seconds, job.size, promise)
        if promise is not None:
            residuals[job.run].append(seconds - promise.base)
        left[job.run] -= 1
        if not left[job.run] and residuals[job.run]:
            learner.finish_batch(residuals.pop(job.run))
    return learner.history()
