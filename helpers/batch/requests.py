"""Build the requests of a batch's jobs from the names in their configurations.

It is done when the batch is submitted, because ids exist only after earlier steps, and never again
once the key of a job is claimed: the database refuses to change a request that may have been sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from helpers.constants import JobStatus
from helpers.database import queries
from helpers.display import progress
from helpers.errors import BuildError, JobError, MoodysError
from helpers.irp_integration.building import RequestBuilder, can_be_built, row_columns
from helpers.irp_integration.columns import fit
from helpers.job.ending import record_failure
from helpers.records import Batch, Job
from helpers.text import storable_json

BUILT_FROM_NAMES = "built_from_names"
"""Marks a stored request that may be built anew, for a changed configuration."""

_KEYS = UUID("7d1f3f0a-3b5c-4d39-9b3e-5b8b4a0c1e52")  # of what must be made before a request


def is_built_from_names(batch_type: str, request: object, row: Mapping[str, Any]) -> bool:
    """Tell whether a job's request is made of its configuration, and may be made anew."""
    if request is None:
        return can_be_built(batch_type) and fit(row_columns(batch_type), row)
    return isinstance(request, Mapping) and request.get(BUILT_FROM_NAMES) is True


def to_be_built(batch: Batch, jobs: Sequence[Job]) -> dict[int, dict[str, Any]]:
    """Return the rows of the jobs whose requests are still to be built, by job.

    Rows of other columns are another tool's, or for work that the notebook does itself.
    """
    if not can_be_built(batch["batch_type"]):
        return {}
    due = [
        job["id"]
        for job in jobs
        if job["submission_request"] is None
        and job["status"] == JobStatus.INITIATED
        and not job["skipped"]
    ]
    rows = queries("preparing").rows_of_jobs(job_ids=due)
    found = {row["job_id"]: row["configuration"] or {} for row in rows}
    columns = row_columns(batch["batch_type"])
    return {job_id: row for job_id, row in found.items() if fit(columns, row)}


def build_requests(batch: Batch, jobs: Sequence[Job]) -> dict[int, JobError]:
    """Build and store the requests of jobs that have none; return why, for those without one.

    A job of whose row no request can be made becomes ERROR with all that is wrong with it. One that
    could not be looked up stays due.
    """
    rows = to_be_built(batch, jobs)
    if not rows:
        return {}
    problems: dict[int, JobError] = {}
    with progress(len(rows), "Building requests", "jobs") as bar, RequestBuilder() as builder:
        for job_id, row in rows.items():
            problem = _build(builder, batch, job_id, row)
            if problem is not None:
                problems[job_id] = problem
            bar.update()
    return problems


def _build(
    builder: RequestBuilder, batch: Batch, job_id: int, row: Mapping[str, Any]
) -> JobError | None:
    key = uuid5(_KEYS, f"{batch['created_ts']} {job_id}")
    try:
        request = builder.build(batch["batch_type"], row, key=key)
    except BuildError as exc:
        record_failure(job_id, JobStatus.ERROR, str(exc))
        return JobError(f"Job {job_id} was not sent: {exc}", job_id=job_id)
    except MoodysError as exc:
        return JobError(f"Job {job_id} could not be built: {exc}", job_id=job_id)
    record = {**request.record(), BUILT_FROM_NAMES: True}
    queries("preparing").store_request(job_id=job_id, request=storable_json(record))
    return None
