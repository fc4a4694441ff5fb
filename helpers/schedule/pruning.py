"""Prune finished runs: a schedule of every minute leaves 1,440 rows and folders a day.

A pass prunes the schedule that started it, at the scheduler that started it, and no other. It
never touches a run that may be running, takes no longer than it is given, and a server that does
not answer is no error of the pass.
"""

import logging
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple

from helpers.clock import CLOCK
from helpers.errors import ScheduleError
from helpers.schedule.client import SchedulerClient
from helpers.schedule.records import Run
from helpers.schedule.scheduled_copy import own_run_id
from helpers.schedule.servers import own_server

log = logging.getLogger(__name__)

_PAGE = 100
_CHUNK = 10  # some 20 ms each, in which the server answers nobody else
_LEAST_SECONDS = 0.05  # less is no time to ask anything


class Pruned(NamedTuple):
    """What was removed, and why not more."""

    runs: int = 0
    problem: str | None = None


def prune_own_schedule(
    *, older_than: timedelta, keep_at_most: int, budget_seconds: float = 1.0
) -> Pruned:
    """Remove finished runs of the schedule that started this process; nothing if none did.

    Never raises because of what the server is or does; the next call goes on from there.
    """
    deadline = CLOCK.monotonic() + budget_seconds
    run_id, server = own_run_id(), own_server()
    if run_id is None or server is None:
        return Pruned()
    with closing(SchedulerClient(server)) as client:
        try:
            _limit(client, deadline)
            own = client.run(run_id).definition_id
        except ScheduleError as exc:
            pruned = Pruned(problem=str(exc))
        else:
            pruned = prune(
                client,
                [own] if own else [],
                older_than=older_than,
                keep_at_most=keep_at_most,
                deadline=deadline,
            )
    if pruned.problem:
        log.info("Scheduled runs: %s", pruned.problem)
    return pruned


def prune(
    client: SchedulerClient,
    definition_ids: Iterable[str],
    *,
    older_than: timedelta,
    keep_at_most: int,
    deadline: float,
) -> Pruned:
    """Remove runs that are too old or too many, the newest last, until ``deadline`` (monotonic)."""
    removed = 0
    try:
        for definition_id in definition_ids:
            while True:
                _limit(client, deadline)
                runs, total = client.oldest_runs(definition_id, most=_PAGE)
                before_ts = CLOCK.now() - older_than
                run_ids = to_delete(runs, surplus=total - keep_at_most, before_ts=before_ts)
                if not run_ids:
                    break
                for start in range(0, len(run_ids), _CHUNK):
                    _limit(client, deadline)
                    client.delete_runs(run_ids[start : start + _CHUNK])
                    removed += len(run_ids[start : start + _CHUNK])
    except ScheduleError as exc:
        return Pruned(removed, str(exc))
    return Pruned(removed)


def to_delete(runs: list[Run], *, surplus: int, before_ts: datetime) -> list[str]:
    """Return the ids of the finished runs that are surplus or too old; ``runs`` oldest first."""
    return [
        run.id
        for number, run in enumerate(runs)
        if (number < surplus or run.create_ts < before_ts) and run.is_finished()
    ]


def _limit(client: SchedulerClient, deadline: float) -> None:
    """Give the next request the time that is left; ScheduleError if that is too little."""
    left = deadline - CLOCK.monotonic()
    if left < _LEAST_SECONDS:
        raise ScheduleError("The time for pruning is over; the next call goes on from here.")
    client.read_seconds = left
