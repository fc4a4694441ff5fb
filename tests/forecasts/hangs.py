"""Plant a job that never ends in each simulated batch, and look at it pass by pass."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from helpers.forecasting.batches import find_overruns
from tests.forecasts.batch_ends import Batch
from tests.forecasts.oracle import P995
from tests.forecasts.simulated import KINDS, Cycles

PASS_SECONDS = 60.0
_LOOKS = 0.05  # of the p99.5: not every pass is played


@dataclass(frozen=True, slots=True)
class Planted:
    """Whether the hanging job was named in time, and how many others were named."""

    named: bool
    false_warnings: int
    jobs: int


def plant(seed: int, batches: int, *, warm_up: int = 30) -> Iterator[Planted]:
    """Watch so many batches, after those from which the usual durations are learned."""
    rng, cycles = np.random.default_rng(seed), Cycles(seed)
    for number, (effect, batch) in enumerate(cycles.batches(warm_up + batches)):
        if number >= warm_up:
            yield _watch(cycles, batch, int(rng.integers(len(batch.seconds))), effect)


def _watch(cycles: Cycles, batch: Batch, hung: int, effect: float) -> Planted:
    seconds = batch.seconds.copy()
    seconds[hung] = np.inf
    hanging = replace(batch, seconds=seconds)
    usual_most = float(np.exp(KINDS[batch.kind] + effect + P995))
    history, deadline = cycles.history(), 2.5 * usual_most + 2 * PASS_SECONDS
    over = float(hanging.ends[np.isfinite(hanging.ends)].max())
    ever_named: set[int] = set()
    first = np.inf
    step = max(PASS_SECONDS, _LOOKS * usual_most)
    for now in np.arange(step, max(over, hanging.starts[hung] + deadline) + step, step):
        running = np.flatnonzero((hanging.starts <= now) & (hanging.ends > now))
        state = hanging.state(float(now))
        named = {int(running[n]) for n in find_overruns(history, state, pass_seconds=PASS_SECONDS)}
        if hung in named:
            first = min(first, float(now))
        ever_named |= named
    return Planted(
        first - hanging.starts[hung] <= deadline, len(ever_named - {hung}), len(seconds) - 1
    )
