"""Read a job, and tell what may be done with it at all."""

from typing import cast

from helpers.constants import BatchType, unknown_batch_type
from helpers.database import in_transaction, queries
from helpers.errors import JobError
from helpers.records import JobConfiguration, JobDetails, is_id


def read_job(job_id: int) -> JobDetails:
    """Return one job.

    Raises:
        JobError: there is no such job, or the id is not valid.
    """
    row = queries("job").read_job(job_id=checked_id(job_id))
    if row is None:
        raise JobError(f"There is no job {job_id} in the metastore.", job_id=job_id)
    return cast("JobDetails", row)


def get_job_config(job_id: int) -> JobConfiguration:
    """Return the configuration that a job was made from; its data is in ``job_configuration_data``.

    Raises:
        JobError: there is no such job, or it has no configuration.
    """
    read_job(job_id)
    row = queries("job").job_configuration(job_id=job_id)
    if row is None:
        raise JobError(f"Job {job_id} was made without a configuration.", job_id=job_id)
    return cast("JobConfiguration", row)


def known_type(job_id: int, batch_type: object) -> BatchType:
    """Return a batch type; raises ``JobError`` if nobody knows it."""
    known = BatchType.known(batch_type)
    if known is None:
        raise JobError(
            f"Job {job_id} is neither submitted nor polled: {unknown_batch_type(batch_type)}",
            job_id=job_id,
        )
    return known


def require_no_transaction(job_id: int) -> None:
    """Raise inside a transaction: what must be on record before a request would not be."""
    if in_transaction():
        raise JobError(
            f"Job {job_id}: Moody's is not asked inside a transaction. End it first.",
            job_id=job_id,
        )


def checked_id(job_id: object) -> int:
    """Return the id, if it is one that a job may have; raises ``JobError`` otherwise."""
    if not is_id(job_id):
        raise JobError(f"{job_id!r} is not a valid job id (a positive integer).", job_id=job_id)
    return job_id
