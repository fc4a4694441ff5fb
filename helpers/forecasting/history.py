"""Hold what is known of the durations of each kind of job, in a form that a table can keep.

Durations are logs of seconds. A size class keeps quantile points, not rows: a pass reads at
most a thousand numbers of each, whatever the history holds. Without numpy, so that these
types cost nothing to whoever only stores or shows them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

SAMPLES_NEEDED = 20  # below this a forecast names no number
KEPT_SAMPLES = 1_000  # of one kind, the last ones; no class has more quantile points
KEPT_ERRORS = 100  # the last ones, of one kind and amount shown
COVERAGE = 0.8  # how often an interval is to hold
STAGES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)  # shares of a batch's jobs that have finished
_SHOWN = (0, 1, 3, 10)  # finished jobs of the own run, from which the next errors apply
_NO_SIZE = -(10**6)  # the class of jobs whose size is zero


@dataclass(frozen=True)
class Record:
    """What became of the forecasts of one kind: the errors of jobs, the effects of batches."""

    errors: tuple[tuple[float, ...], ...] = ((),) * len(_SHOWN)  # per amount shown
    level: float = COVERAGE  # how much of the errors the interval takes in
    effects: tuple[float, ...] = ()  # by how much whole batches were slower than their bases
    within: tuple[float, ...] = ()  # sorted: jobs beside their base and their batch's effect
    margin: float = 0.0  # by how much later than by the law alone an overrun is named


@dataclass(frozen=True)
class KindHistory:
    """One kind's last jobs: sorted log durations per size class (None: all), and its record."""

    samples: int = 0
    classes: Mapping[int | None, Sequence[float]] = field(default_factory=dict)
    record: Record = field(default_factory=Record)

    @property
    def suffices(self) -> bool:
        """Whether forecasts may name a number."""
        return self.samples >= SAMPLES_NEEDED and bool(self.classes.get(None))

    def base(self, size: float | None) -> float:
        """Return the usual log duration of a job of this size; the kind's if few are like it."""
        return self._bases.get(size_class(size), self._bases[None])

    @cached_property
    def _bases(self) -> dict[int | None, float]:
        return {
            key: middle(points)
            for key, points in self.classes.items()
            if key is None or len(points) >= SAMPLES_NEEDED
        }


@dataclass(frozen=True)
class History:
    """All kinds; and by how much the ends of batches missed what was drawn, per stage.

    ``waits`` are the kinds' histories of queueing, ``stills`` of the longest time without progress.
    Durations below ``resolution_seconds``, the
    finest that the data can show, count as that.
    """

    kinds: Mapping[str, KindHistory] = field(default_factory=dict)
    waits: Mapping[str, KindHistory] = field(default_factory=dict)
    stills: Mapping[str, KindHistory] = field(default_factory=dict)
    misses: Mapping[int, Sequence[float]] = field(default_factory=dict)
    resolution_seconds: float = 0.001

    def kind(self, name: str) -> KindHistory:
        """Return one kind's history, an empty one if nothing is known."""
        return self.kinds.get(name, KindHistory())

    def log(self, seconds: float) -> float:
        """Return the log of a duration, which is never below the resolution of the data."""
        least = self.resolution_seconds
        return math.log(max(least, seconds))

    def widening(self, stage: int) -> float:
        """Return by how much the record widens an interval, on the log.

        It is that of this stage, or of all stages while this one has had few outcomes.
        """
        misses = sorted(self.misses.get(stage, ()))
        if len(misses) < SAMPLES_NEEDED:
            misses = sorted(each for others in self.misses.values() for each in others)
        if len(misses) < SAMPLES_NEEDED:
            return 0.0
        return misses[min(len(misses), math.ceil((len(misses) + 1) * COVERAGE)) - 1]


def size_class(size: float | None) -> int | None:
    """Return which power of two a size lies under; None if it is not known."""
    if size is None or not math.isfinite(size):
        return None
    return math.frexp(size)[1] if size > 0 else _NO_SIZE


def shown_group(finished: int) -> int:
    """Return which errors apply after so many finished jobs of the own run."""
    return sum(finished >= least for least in _SHOWN) - 1


def stage(finished: int, jobs: int) -> int:
    """Return the number of the stage that a batch is nearest to."""
    if not jobs:
        return len(STAGES) - 1
    return min(range(len(STAGES)), key=lambda n: abs(STAGES[n] - finished / jobs))


def middle(points: Sequence[float]) -> float:
    """Return the median of sorted points."""
    half = len(points) // 2
    return points[half] if len(points) % 2 else (points[half - 1] + points[half]) / 2


def quantile_points(values: Sequence[float], *, most: int = KEPT_SAMPLES) -> tuple[float, ...]:
    """Return sorted values, thinned evenly to at most so many quantile points."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return tuple(ordered)
    step = (len(ordered) - 1) / (most - 1)
    return tuple(ordered[round(i * step)] for i in range(most))
