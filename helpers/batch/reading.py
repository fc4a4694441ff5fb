"""Read batches, their jobs and their configurations."""

from collections.abc import Collection
from typing import cast

from helpers.constants import JobStatus
from helpers.database import queries
from helpers.errors import BatchError
from helpers.reconciliation import BatchFacts
from helpers.records import ActiveBatch, Batch, Job, JobConfiguration, is_id


def get_active_batches() -> list[ActiveBatch]:
    """Return the ACTIVE batches of ACTIVE cycles, oldest first."""
    return list(queries("batch").active_batches())


def read_batch(batch_id: int) -> Batch:
    """Return one batch with its place in the workflow.

    Raises:
        BatchError: there is no such batch, or the id is not valid.
    """
    rows = queries("batch").read_batches(batch_ids=[checked_id(batch_id)])
    if not rows:
        raise BatchError(f"There is no batch {batch_id} in the metastore.", batch_id=batch_id)
    return cast("Batch", rows[0])


def facts_of(batch_ids: Collection[int]) -> dict[int, BatchFacts]:
    """Return by batch what decides about it, counted in one snapshot."""
    rows = queries("batch").facts(batch_ids=list(batch_ids))
    return {row.pop("batch_id"): BatchFacts(**row) for row in rows}


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
