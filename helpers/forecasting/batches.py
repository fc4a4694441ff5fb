"""Forecast when batches end: draw what is left of them many times, and play it out."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from helpers.forecasting.history import History, KindHistory, stage
from helpers.forecasting.law import Law, believe, law
from helpers.forecasting.play import Open, ends
from helpers.forecasting.values import BatchForecast, BatchState, Interval, Job, Outcome

Array: TypeAlias = npt.NDArray[np.float64]
_WORLDS = 64
_SEED = 20_040  # the same state gives the same forecast
_MOST_LOG = 20.0  # of a drawn duration: fifteen years


def forecast_batches(history: History, batches: Sequence[BatchState]) -> list[BatchForecast]:
    """Return when each of these batches will end, in their order."""
    drawn = _draw_all(history, batches)
    played = iter(ends([each for each in drawn if isinstance(each, Open)]))
    return [
        _with_number(history, batch, next(played))
        if isinstance(each, Open)
        else _without_number(history, batch, each)
        for batch, each in zip(batches, drawn, strict=True)
    ]


def forecast_chain(history: History, batches: Sequence[BatchState]) -> BatchForecast:
    """Return when the last of these batches will end, each of which starts after the one before.

    The chain is widened by the record of the stage at which its first batch stands.
    """
    left = []
    for batch, each in zip(batches, _draw_all(history, batches), strict=True):
        if not isinstance(each, Open):
            return _without_number(history, batch, each)
        left.append(each)
    shuffle = np.random.default_rng(_SEED)
    total = np.sum([shuffle.permutation(end) for end in ends(left)], axis=0)
    return _with_number(history, batches[0], total)


def find_overruns(
    history: History, batch: BatchState, *, pass_seconds: float, times: float = 1.0
) -> list[int]:
    """Return which running jobs, by position, take far longer than any of their batch does.

    With ``times`` they have to take so many times as long as that. A job is at least two passes old
    before it is named. The running jobs have no say in what
    the batch usually takes: one that hangs must not excuse itself.
    """
    kind = history.kind(batch.kind)
    if not kind.suffices:
        return []
    usual = law(kind)
    belief = believe(usual, _residuals(history, kind, batch.finished))
    overrun_from = belief.overrun_from(usual, margin=kind.record.margin + math.log(times))
    return [
        n
        for n in np.flatnonzero(_residuals(history, kind, batch.running) > overrun_from).tolist()
        if batch.running[n].seconds >= 2 * pass_seconds
    ]


def _draw_all(history: History, batches: Sequence[BatchState]) -> list[Open | Outcome]:
    """Draw what is left of every batch, or say why there is no number.

    The random numbers belong to positions within a batch, so that no batch's forecast depends
    on which others are asked about.
    """
    most = max((len(batch.running) + len(batch.queued) for batch in batches), default=0)
    uniform = np.random.default_rng(_SEED).random((2, most, _WORLDS))
    laws = {
        name: law(kind)
        for name in {batch.kind for batch in batches}
        if (kind := history.kind(name)).suffices
    }
    return [
        _draw(history, batch, laws[batch.kind], uniform)
        if batch.kind in laws
        else Outcome.FEW_SAMPLES
        for batch in batches
    ]


def _draw(history: History, batch: BatchState, usual: Law, uniform: Array) -> Open | Outcome:
    kind = history.kind(batch.kind)
    running = sorted(batch.running, key=lambda job: (-job.seconds, kind.base(job.size)))
    count, total = len(running), len(running) + len(batch.queued)
    finished = _residuals(history, kind, batch.finished)
    reached = _residuals(history, kind, running)
    belief = believe(usual, finished, reached).with_running(usual, reached)
    own = usual.shown_by(finished - belief.mean, reached - belief.mean)
    effects = belief.at((np.arange(_WORLDS) + 0.5) / _WORLDS)
    beside = own.beyond(reached[:, None] - effects, uniform[0, :count])
    remaining = _left(_bases(kind, running) + effects + beside, running)
    queued = _seconds(_bases(kind, batch.queued) + effects + own.at(uniform[0, count:total]))
    servers = max(count, batch.servers)
    if servers or not batch.queued:
        return Open(remaining, queued, servers)
    if not (waits := history.waits.get(batch.kind, KindHistory())).suffices:
        return Outcome.NOT_STARTED
    return Open(_waits(history, waits, batch.queued, uniform[1]) + queued, queued[:0], 0)


def _waits(history: History, waits: KindHistory, jobs: Sequence[Job], uniform: Array) -> Array:
    """Return how much longer each job waits, if nothing runs whose end it could wait for."""
    waited = _residuals(history, waits, jobs)[:, None]
    return _left(_bases(waits, jobs) + law(waits).beyond(waited, uniform[: len(jobs)]), jobs)


def _bases(kind: KindHistory, jobs: Sequence[Job]) -> Array:
    return np.array([kind.base(job.size) for job in jobs])[:, None]


def _residuals(history: History, kind: KindHistory, jobs: Sequence[Job]) -> Array:
    return np.array([history.log(job.seconds) - kind.base(job.size) for job in jobs])


def _left(logs: Array, jobs: Sequence[Job]) -> Array:
    """Return what is left of these durations after what each job has spent of them."""
    spent = np.array([job.seconds for job in jobs])[:, None]
    return np.asarray(np.maximum(_seconds(logs) - spent, 0.0))


def _seconds(logs: Array) -> Array:
    return np.asarray(np.exp(np.minimum(logs, _MOST_LOG)))


def _without_number(history: History, batch: BatchState, outcome: Outcome) -> BatchForecast:
    samples = history.kind(batch.kind).samples
    return BatchForecast(outcome, samples, stage(len(batch.finished), batch.jobs))


def _with_number(history: History, batch: BatchState, end: Array) -> BatchForecast:
    number = stage(len(batch.finished), batch.jobs)
    drawn = Interval(*np.quantile(end, [0.1, 0.5, 0.9]).tolist())
    return BatchForecast(
        Outcome.KNOWN,
        history.kind(batch.kind).samples,
        number,
        remaining=drawn.widened(history.widening(number)),
        drawn=drawn,
    )
