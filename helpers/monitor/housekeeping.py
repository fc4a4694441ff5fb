"""Once an hour, passes remove what passes leave: cheaply, a bounded amount at a time.

Goes by age and number: polls that changed nothing, old passes and reconciliations, executed
copies, and the finished runs of the schedule that started this pass. What is kept for good stays.
An hour is counted for each host and way of starting, because copies and schedules are theirs.
"""

from collections.abc import Callable
from datetime import timedelta

from helpers.clock import CLOCK
from helpers.constants import JobStatus
from helpers.database import AdvisoryLocks, LockSpace, queries, transaction
from helpers.display import Remark
from helpers.forecasts import store_forecasts
from helpers.identity import process_name
from helpers.irp_integration.bodies import moodys_times
from helpers.monitor.problems import isolated
from helpers.notebooks.copies import prune_copies
from helpers.schedule.scheduled_copy import own_run_id
from helpers.settings import get_settings

_EVERY = timedelta(hours=1)
_DAYS_AHEAD = 7  # of the tracking log's partitions: a week without a pass costs nothing
_SCHEDULER_SECONDS = 5.0  # it deletes some forty runs a second, and sixty come in an hour
_PIECE = 10_000  # rows in one transaction
_TIMES = 200  # jobs whose times are filled in at once: their bodies are read for it
_PIECES_SECONDS = 2.0  # so that a pass stays quick; the rest goes an hour later


def do_housekeeping(run_id: int) -> list[Remark]:
    """Do what is due and nobody else does at this moment; return what could not be done."""
    if not queries("housekeeping").is_due(id=run_id, every=_EVERY):
        return []
    with AdvisoryLocks(owner=process_name()) as locks:
        if not locks.try_acquire(LockSpace.HOUSEKEEPING, [0]):
            return []
        remarks: list[Remark] = []
        for task in _tasks():
            with isolated("Housekeeping", remarks):
                task()
    queries("housekeeping").note_done(id=run_id)
    return remarks


def _tasks() -> list[Callable[[], object]]:
    settings = get_settings()
    retention = timedelta(days=settings.monitor_retention_days)
    runs = settings.monitor_retention_runs
    statements = queries("housekeeping")
    return [
        lambda: statements.add_days(days_ahead=_DAYS_AHEAD),
        lambda: statements.drop_days(older_than=retention),
        lambda: _in_pieces(statements.prune_monitor_runs, retention),
        lambda: _in_pieces(statements.prune_reconciliations, retention),
        fill_in_times,
        store_forecasts,
        lambda: prune_copies(older_than=retention, keep_at_most=runs),
        lambda: _prune_schedule(retention, runs),
    ]


def _prune_schedule(retention: timedelta, runs: int) -> None:
    if own_run_id() is None:
        return
    # Imported once an hour in a scheduled notebook: it brings requests and psutil.
    from helpers.schedule.pruning import prune_own_schedule  # noqa: PLC0415

    prune_own_schedule(older_than=retention, keep_at_most=runs, budget_seconds=_SCHEDULER_SECONDS)


def fill_in_times() -> None:
    """Fill in Moody's own times of jobs that ended before they were kept, newest first."""
    deadline = CLOCK.monotonic() + _PIECES_SECONDS
    while CLOCK.monotonic() < deadline:
        with transaction():
            jobs = list(
                queries("recording").jobs_without_times(
                    terminal=list(JobStatus.terminal()), most=_TIMES
                )
            )
            times = [moodys_times(job["body"] or {}) for job in jobs]
            queries("recording").fill_times(
                job_ids=[job["job_id"] for job in jobs],
                seen=[job["seen_ts"] for job in jobs],
                submitted=[at.submitted_ts for at in times],
                started=[at.started_ts for at in times],
                ended=[at.ended_ts for at in times],
            )
        if len(jobs) < _TIMES:
            return


def _in_pieces(prune: Callable[..., int], older_than: timedelta) -> None:
    deadline = CLOCK.monotonic() + _PIECES_SECONDS
    while prune(older_than=older_than, most=_PIECE) == _PIECE and CLOCK.monotonic() < deadline:
        pass
