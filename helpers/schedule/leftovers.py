"""Runs that the scheduler believes to be at work, though their process is gone.

A killed server, or a killed run, leaves its row IN_PROGRESS for ever. Whether a run still lives
is told by its process, whose pid only the scheduler's database holds; it is opened read-only. The
server kills by that pid whatever child of its own bears it when such a row is deleted, so a row
whose pid was given anew is left until it is free.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from urllib.parse import quote

import psutil

from helpers.schedule.client import Run, RunStatus
from helpers.schedule.servers import Server

# The row is written, then its process started; both take the clock of this machine.
_START_SLACK_SECONDS = 120.0
# A row waits this long for its process at the most, and a stop for its end.
_GRACE = timedelta(minutes=10)
# Of the scheduler's own SQLite database, which is no part of our sql/.
_PIDS = """
SELECT job_id, pid FROM jobs
WHERE pid IS NOT NULL AND job_id IN (SELECT value FROM json_each(?))
"""
_READ_SECONDS = 0.3


class RunState(Enum):
    """Whether a run may be touched."""

    OVER = auto()  # the scheduler says so
    AT_WORK = auto()  # or about to be, or nobody here can tell
    LEFT_BEHIND = auto()  # its process is gone
    LEFT_BEHIND_UNSAFE = auto()  # as well, but deleting it might kill another process


@dataclass(frozen=True)
class _Process:
    """The process that a row names."""

    pid: int
    server_pid: int

    def lives(self, run: Run) -> bool:
        """Tell whether it is the run's own, and not a later one with its number."""
        try:
            process = psutil.Process(self.pid)
            latest = run.create_ts.timestamp() + _START_SLACK_SECONDS
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < latest
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True

    def is_taken(self) -> bool:
        """Tell whether the server would kill another process in its stead."""
        try:
            children = psutil.Process(self.server_pid).children(recursive=True)
        except psutil.Error:
            return True
        return any(child.pid == self.pid for child in children)


def run_states(
    runs: Sequence[Run], *, server: Server, now: datetime, started_ts: datetime | None = None
) -> dict[str, RunState]:
    """Return the state of each run by its id.

    Where the processes cannot be seen, a run that began before the server did (``started_ts``)
    counts as left behind, but not as one that may be deleted.
    """
    pids = _pids(server.database, [run.id for run in runs if not _is_over(run)])
    return {
        run.id: RunState.OVER
        if _is_over(run)
        else _state(run, pids.get(run.id), server=server, now=now, started_ts=started_ts)
        for run in runs
    }


def _is_over(run: Run) -> bool:
    stopped = run.status is RunStatus.STOPPED and run.start_ts is not None
    return stopped or run.status in RunStatus.over()


def _state(
    run: Run, pid: int | None, *, server: Server, now: datetime, started_ts: datetime | None
) -> RunState:
    if pid is None or server.pid is None:
        return _state_unseen(run, now=now, started_ts=started_ts)
    process = _Process(pid, server.pid)
    if process.lives(run):
        return RunState.AT_WORK
    unsafe = run.status is RunStatus.IN_PROGRESS and process.is_taken()
    return RunState.LEFT_BEHIND_UNSAFE if unsafe else RunState.LEFT_BEHIND


def _state_unseen(run: Run, *, now: datetime, started_ts: datetime | None) -> RunState:
    if run.status is not RunStatus.IN_PROGRESS:  # no process begins or ends this late
        return RunState.LEFT_BEHIND if run.create_ts < now - _GRACE else RunState.AT_WORK
    elder = started_ts is not None and run.create_ts < started_ts
    return RunState.LEFT_BEHIND_UNSAFE if elder else RunState.AT_WORK


def _pids(database: Path | None, run_ids: list[str]) -> dict[str, int]:
    """Return the pids of runs, as far as the scheduler's database tells them."""
    if database is None or not run_ids:
        return {}
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_READ_SECONDS)
        ) as connection:
            return dict(connection.execute(_PIDS, [json.dumps(run_ids)]).fetchall())
    except sqlite3.Error:
        return {}
