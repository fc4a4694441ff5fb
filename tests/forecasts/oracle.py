"""Forecast a simulated batch by the true law: the best that anybody can do."""

import numpy as np

from helpers.forecasting.play import Open, ends
from tests.forecasts.batch_ends import Array, Batch
from tests.forecasts.simulated import (
    EFFECT_SD,
    JOB_SD,
    KINDS,
    STRAGGLER_TIMES,
    STRAGGLERS,
    draw_jobs,
)

_WORLDS = 400
_EFFECTS = 2_001
_EDGES = np.linspace(-3, 5, 1_601)
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2


def _table() -> tuple[Array, Array]:
    """Return the density of jobs beside their batch's effect, and which share lies below."""
    shifts = np.log(np.linspace(*STRAGGLER_TIMES, 200))

    def normal(at: Array) -> Array:
        return np.exp(-((at / JOB_SD) ** 2) / 2) / (JOB_SD * np.sqrt(2 * np.pi))

    density = (1 - STRAGGLERS) * normal(_MIDDLES)
    density += STRAGGLERS * normal(_MIDDLES[:, None] - shifts).mean(axis=1)
    below = np.concatenate([[0.0], np.cumsum(density * np.diff(_EDGES))])
    return density, below / below[-1]


_DENSITY, _BELOW = _table()
P995 = float(np.interp(0.995, _BELOW, _EDGES))  # of a job beside its batch's effect


def median_error(batch: Batch, now: float) -> float:
    """Return how far the oracle's median end is off, as a share of the whole duration."""
    rng = np.random.default_rng(len(batch.seconds))
    state, mean = batch.state(now), KINDS[batch.kind]
    finished = np.log([job.seconds for job in state.finished]) - mean
    ages = np.array([job.seconds for job in state.running])
    reached = np.log(np.maximum(ages, 1e-3)) - mean
    effects = np.linspace(-4, 4, _EFFECTS) * EFFECT_SD
    score = -((effects / EFFECT_SD) ** 2) / 2
    score += np.log(np.interp(finished[:, None] - effects, _MIDDLES, _DENSITY) + 1e-300).sum(axis=0)
    alive = 1 - np.interp(reached[:, None] - effects, _EDGES, _BELOW)
    score += np.log(alive + 1e-300).sum(axis=0)
    weights = np.exp(score - score.max())
    effect = rng.choice(effects, _WORLDS, p=weights / weights.sum())
    below = np.interp(reached[:, None] - effect, _EDGES, _BELOW)
    drawn = np.interp(below + (1 - below) * rng.random(below.shape), _BELOW, _EDGES)
    remaining = np.maximum(np.exp(mean + effect + drawn) - ages[:, None], 0)
    queued = draw_jobs(rng, len(state.queued) * _WORLDS).reshape(-1, _WORLDS)
    [end] = ends([Open(remaining, np.exp(mean + effect + queued), batch.servers)])
    return abs(float(np.median(end)) - (batch.end - now)) / batch.end
