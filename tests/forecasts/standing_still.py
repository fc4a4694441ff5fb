"""Watch simulated jobs that are without progress for a while, or wait in a queue that others share.

Progress comes in steps: 5 to 20 of them, the gaps between which vary as those of chance do.
Batches come as they will to one pool of servers, so that a batch waits behind those before it.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from helpers.forecasting import BatchState, History, Job
from helpers.forecasting.learning import Learner
from helpers.forecasts.late import Lateness, SeenJobs, late_jobs
from tests.forecasts.hangs import PASS_SECONDS
from tests.forecasts.simulated import EFFECT_SD, KINDS, draw_jobs

_WARM_UP = 30
_KIND = "Analysis"


@dataclass(frozen=True, slots=True)
class Warned:
    """Of how many jobs of one batch it was said falsely that they stand still."""

    still: int
    waiting: int
    jobs: int


def watch(seed: int, batches: int) -> Iterator[Warned]:
    """Watch so many batches, after those from which the usual is learned."""
    rng = np.random.default_rng(seed)
    free = [0.0] * 16
    submitted = 0.0
    stills, waits = Learner(), Learner()
    for number in range(_WARM_UP + batches):
        jobs = int(rng.integers(20, 201))
        seconds = np.exp(KINDS[_KIND] + rng.normal(0, EFFECT_SD) + draw_jobs(rng, jobs))
        gaps = [_longest_gap(rng) * each for each in seconds]
        starts = []
        for each in seconds.tolist():
            starts.append(max(free[0], submitted))
            heapq.heapreplace(free, starts[-1] + each)
        ends = np.array(starts) + seconds
        if number >= _WARM_UP:
            history = History(stills={_KIND: stills.history()}, waits={_KIND: waits.history()})
            yield _watch(history, submitted, np.array(starts), ends, gaps)
        _learn(stills, gaps)
        _learn(waits, [max(start - submitted, 1e-3) for start in starts])
        # As much work comes as the servers can do, with pauses and crowds as chance has them.
        submitted += float(rng.exponential(seconds.sum() / len(free)))


def _longest_gap(rng: np.random.Generator) -> float:
    """Return the longest time without progress, as a share of a job's duration."""
    gaps = rng.exponential(size=int(rng.integers(5, 21)))
    return float(gaps.max() / gaps.sum())


def _watch(
    history: History,
    submitted: float,
    starts: np.ndarray[tuple[int], np.dtype[np.float64]],
    ends: np.ndarray[tuple[int], np.dtype[np.float64]],
    gaps: list[float],
) -> Warned:
    still: set[int] = set()
    waiting: set[int] = set()
    for now in np.arange(submitted + PASS_SECONDS, ends.max(), 5 * PASS_SECONDS):
        running = np.flatnonzero((starts <= now) & (ends > now)).tolist()
        queued = np.flatnonzero(starts > now).tolist()
        done = np.flatnonzero(ends <= now).tolist()
        seen = SeenJobs(
            {"batch_id": 1},
            BatchState(
                _KIND,
                [Job(1.0)] * len(done),
                [Job(float(now - starts[n])) for n in running],
                [Job(float(now - submitted))] * len(queued),
            ),
            running,
            queued,
            [Job(gaps[n]) for n in done],
            # At the worst moment: its longest time without progress is just over.
            [Job(min(gaps[n], float(now - starts[n]))) for n in running],
            [float(now - ends[n]) for n in done],
        )
        for late in late_jobs(history, seen, pass_seconds=PASS_SECONDS):
            (still if late.lateness is Lateness.STILL else waiting).add(late.job_id)
    return Warned(len(still), len(waiting), len(starts))


def _learn(learner: Learner, seconds: list[float]) -> None:
    residuals: list[float] = []
    for log in np.log(seconds).tolist():
        promise = learner.promise(None, residuals)
        learner.finish(log, None, promise)
        if promise is not None:
            residuals.append(log - promise.base)
    learner.finish_batch(residuals)
