"""How jobs were polled before: one after another, and everything anew for each.

Our own short version of that loop: for each job a client with a session of its own, one request,
and four connections to the database (read the job, log the answer, move the job, read it again).
"""

import time
from collections.abc import Iterable
from typing import Any

import psycopg
from irp_integration import IRPClient
from psycopg.types.json import Jsonb


def seconds_per_job(job_ids: Iterable[int], database: str) -> float:
    """Poll these jobs as it was done before and return how long one takes."""
    ids = list(job_ids)
    started = time.perf_counter()
    for job_id in ids:
        _track(job_id, database)
    return (time.perf_counter() - started) / len(ids)


def _track(job_id: int, database: str) -> str:
    [workflow_id] = _run(database, "SELECT moodys_workflow_id FROM irp_job WHERE id = %s", job_id)
    body = IRPClient().analysis.get_analysis_job(int(workflow_id))
    _run(
        database,
        "INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id, job_status, tracking_data)"
        " VALUES (%s, %s, %s, %s)",
        job_id,
        workflow_id,
        body["status"],
        Jsonb(body),
    )
    _run(
        database,
        "UPDATE irp_job SET status = %s, last_tracked_ts = now(), updated_ts = now() WHERE id = %s",
        body["status"],
        job_id,
    )
    [status] = _run(database, "SELECT status::text FROM irp_job WHERE id = %s", job_id)
    return str(status)


def _run(database: str, statement: str, *parameters: Any) -> tuple[Any, ...]:
    with psycopg.connect(database) as connection:
        cursor = connection.execute(statement, parameters)
        return (cursor.fetchone() or ()) if cursor.description else ()
