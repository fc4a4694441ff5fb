"""Read batches, their jobs and their configurations."""

from __future__ import annotations

from typing import cast

from helpers.constants import JobStatus
from helpers.database import queries
from helpers.errors import BatchError
from helpers.records import ActiveBatch, Batch, Job, JobConfiguration, is_id


def get_active_batches() -> list[ActiveBatch]:
    """Return the ACTIVE batches of ACTIVE cycles, oldest first."""
    return list(queries("batch").active_batches())


def read_batch(batch_id: int) -> Batch:
    """Return one batch with its place in the workflow.

    Raises:
        BatchError: there is no such batch, or the id is not valid.
    """
    row = queries("batch").read_batch(batch_id=checked_id(batch_id))
    if row is None:
        raise BatchError(f"There is no batch {batch_id} in the metastore.", batch_id=batch_id)
    return cast("Batch", row)


def get_batch_jobs(
    batch_id: int,
    skipped: bool | None = None,  # noqa: FBT001 - the published signature
    status: str | None = None,
) -> list[Job]:
    """Return the jobs of a batch in the order in which they were made.

    Args:
        batch_id: the batch.
        skipped: True for skipped jobs only, False for the others only, None for both.
        status: a ``JobStatus``; None for all.

    Raises:
        BatchError: there is no such batch, or no such status.
    """
    if status is not None and status not in set(JobStatus):
        raise BatchError(f"{status!r} is not a job status.", batch_id=batch_id)
    read_batch(batch_id)
    rows = queries("batch").batch_jobs(batch_id=batch_id, skipped=skipped, status=status)
    return list(rows)


def get_batch_job_configurations(
    batch_id: int,
    skipped: bool | None = None,  # noqa: FBT001 - as get_batch_jobs
) -> list[JobConfiguration]:
    """Return the job configurations of a batch in the order in which they were made.

    Raises:
        BatchError: there is no such batch.
    """
    read_batch(batch_id)
    rows = queries("batch").batch_job_configurations(batch_id=batch_id, skipped=skipped)
    return list(rows)


def checked_id(batch_id: object) -> int:
    """Return the id, if it is one that a batch may have; raises ``BatchError`` otherwise."""
    if not is_id(batch_id):
        raise BatchError(
            f"{batch_id!r} is not a valid batch id (a positive integer).", batch_id=batch_id
        )
    return batch_id
