"""Prune what finished runs leave behind: 1,440 rows and folders a day, on a schedule of a minute.

A pass calls this at its end. It touches the runs of the monitor's own schedules alone, never one
that may be at work, takes no longer than it is given, and a server that is not there or does not
answer is no error of the pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from helpers.errors import ScheduleError
from helpers.schedule.client import Definition, Run, SchedulerClient
from helpers.schedule.desk import Desk
from helpers.schedule.frozen import is_monitor
from helpers.schedule.leftovers import RunState
from helpers.schedule.servers import Server, own_server, running_servers

log = logging.getLogger(__name__)

_PAGE = 100
_CHUNK = 10  # some 20 ms each
_LEAST_SECONDS = 0.05  # less is no time to ask anything
_MOST_FAILURES = 3
_DELETABLE = frozenset({RunState.OVER, RunState.LEFT_BEHIND})


@dataclass(frozen=True)
class Pruned:
    """What was removed, and why not more."""

    runs: int = 0
    problem: str | None = None


def prune_finished_runs(
    *, older_than: timedelta, keep_at_most: int, budget_seconds: float = 1.0
) -> Pruned:
    """Remove the runs of the monitor's schedules that are over and too old or too many.

    The server is the one that started this process, else the only one that runs here. Without
    one there is nothing to do. Never raises for what the server is or does.

    Args:
        older_than: how old a run may become.
        keep_at_most: how many runs of one schedule stay, the newest.
        budget_seconds: how long it may take; the next call goes on from there.
    """
    deadline = time.monotonic() + budget_seconds
    server = own_server() or _only_server()
    if server is None:
        return Pruned()
    with closing(SchedulerClient(server)) as client:
        pruned = prune(
            Desk(server, client),
            older_than=older_than,
            keep_at_most=keep_at_most,
            deadline=deadline,
        )
    if pruned.problem:
        log.info("Scheduled runs: %s", pruned.problem)
    return pruned


def prune(desk: Desk, *, older_than: timedelta, keep_at_most: int, deadline: float) -> Pruned:
    """Prune until nothing is left to remove, or until ``deadline`` of the monotonic clock."""
    work = Pruning(desk, keep_at_most, datetime.now(UTC) - older_than, deadline)
    try:
        work.take_time()
        for definition in desk.schedules():
            if is_monitor(desk.copy_of(definition)):  # seen, not only named so
                work.prune(definition)
    except ScheduleError as exc:
        return Pruned(work.removed, str(exc))
    return Pruned(work.removed)


def prunable(
    runs: Sequence[Run],
    states: Mapping[str, RunState],
    *,
    total: int,
    keep_at_most: int,
    before_ts: datetime,
) -> list[str]:
    """Return the ids of the runs to remove, given the oldest of ``total`` runs, oldest first."""
    return [
        run.id
        for number, run in enumerate(runs)
        if (number < total - keep_at_most or run.create_ts < before_ts)
        and states[run.id] in _DELETABLE
    ]


@dataclass
class Pruning:
    """Removes runs, some at a time, because the server answers nobody else while it deletes."""

    desk: Desk
    keep_at_most: int
    before_ts: datetime
    deadline: float  # of the monotonic clock
    removed: int = 0
    failures: int = 0

    def prune(self, definition: Definition) -> None:
        """Remove the runs of one schedule until none is left to remove.

        Raises:
            ScheduleError: the time is over, or the scheduler failed again and again.
        """
        while doomed := self._doomed(definition):
            self._remove(doomed)

    def take_time(self) -> None:
        """Give the next request the time that is left; ScheduleError where that is too little."""
        left = self.deadline - time.monotonic()
        if left < _LEAST_SECONDS:
            raise ScheduleError("The time for pruning is over; the next call goes on from here.")
        self.desk.client.rest.read_seconds = left

    def _doomed(self, definition: Definition) -> list[str]:
        self.take_time()
        runs, total = self.desk.client.runs(definition.id, most=_PAGE, oldest_first=True)
        if total <= self.keep_at_most and not any(run.create_ts < self.before_ts for run in runs):
            return []
        states = self.desk.states(runs, now=datetime.now(UTC))
        return prunable(
            runs, states, total=total, keep_at_most=self.keep_at_most, before_ts=self.before_ts
        )

    def _remove(self, run_ids: list[str]) -> None:
        for start in range(0, len(run_ids), _CHUNK):
            self.take_time()
            chunk = run_ids[start : start + _CHUNK]
            try:
                self.desk.client.delete_runs(chunk)
            except ScheduleError:  # another pass has pruned one of them: look again
                self.failures += 1
                if self.failures > _MOST_FAILURES:
                    raise
                return
            self.removed += len(chunk)


def _only_server() -> Server | None:
    servers = [server for server in running_servers() if server.database]
    return servers[0] if len(servers) == 1 else None
