"""The names by which existing stage notebooks mend batches, guarded as plans are.

Each makes a plan and applies it at once; the reason on record is the caller's, if it gave one. New
notebooks use the plans, which show what they would do first.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

from helpers import actions
from helpers.batch.plans.mending import plan_resubmit, plan_skip
from helpers.batch.plans.seeing import has_ended, open_batch, seen_jobs
from helpers.batch.reading import checked_id
from helpers.constants import ActionKind
from helpers.database import queries, transaction
from helpers.errors import BatchError, BatchMonitoringError, JobError
from helpers.job import read_job

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

NO_REASON = "no reason given"


class Resubmissions(TypedDict):
    """What became of several jobs that were to be resubmitted."""

    successful: list[dict[str, int]]  # {"job_id", "new_job_id"}, in the order given
    failed: list[dict[str, Any]]  # {"job_id", "error"}
    total: int
    success_count: int
    failure_count: int


def resubmit_job(
    job_id: int,
    irp_client: "IRPClient",
    batch_type: str,
    job_configuration_data: Mapping[str, Any] | None = None,
    override_reason: str | None = None,
) -> int:
    """Replace a job that failed by a new one, submit this, and return its id.

    Two people who call this for one job at the same moment make one new job: the second call
    raises. A new job that Moody's rejects is ERROR, with the reason, and is returned all the same.

    ``job_configuration_data`` is a configuration in place of the old one. A job with a prepared
    request needs the changed request too: use ``plan_resubmit(…, requests=…)``.

    Raises:
        JobError: there is no such job, it is of another type, or it may not be replaced.
        PlanOvertakenError: it was replaced at this moment.
        BatchError: its batch is being submitted by another run; the new job is there, and that run
            or the next one submits it.
    """
    job = read_job(job_id)
    if job["batch_type"] != batch_type:
        raise JobError(
            f"Job {job_id} is of type {job['batch_type']!r}, not {batch_type!r}.", job_id=job_id
        )
    changes = {job_id: job_configuration_data} if job_configuration_data is not None else None
    plan = plan_resubmit(job["batch_id"], [job_id], changes)
    for why in plan.refused.values():
        raise JobError(f"Job {job_id} is not resubmitted: {why}", job_id=job_id)
    return plan.apply(irp_client, reason=override_reason or NO_REASON)["new_job_ids"][0]


def resubmit_jobs(
    job_ids: Iterable[int],
    irp_client: "IRPClient",
    batch_type: str,
    job_configuration_data: Mapping[str, Any] | None = None,
    override_reason: str | None = None,
) -> Resubmissions:
    """Do what ``resubmit_job`` does for several jobs; one that fails does not stop the others."""
    successful: list[dict[str, int]] = []
    failed: list[dict[str, Any]] = []
    for job_id in job_ids:
        try:
            new_job_id = resubmit_job(
                job_id, irp_client, batch_type, job_configuration_data, override_reason
            )
        except BatchMonitoringError as exc:
            failed.append({"job_id": job_id, "error": str(exc)})
        else:
            successful.append({"job_id": job_id, "new_job_id": new_job_id})
    return Resubmissions(
        successful=successful,
        failed=failed,
        total=len(successful) + len(failed),
        success_count=len(successful),
        failure_count=len(failed),
    )


def skip_job(job_id: int) -> None:
    """Do without a job; its configuration stays, and needs another one.

    A batch that has ended becomes ACTIVE, and is decided anew. Calling it again changes nothing.

    Races: those of ``plan_skip``; of two people who call it at once the second is overtaken.

    Raises:
        JobError: there is no such job, or Moody's may have accepted it.
        PlanOvertakenError: it changed at this moment.
    """
    job = read_job(job_id)
    if job["skipped"]:
        return
    plan = plan_skip(job["batch_id"], [job_id], with_configurations=False)
    for why in plan.refused.values():
        raise JobError(f"Job {job_id} is not skipped: {why}", job_id=job_id)
    plan.apply(reason=NO_REASON)


def skip_job_configuration(
    job_configuration_id: int,
    skipped_reason_txt: str,
    override_job_configuration_id: int | None = None,
) -> None:
    """Do without a configuration and its jobs; a batch that has ended is decided anew.

    Calling it again changes nothing but the configuration that replaces it. Races: those of
    ``plan_skip`` for its jobs; the configuration itself waits for whoever holds its batch, and of
    two people the first reason stays.

    ``override_job_configuration_id`` is the configuration in its place, if there is one.

    Raises:
        BatchError: there is no such configuration, or a job of it may have been accepted by
            Moody's without our knowing.
    """
    why = actions.checked_reason(skipped_reason_txt or NO_REASON)
    batch_id = queries("mending").batch_of_configuration(configuration_id=job_configuration_id)
    if batch_id is None:
        raise BatchError(f"There is no job configuration {job_configuration_id}.")
    mine = [job for job in seen_jobs(batch_id) if job.configuration_id == job_configuration_id]
    plan = plan_skip(batch_id, [job.job_id for job in mine if not job.skipped])
    for job, problem in plan.refused.items():
        raise BatchError(f"{job} is not skipped: {problem}", batch_id=batch_id)
    if plan.jobs:
        plan.apply(reason=why)
    _skip_configuration(batch_id, job_configuration_id, why, override_job_configuration_id)


def _skip_configuration(
    batch_id: int, configuration_id: int, why: str, override: int | None
) -> None:
    with transaction():
        queries("mending").lock_open_batch(batch_id=batch_id)
        batch = open_batch(batch_id)
        changed = queries("mending").skip_configurations(
            configuration_ids=[configuration_id], reason=why, override_id=override
        )
        queries("mending").reactivate(batch_id=batch_id)
        if changed:
            details = {"configuration": configuration_id, "override": override}
            actions.record(uuid4(), ActionKind.SKIP, batch, details=details, reason=why)


def activate_batch(batch_id: int) -> None:
    """Let a batch that has ended be watched and decided anew; another is left as it is.

    Races: it waits for a pass or a person who holds the batch, and looks again; of two people who
    call it at once the second finds it ACTIVE and changes nothing.

    Raises:
        BatchError: there is no such batch, or its cycle is not ACTIVE.
    """
    with transaction():
        queries("mending").lock_open_batch(batch_id=checked_id(batch_id))
        batch = open_batch(batch_id)
        if not has_ended(batch):
            return
        queries("mending").reactivate(batch_id=batch_id)
        was = {"was": batch["status"]}
        actions.record(uuid4(), ActionKind.ACTIVATE, batch, details=was, reason=NO_REASON)
