"""Prune finished runs: a schedule of every minute leaves 1,440 rows and folders a day.

A pass prunes the schedule that started it, at the scheduler that started it, and no other. It
never touches a run that may be running, takes no longer than it is given, and a server that does
not answer is no error of the pass.
"""

import logging
from contextlib import closing
from datetime import datetime, timedelta

from helpers.clock import CLOCK
from helpers.errors import ScheduleError
from helpers.schedule.client import SchedulerClient
from helpers.schedule.records import Run
from helpers.schedule.scheduled_copy import own_run_id
from helpers.schedule.servers import own_server

log = logging.getLogger(__name__)

_PAGE = 100
_CHUNK = 10  # some 20 ms each, in which the server answers nobody else


def prune_own_schedule(
    *, older_than: timedelta, keep_at_most: int, budget_seconds: float = 1.0
) -> None:
    """Remove finished runs of the schedule that started this process; nothing if none did.

    Never raises because of what the server is or does; the next call goes on from there.
    """
    run_id, server = own_run_id(), own_server()
    if run_id is None or server is None:
        return
    deadline = CLOCK.monotonic() + budget_seconds
    with closing(SchedulerClient(server, deadline=deadline)) as client:
        try:
            own = client.definition_of(run_id)
            if own is not None:
                prune(client, own, older_than=older_than, keep_at_most=keep_at_most)
        except ScheduleError as exc:
            log.info("Scheduled runs: %s", exc)


def prune(
    client: SchedulerClient, definition_id: str, *, older_than: timedelta, keep_at_most: int
) -> int:
    """Remove a schedule's runs that are too old or too many, the newest last; return how many."""
    removed = 0
    while True:
        runs, total = client.runs(definition_id, max_items=_PAGE, sort_by="asc(create_time)")
        before_ts = CLOCK.now() - older_than
        run_ids = to_delete(runs, surplus=total - keep_at_most, before_ts=before_ts)
        if not run_ids:
            return removed
        for start in range(0, len(run_ids), _CHUNK):
            client.delete_runs(run_ids[start : start + _CHUNK])
        removed += len(run_ids)


def to_delete(runs: list[Run], *, surplus: int, before_ts: datetime) -> list[str]:
    """Return the ids of the finished runs that are surplus or too old; ``runs`` oldest first."""
    return [
        run.id
        for number, run in enumerate(runs)
        if (number < surplus or run.create_ts < before_ts) and run.is_finished()
    ]
