"""The shapes of the dicts that the public functions return.

They are plain dicts, as stage notebooks have always used them; these types say what is inside.
All times are timezone-aware. None means what NULL means: not yet, or not known.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, TypeGuard


class Location(TypedDict):
    """A step's place in the workflow."""

    cycle_id: int
    cycle_name: str
    stage_num: int
    stage_name: str
    step_id: int
    step_num: int
    step_name: str


class Step(Location):
    """A step with its place in the workflow."""

    cycle_status: str
    notebook_path: str | None


class ActiveBatch(Location):
    """A batch that a pass watches."""

    batch_id: int
    batch_type: str
    submitted_ts: datetime | None
    activation_num: int


class Batch(ActiveBatch, Step):
    """A batch with its place in the workflow."""

    id: int  # as existing notebooks call it
    status: str
    configuration_id: int | None
    completed_ts: datetime | None
    created_ts: datetime | None
    updated_ts: datetime | None


class Job(TypedDict):
    """A job of a batch."""

    id: int
    batch_id: int
    job_configuration_id: int | None
    moodys_workflow_id: str | None
    status: str
    skipped: bool
    last_error: str | None
    parent_job_id: int | None
    submitted_ts: datetime | None
    completed_ts: datetime | None
    last_tracked_ts: datetime | None
    created_ts: datetime | None
    updated_ts: datetime | None
    submission_request: dict[str, Any] | None
    submission_response: dict[str, Any] | None


class JobDetails(Job):
    """A job with the type of its batch and the idempotency key of its submission."""

    batch_type: str
    submission_request_id: Any


class JobConfiguration(TypedDict):
    """What a job was made from."""

    id: int
    batch_id: int
    configuration_id: int | None
    job_configuration_data: dict[str, Any] | None
    skipped: bool
    overridden: bool
    override_reason_txt: str | None
    parent_job_configuration_id: int | None
    skipped_reason_txt: str | None
    override_job_configuration_id: int | None
    created_ts: datetime | None
    updated_ts: datetime | None


class BatchSubmission(TypedDict):
    """What became of submitting a batch."""

    batch_id: int
    status: str
    submitted: int  # jobs that Moody's accepted in this call
    failed: int  # jobs that could not be submitted in this call
    untouched: int  # jobs that were submitted, ended or skipped before
    errors: list[str]  # one line per job that failed


class ChainConfig(TypedDict):
    """One chain rule: the batch of a step ends in one of these statuses, the next step is due."""

    stage_num: int
    step_num: int
    batch_type: str
    trigger_on: list[str]  # batch statuses
    next_step_num: int


class ChainRun(TypedDict):
    """A chain run with the location of the batch that made it due."""

    id: int
    batch_id: int
    activation_num: int
    batch_type: str
    cycle_name: str
    stage_num: int
    stage_name: str
    step_num: int  # of the batch
    step_name: str
    next_step_num: int


class NextStep(TypedDict):
    """The step that follows a batch."""

    cycle_name: str
    stage_num: int
    step_num: int
    notebook_path: Path


class NotebookResult(TypedDict):
    """How a notebook ran."""

    success: bool
    notebook_path: Path  # the source, which is never written
    executed_path: Path | None  # the executed copy
    execution_time: float  # seconds
    stdout: str
    stderr: str
    error: str | None  # the notebook's own error


def step_in_cycle(cycle_name: str, stage_num: int, step_num: int) -> str:
    """Return a step as every screen names it: ``4.2 of Q1``."""
    return f"{stage_num}.{step_num} of {cycle_name}"


def step_title(step: Location) -> str:
    """Return a step with its name: ``step 4.2 Analysis Summary``."""
    return f"step {step['stage_num']}.{step['step_num']} {step['step_name']}"


def step_call(name: str, cycle: str, stage: int, step: int) -> str:
    """Return a call about a step, ready to be copied."""
    return f"{name}({cycle!r}, {stage}, {step})"


def is_id(value: object) -> TypeGuard[int]:
    """Tell whether a value may be the id of a row: a whole number from 1 on, as ``int`` holds."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
