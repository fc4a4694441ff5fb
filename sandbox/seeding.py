"""Put cycles, batches and jobs into a metastore to practise on.

For the demo, the tests and the benchmarks. A team's own metastore is filled by its own tools.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import transaction
from sandbox.statements import statements


@dataclass(frozen=True)
class PreparedJob:
    """A job with a configuration of its own."""

    status: JobStatus = JobStatus.INITIATED
    workflow_id: str | None = None
    request: Mapping[str, Any] | None = None  # {"method", "path", "json"}
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeededBatch:
    """The ids of what was made."""

    batch_id: int
    configuration_ids: list[int]
    job_ids: list[int]


def add_cycle(name: str, *, status: CycleStatus = CycleStatus.ACTIVE) -> int:
    """Add a cycle and return its id."""
    with transaction() as connection:
        cycle_id: int = statements().cycle(connection, name=name, status=status)
    return cycle_id


def add_step(
    cycle_id: int,
    *,
    stage_num: int,
    step_num: int,
    stage_name: str | None = None,
    step_name: str | None = None,
    notebook_path: str | None = None,
    requires_batch: bool = True,
) -> int:
    """Add a step, and its stage where that is not there yet, and return the step's id."""
    with transaction() as connection:
        stage_id = statements().stage(
            connection, cycle_id=cycle_id, num=stage_num, name=stage_name or f"Stage {stage_num}"
        )
        step_id: int = statements().step(
            connection,
            stage_id=stage_id,
            num=step_num,
            name=step_name or f"Step {step_num}",
            notebook_path=notebook_path,
            requires_batch=requires_batch,
        )
    return step_id


def add_batch(
    step_id: int,
    batch_type: BatchType | str,
    jobs: Sequence[PreparedJob] = (),
    *,
    status: BatchStatus = BatchStatus.INITIATED,
) -> SeededBatch:
    """Add a batch with these jobs, each with a configuration of its own."""
    with transaction() as connection:
        batch_id = statements().batch(
            connection, step_id=step_id, batch_type=batch_type, status=status
        )
        data = [dict(job.configuration) for job in jobs]
        configuration_ids = add_configurations(batch_id, data)
        job_ids = add_jobs(batch_id, jobs, configuration_ids=configuration_ids)
    return SeededBatch(batch_id, configuration_ids, job_ids)


def add_configurations(
    batch_id: int, data: Sequence[Mapping[str, Any]], *, skipped: bool = False
) -> list[int]:
    """Add job configurations to a batch and return their ids in order."""
    with transaction() as connection:
        texts = [json.dumps(item) for item in data]
        rows = statements().configurations(
            connection, batch_id=batch_id, data=texts, skipped=skipped
        )
        return [row["id"] for row in rows]


def add_jobs(
    batch_id: int,
    jobs: Sequence[PreparedJob],
    *,
    configuration_ids: Sequence[int | None],
    skipped: bool = False,
) -> list[int]:
    """Add jobs to a batch, each for the configuration in its place, and return their ids."""
    with transaction() as connection:
        rows = statements().jobs(
            connection,
            batch_id=batch_id,
            configuration_ids=list(configuration_ids),
            statuses=[job.status.value for job in jobs],
            workflow_ids=[job.workflow_id for job in jobs],
            requests=[
                json.dumps(dict(job.request)) if job.request is not None else None for job in jobs
            ],
            skipped=skipped,
        )
        return [row["id"] for row in rows]
