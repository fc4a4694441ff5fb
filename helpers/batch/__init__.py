"""Batches: read them, reconcile them with their jobs, submit them."""

from helpers.batch.compatible import (
    activate_batch,
    resubmit_job,
    resubmit_jobs,
    skip_job,
    skip_job_configuration,
)
from helpers.batch.history import history
from helpers.batch.named import NamedBatch, choose_batch
from helpers.batch.plans.mending import plan_resubmit, plan_skip
from helpers.batch.plans.request import plan_cancel, plan_priority
from helpers.batch.plans.resolve import plan_resolve
from helpers.batch.preparing import PreparePlan, create_batch
from helpers.batch.reading import (
    get_active_batches,
    get_batch_job_configurations,
    get_batch_jobs,
    read_batch,
)
from helpers.batch.reconciling import Reconciliation, recon_batch, reconcile
from helpers.batch.submitting import batch_to_submit, left_to_submit, submission_of, submit_batch
from helpers.batch.validating import BatchValidation, validate_batch
from helpers.errors import BatchError
from helpers.steps import hold_step, plan_rerun, release_step

__all__ = [
    "BatchError",
    "BatchValidation",
    "NamedBatch",
    "PreparePlan",
    "Reconciliation",
    "activate_batch",
    "batch_to_submit",
    "choose_batch",
    "create_batch",
    "get_active_batches",
    "get_batch_job_configurations",
    "get_batch_jobs",
    "history",
    "hold_step",
    "left_to_submit",
    "plan_cancel",
    "plan_priority",
    "plan_rerun",
    "plan_resolve",
    "plan_resubmit",
    "plan_skip",
    "read_batch",
    "recon_batch",
    "reconcile",
    "release_step",
    "resubmit_job",
    "resubmit_jobs",
    "skip_job",
    "skip_job_configuration",
    "submission_of",
    "submit_batch",
    "validate_batch",
]
