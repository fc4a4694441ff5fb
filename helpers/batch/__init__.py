"""Batches: read them, reconcile them with their jobs, submit them."""

from helpers.batch.reading import (
    get_active_batches,
    get_batch_job_configurations,
    get_batch_jobs,
    read_batch,
)
from helpers.batch.reconciling import Reconciliation, recon_batch, reconcile
from helpers.batch.submitting import batch_to_submit, submit_batch
from helpers.errors import BatchError

__all__ = [
    "BatchError",
    "Reconciliation",
    "batch_to_submit",
    "get_active_batches",
    "get_batch_job_configurations",
    "get_batch_jobs",
    "read_batch",
    "recon_batch",
    "reconcile",
    "submit_batch",
]
