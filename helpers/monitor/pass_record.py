"""The record of a pass in ``irp_monitor_run``."""

import json
import os
import sys

from helpers.constants import StartedBy
from helpers.database import queries
from helpers.display import Remark
from helpers.identity import host_name, package_version
from helpers.monitor.summary import SummaryReport
from helpers.redaction import redact_json
from helpers.schedule.scheduled_copy import own_copy_is_current, own_run_id
from helpers.text import counted

_MOST_ERRORS = 100


def log_start() -> int:
    """Put the start of a pass on record; return its id."""
    started_by = StartedBy.TERMINAL if os.isatty(0) else StartedBy.COMMAND
    if "ipykernel.kernelapp" in sys.modules:  # whoever only looks for kernels imports others
        started_by = StartedBy.SCHEDULED_NOTEBOOK if own_run_id() else StartedBy.NOTEBOOK
    run_id: int = queries("monitor_runs").start(
        host=host_name(),
        pid=os.getpid(),
        package_version=package_version(),
        started_by=started_by,
        copy_is_current=own_copy_is_current(),
    )
    return run_id


def log_end(run_id: int, report: SummaryReport) -> None:
    """Put the end of a pass on record, with its figures and errors.

    As many errors as a row per minute may hold; each poll is on record by itself.
    """
    errors = report.errors[:_MOST_ERRORS]
    if more := len(report.errors) - len(errors):
        errors.append(Remark("…", f"and {counted(more, 'more error')}."))
    queries("monitor_runs").finish(
        id=run_id,
        batches_found=report.batches_found,
        batches_settled=report.batches_completed + report.batches_failed,
        jobs_polled=report.jobs_polled,
        polls_failed=report.polls_failed,
        status_changes=report.transitions,
        chains_run=report.chains_executed,
        cards_sent=report.cards_sent,
        errors=redact_json(json.dumps([{"about": e.about, "text": e.text} for e in errors])),
    )
