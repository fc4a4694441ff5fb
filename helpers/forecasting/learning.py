"""Replay finished jobs in the order in which they became known, and keep what forecasts need.

A forecast of a job is made from what was known before it, and judged when the job has
finished: the errors, the level and the effects of batches come from that.
"""

import bisect
import copy
import math
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
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
from helpers.forecasting.law import believe, law
from helpers.forecasting.values import PastJob

_BATCH_NEEDED = 5  # jobs from which a batch's own effect can be separated from theirs
_RESIDUALS_KEPT = 100  # of its run, which say from when on a job takes too long
_LEAST_OVERRUN = math.log(120)  # two passes, a minute each
_MARGIN_STEP, _FALSE_WARNINGS = 0.25, 0.004  # the second is how many of the jobs it aims at
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Promise:
    """What was forecast of a job from what was known: logs of seconds, and what it stood on."""

    base: float
    centre: float
    low: float
    median: float
    high: float
    residuals: tuple[float, ...]  # of the last finished jobs of its run
    shown: int

    def held(self, log_seconds: float) -> bool:
        """Return whether the job took as long as was forecast."""
        return self.low - _ROUNDING <= log_seconds <= self.high + _ROUNDING


@dataclass
class Margin:
    """By how much overruns are named later than by the law alone, on the log.

    It grows with each finished job that would have been named, and shrinks with each other, so
    that few are whatever the durations do. All kinds share one.
    """

    value: float = 0.0

    def note(self, *, was_named: bool) -> None:
        """Learn whether one more finished job would have been named."""
        self.value = max(0.0, self.value + _MARGIN_STEP * (was_named - _FALSE_WARNINGS))


@dataclass
class Learner:
    """The history of one kind while it grows."""

    margin: Margin = field(default_factory=Margin)
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
            margin=self.margin.value,
        )
        return KindHistory(len(self._last), self._classes, record)

    def copy(self) -> "Learner":
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
        last = tuple(residuals[-_RESIDUALS_KEPT:])
        return Promise(base, centre, low, median, high, last, len(residuals))

    def finish(self, log_seconds: float, size: float | None, promise: Promise | None) -> None:
        """Learn how long a job took, and whether what was forecast of it held."""
        if promise is not None:
            self.margin.note(was_named=self.is_overrun(log_seconds, promise))
            self._errors[shown_group(promise.shown)].append(log_seconds - promise.centre)
            held = promise.held(log_seconds)
            self._level = corrected_level(self._level, held=held)
        self._add(log_seconds, size_class(size))

    def is_overrun(self, log_seconds: float, promise: Promise) -> bool:
        """Return whether a job that has run so long would be named as one that takes too long."""
        if log_seconds <= max(promise.high, _LEAST_OVERRUN):
            return False
        usual = law(self.history())
        belief = believe(usual, np.array(promise.residuals))
        return log_seconds - promise.base > belief.overrun_from(usual, margin=self.margin.value)

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


def learn(
    kinds: Mapping[str, Sequence[PastJob]], *, log: Callable[[float], float]
) -> dict[str, KindHistory]:
    """Return the histories of kinds after these jobs, each forecast from what had ended before.

    A run is taken for over when the last of these jobs of it has ended.
    """
    margin = Margin()
    replays = {
        name: _Replay(Learner(margin), Counter(job.run for job in jobs))
        for name, jobs in kinds.items()
    }
    jobs = [(name, job) for name, of in kinds.items() for job in of]
    ends = [(job.ended, False, n) for n, (_, job) in enumerate(jobs)]
    starts = [(job.started, True, n) for n, (_, job) in enumerate(jobs)]
    for _, is_start, number in sorted(ends + starts):
        name, job = jobs[number]
        if is_start:
            replays[name].start(number, job)
        else:
            replays[name].end(number, job, log(job.ended - job.started))
    return {name: replay.learner.history() for name, replay in replays.items()}


@dataclass
class _Replay:
    """One kind: its learner, what was forecast of jobs that run, and how many each run has left."""

    learner: Learner
    left: Counter[object]
    promises: dict[int, Promise | None] = field(default_factory=dict)
    residuals: dict[object, list[float]] = field(default_factory=lambda: defaultdict(list))

    def start(self, number: int, job: PastJob) -> None:
        self.promises[number] = self.learner.promise(job.size, self.residuals[job.run])

    def end(self, number: int, job: PastJob, log_seconds: float) -> None:
        promise = self.promises.pop(number, None)
        self.learner.finish(log_seconds, job.size, promise)
        if promise is not None:
            self.residuals[job.run].append(log_seconds - promise.base)
        self.left[job.run] -= 1
        if not self.left[job.run] and self.residuals[job.run]:
            self.learner.finish_batch(self.residuals.pop(job.run))
