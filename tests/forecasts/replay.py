"""Replay a trace: every job and batch is forecast from what lay before it.

With times a job is known once it has ended. Without them the rows of its own run count in the
order of the file, and rows of other runs once they can have ended: the start of their run plus
their duration, as runs overlap.
"""

import heapq
import itertools
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from helpers.forecasting import History
from helpers.forecasting.history import KEPT_ERRORS
from helpers.forecasting.learning import Learner, Margin, Promise
from tests.forecasts.batch_ends import Batch, BatchEnd, forecast_ends
from tests.forecasts.traces import Row, resolution_seconds

BATCH_JOBS = 20
_Group = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """One job that was forecast, and what became of it. Logs of seconds, the mean in seconds."""

    kind: str
    log: float
    promise: Promise
    later: Promise | None  # when it had run for as long as was forecast, if it still ran
    warned: bool
    mean: float
    deviation: float


class Replay:
    """What is known, at the point that the replay has reached."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.batch_ends: list[BatchEnd] = []
        self.batches_without_number = 0
        self._resolution = resolution_seconds(rows)
        self._log = History(resolution_seconds=self._resolution).log
        margin = Margin()
        self._learners: dict[str, Learner] = defaultdict(lambda: Learner(margin))
        self._own: dict[_Group, Learner] = {}
        self._residuals: dict[_Group, list[float]] = defaultdict(list)
        self._misses: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT_ERRORS))
        self._unknown: list[tuple[float, int, Callable[[], None]]] = []
        self._groups: dict[_Group, list[Row]] = defaultdict(list)
        for row in rows:
            self._groups[row.kind, row.run].append(row)
        self._left = Counter({group: len(of) for group, of in self._groups.items()})
        self._number = itertools.count()
        self._known_residuals: dict[_Group, list[float]] = defaultdict(list)

    def judged(self) -> Iterator[Judged]:
        """Go through the trace, and judge every job that got a number."""
        for row in self.rows:
            self._reach(row.started)
            group = (row.kind, row.run)
            if row.run and len(of := self._groups.pop(group, [])) >= BATCH_JOBS:
                self._forecast_batch(of)
            learner = self._learner(row)
            residuals = self._residuals[group] if row.run else []
            promise = learner.promise(row.size, residuals)
            log = self._log(row.seconds)
            if promise is not None:
                yield self._judge(row, log, learner, residuals, promise)
            self._pass(row, log, learner, promise)

    def _judge(
        self, row: Row, log: float, learner: Learner, residuals: list[float], promise: Promise
    ) -> Judged:
        later = None
        if log > promise.median:
            later = learner.promise(row.size, residuals, log_age=promise.median)
        seconds = np.exp(np.asarray(learner.history().classes[None]))
        return Judged(
            row.kind,
            log,
            promise,
            later,
            warned=learner.is_overrun(log, promise),
            mean=float(seconds.mean()),
            deviation=float(seconds.std()),
        )

    def _learner(self, row: Row) -> Learner:
        """Return what this row may stand on: without times, its run knows its own rows too."""
        if row.timed or row.started is None:
            return self._learners[row.kind]
        group = (row.kind, row.run)
        if group not in self._own:
            self._own[group] = self._learners[row.kind].copy()
        return self._own[group]

    def _pass(self, row: Row, log: float, learner: Learner, promise: Promise | None) -> None:
        """Let the row become known: to its own run at once if only the order is known."""
        if not row.timed and promise is not None:
            self._residuals[row.kind, row.run].append(log - promise.base)
        if learner is not self._learners[row.kind]:
            learner.finish(log, row.size, promise)
        self._when(row.ended, lambda: self._finish(row, log, promise))

    def _finish(self, row: Row, log: float, promise: Promise | None) -> None:
        group, learner = (row.kind, row.run), self._learners[row.kind]
        learner.finish(log, row.size, promise)
        if not row.run:
            return
        if promise is not None:
            self._known_residuals[group].append(log - promise.base)
            if row.timed:
                self._residuals[group].append(log - promise.base)
        self._left[group] -= 1
        if not self._left[group] and group in self._known_residuals:
            learner.finish_batch(self._known_residuals.pop(group))

    def _when(self, time: float | None, act: Callable[[], None]) -> None:
        if time is None:
            act()
        else:
            heapq.heappush(self._unknown, (time, next(self._number), act))

    def _reach(self, time: float | None) -> None:
        while time is not None and self._unknown and self._unknown[0][0] <= time:
            heapq.heappop(self._unknown)[2]()

    def _forecast_batch(self, rows: Sequence[Row]) -> None:
        """Make a batch of the rows: all submitted at once, to 8 to 24 servers."""
        kind = rows[0].kind
        batch = Batch(
            kind,
            seconds=np.maximum([row.seconds for row in rows], self._resolution),
            sizes=[row.size for row in rows],
            servers=8 + zlib.crc32(f"{kind} {rows[0].run}".encode()) % 17,
        )
        history = History(
            {kind: self._learners[kind].history()},
            misses=self._misses,
            resolution_seconds=self._resolution,
        )
        found = forecast_ends(history, batch)
        self.batches_without_number += not found
        self.batch_ends += found
        start = rows[0].started
        ended = None if start is None else start + batch.end
        for each in found:
            self._when(ended, lambda e=each: self._misses[e.stage].append(e.miss))
