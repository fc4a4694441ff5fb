"""How jobs lie around their base: by an effect that a batch shares, and each by its own."""

import functools
import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from helpers.forecasting.history import SAMPLES_NEEDED, KindHistory

Array: TypeAlias = npt.NDArray[np.float64]
_STRAGGLERS = 0.03
_CLIP = 0.1 * _STRAGGLERS  # how little one finished job can say against an effect
_PRIOR_SD, _PRIOR_BATCHES = 0.4, 2  # of effects, until batches have shown theirs
_HISTORY_JOBS = 20  # as much as this does history weigh beside a batch's own jobs
_OVERRUN_SHARE, _OVERRUN_MARGIN = 0.995, math.log(1.25)
_OVERRUN_SDS = 2.6  # of the belief's spread, at the same share
_GRID = 81
# Shares of jobs at which quantiles are kept: percents, and ever closer to the last job.
_SHARES = np.concatenate([np.linspace(0, 0.99, 100), 1 - 0.01 * 0.5 ** np.arange(1, 12)])
_MASSES = np.diff(np.concatenate([[0.0], (_SHARES[1:] + _SHARES[:-1]) / 2, [1.0]]))


@dataclass(frozen=True)
class Law:
    """Quantiles of jobs beside their batch's effect, and how the effects of batches vary."""

    quantiles: Array  # at _SHARES, rising
    effect: float
    effect_sd: float

    @functools.cached_property
    def sd(self) -> float:
        """The spread of most jobs, stragglers aside."""
        return max(0.02, float(self.quantiles[84] - self.quantiles[16]) / 2)

    def share_below(self, errors: Array) -> Array:
        """Return which share of jobs lies below."""
        return np.asarray(np.interp(errors, self.quantiles, _SHARES))

    def at(self, shares: Array) -> Array:
        """Return below which error such a share of the jobs lies."""
        return np.interp(shares, _SHARES, self.quantiles)

    def beyond(self, errors: Array, shares: Array | float) -> Array:
        """Return the errors at these shares of the jobs that lie beyond."""
        below = self.share_below(errors)
        return np.asarray(np.maximum(self.at(below + (1 - below) * shares), errors))

    def shown_by(self, finished: Array, running: Array) -> "Law":
        """Return the law as a batch's own jobs, beside its effect, have shown it to be.

        The running ones count with their probable errors: without them the batch would look
        as fast as those jobs that happened to end first.
        """
        own = np.concatenate([finished, self.beyond(running, 0.5)])
        points = np.concatenate([self.quantiles, own])
        weights = np.concatenate([_MASSES * _HISTORY_JOBS, np.ones(len(own))])
        order = np.argsort(points, kind="stable")
        reached = np.cumsum(weights[order]) - weights[order] / 2
        quantiles = np.interp(_SHARES, reached / weights.sum(), points[order])
        return replace(self, quantiles=_rising(quantiles))


@dataclass(frozen=True)
class Belief:
    """What is believed of one batch's effect: a grid, and the log of how likely each value is."""

    grid: Array
    scores: Array

    @functools.cached_property
    def weights(self) -> Array:
        """How likely each value is; together 1."""
        weights = np.exp(self.scores - self.scores.max())
        return np.asarray(weights / weights.sum())

    def at(self, shares: Array) -> Array:
        """Return the effects at these shares of the belief."""
        return np.interp(shares, np.cumsum(self.weights) - self.weights / 2, self.grid)

    @property
    def mean(self) -> float:
        """The expected effect."""
        return float((self.grid * self.weights).sum())

    @property
    def sd(self) -> float:
        """How far it may be from that."""
        return float(np.sqrt(((self.grid - self.mean) ** 2 * self.weights).sum()))

    def overrun_from(self, law: Law, *, margin: float) -> float:
        """Return the residual from which a job takes far longer than any of its batch."""
        far = math.hypot(max(float(law.at(np.array(_OVERRUN_SHARE))), 0.0), _OVERRUN_SDS * self.sd)
        return self.mean + far + _OVERRUN_MARGIN + margin

    def with_running(self, law: Law, reached: Array) -> "Belief":
        """Return what is believed if these residuals are reached, and the jobs still run.

        They are survivors: a batch is probably no faster than their ages allow.
        """
        alive = 1 - law.share_below(reached[:, None] - self.grid)
        survival = np.log(np.maximum(alive, 0.2 * _STRAGGLERS)).sum(axis=0)
        return Belief(self.grid, self.scores + survival)


def law(kind: KindHistory) -> Law:
    """Return the law of a kind, as its record has it, or else as its jobs lie around their base."""
    errors = np.asarray(kind.record.within)
    if len(errors) < SAMPLES_NEEDED:
        errors = np.asarray(kind.classes[None]) - kind.base(None)
    effects = np.asarray(kind.record.effects)
    count = len(effects)
    middle = float(np.median(effects)) * count / (count + 1) if count else 0.0
    squares = float(((effects - middle) ** 2).sum()) + _PRIOR_BATCHES * _PRIOR_SD**2
    return Law(_with_tail(errors), middle, float(np.sqrt(squares / (count + _PRIOR_BATCHES))))


def believe(law: Law, finished: Array, reached: Array | tuple[()] = ()) -> Belief:
    """Return what the residuals of finished jobs say, on a grid that suits running ones too.

    What a single job can say is limited, because one in thirty is a straggler.
    """
    grid = _grid(law, finished, reached)
    prior = -3 * np.log1p(((grid - law.effect) / law.effect_sd) ** 2 / 5)
    beside = (finished[:, None] - grid) / law.sd
    return Belief(grid, prior + np.log(np.exp(-(beside**2) / 2) + _CLIP).sum(axis=0))


def _grid(law: Law, finished: Array, reached: Array | tuple[()]) -> Array:
    """Return the effects that are worth a thought, close enough together for many jobs."""
    prior = 1 / law.effect_sd**2
    precision = prior + len(finished) / (1.6 * law.sd**2)
    shown = float(np.median(finished)) if len(finished) else law.effect
    centre = shown + (law.effect - shown) * prior / precision
    half = 5 / np.sqrt(precision)
    survivors = float(np.median(reached)) + 2 * law.sd if len(reached) else centre
    return np.linspace(centre - half, max(centre + half, survivors), _GRID)


def _with_tail(errors: Array) -> Array:
    """Return the quantiles of sorted errors, with a tail above the last like the one that is seen.

    In the log a tail that falls like a power of the duration falls exponentially.
    """
    quantiles = np.quantile(errors, _SHARES)
    start = quantiles[90]
    above = errors[errors > start]
    scale = float((above - start).mean()) if len(above) else 0.0
    unseen = 1 - 1 / len(errors) < _SHARES
    tail = start + scale * np.log(0.1 / (1 - _SHARES[unseen]))
    quantiles[unseen] = np.maximum(quantiles[unseen], tail)
    return _rising(quantiles)


def _rising(quantiles: Array) -> Array:
    """Return quantiles that rise strictly, as interpolation in both directions needs them."""
    return np.asarray(np.maximum.accumulate(quantiles) + np.arange(len(quantiles)) * 1e-9)
