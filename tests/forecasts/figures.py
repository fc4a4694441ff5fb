"""What an evaluation measured, as plain numbers beside their goals."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.forecasts.batch_ends import POINTS, BatchEnd
from tests.forecasts.hangs import Planted
from tests.forecasts.replay import Judged
from tests.forecasts.standing_still import Warned

KIND_FORECASTS = 50


@dataclass(frozen=True)
class Score:
    """How forecasts did: coverage, median error, median ratio of the interval's two ends."""

    cover: float
    error: float
    width: float
    count: int

    def __str__(self) -> str:
        return (
            f"cover80 {self.cover:.2f}, median error {self.error:.2f}, "
            f"width {self.width:.1f}, n {self.count}"
        )


@dataclass(frozen=True)
class Jobs:
    """Single jobs of one file."""

    file: str
    rows: int
    sized: bool
    score: Score
    later: Score  # when they had run for as long as was forecast
    mean: Score  # mean ± deviation
    kinds: int  # with at least 50 forecasts
    kinds_covered: int  # of those, 70 to 90 %
    warned: int

    @property
    def kinds_share(self) -> float:
        """Which share of the kinds is covered as it should be."""
        return self.kinds_covered / self.kinds if self.kinds else 1.0


@dataclass(frozen=True)
class Ends:
    """Batch ends at one point."""

    point: float
    score: Score  # its error is a share of the whole duration
    extrapolation: float
    drawn: float  # coverage before the widening
    oracle: float | None = None


def jobs(file: str, rows: int, *, sized: bool, judged: Sequence[Judged]) -> Jobs | None:
    """Return the figures of one file; None if nothing could be forecast."""
    if not judged:
        return None
    kinds: dict[str, list[bool]] = defaultdict(list)
    for each in judged:
        kinds[each.kind].append(each.promise.held(each.log))
    large = [float(np.mean(held)) for held in kinds.values() if len(held) >= KIND_FORECASTS]
    return Jobs(
        file,
        rows,
        sized,
        score=_score([(j.log, j.promise.low, j.promise.median, j.promise.high) for j in judged]),
        later=_score(
            [(j.log, j.later.low, j.later.median, j.later.high) for j in judged if j.later]
        ),
        mean=_mean_score(judged),
        kinds=len(large),
        kinds_covered=sum(0.7 <= share <= 0.9 for share in large),
        warned=sum(each.warned for each in judged),
    )


def _score(logs: Sequence[tuple[float, float, float, float]]) -> Score:
    actual, low, median, high = np.array(logs or [(0.0,) * 4]).T
    held = (low - 1e-9 <= actual) & (actual <= high + 1e-9)
    return Score(
        float(held.mean()),
        float(np.median(np.abs(np.expm1(median - actual)))),
        float(np.median(np.exp(high - low))),
        len(logs),
    )


def _mean_score(judged: Sequence[Judged]) -> Score:
    actual = np.exp([each.log for each in judged])
    mean = np.array([each.mean for each in judged])
    deviation = np.array([each.deviation for each in judged])
    low = np.maximum(mean - deviation, 0.0)
    with np.errstate(divide="ignore"):
        width = (mean + deviation) / low
    return Score(
        float(((low <= actual) & (actual <= mean + deviation)).mean()),
        float(np.median(np.abs(mean - actual) / actual)),
        float(np.median(width)),
        len(judged),
    )


def ends(found: Sequence[BatchEnd], oracle: Sequence[float] | None = None) -> list[Ends]:
    """Return the figures of batch ends at each point."""
    rows = []
    for point in POINTS:
        at = [n for n, each in enumerate(found) if each.point == point]
        if not at:
            continue
        here = [found[n] for n in at]
        rows.append(
            Ends(
                point,
                end_score(here),
                extrapolation=float(np.median([each.extrapolation_error for each in here])),
                drawn=float(np.mean([each.miss <= 0 for each in here])),
                oracle=float(np.median([oracle[n] for n in at])) if oracle else None,
            )
        )
    return rows


def end_score(found: Sequence[BatchEnd]) -> Score:
    """Return the score of batch ends."""
    return Score(
        float(np.mean([each.held for each in found])),
        float(np.median([each.error for each in found])),
        float(np.median([each.width for each in found])),
        len(found),
    )


@dataclass(frozen=True)
class Hangs:
    """Planted hangs: how many were named in time, and false warnings among the other jobs."""

    planted: int
    named: float
    false: float

    @classmethod
    def of(cls, planted: Sequence[Planted]) -> "Hangs":
        """Return the figures of these."""
        return cls(
            len(planted),
            float(np.mean([each.named for each in planted])),
            sum(each.false_warnings for each in planted) / sum(each.jobs for each in planted),
        )


def false_share(watched: Iterable[Warned]) -> float:
    """Return of which share of the jobs it was said falsely that they stand still, or wait."""
    found = list(watched)
    return sum(each.still + each.waiting for each in found) / sum(each.jobs for each in found)
