"""Batches of analyses to work on, in step 4.1 of a cycle, with what follows it."""

from collections.abc import Sequence
from typing import Any

from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from sandbox.seeding import PreparedJob, SeededBatch, add_batch, add_cycle, add_step

CYCLE = "Analysis-2025-Q1"


def request(name: str) -> dict[str, Any]:
    """Return the prepared request of an analysis of this name."""
    return {
        "method": "POST",
        "path": "/platform/model/v1/jobs",
        "json": {
            "resourceUri": "/platform/riskdata/v1/exposures/7/portfolios/3",
            "resourceType": "portfolio",
            "type": "DLM",
            "settings": {"name": name, "modelProfileId": 4001},
        },
    }


def job(label: str, workflow_id: str | None = None) -> PreparedJob:
    """Return a prepared job in this status."""
    return PreparedJob(JobStatus(label), workflow_id)


def analysis_batch(
    jobs: Sequence[PreparedJob] = (),
    *,
    status: BatchStatus = BatchStatus.ACTIVE,
    batch_type: BatchType | str = BatchType.ANALYSIS,
    cycle: str = CYCLE,
    cycle_status: CycleStatus = CycleStatus.ACTIVE,
    stage_num: int = 4,
    step_num: int = 1,
) -> SeededBatch:
    """Add a cycle with this step, the next one, and a batch of these jobs."""
    cycle_id = add_cycle(cycle, status=cycle_status)
    step = add_step(
        cycle_id,
        stage_num=stage_num,
        step_num=step_num,
        stage_name="Analysis Execution",
        step_name="Execute Analysis",
    )
    add_step(cycle_id, stage_num=stage_num, step_num=step_num + 1, requires_batch=False)
    return add_batch(step, batch_type, jobs, status=status)
