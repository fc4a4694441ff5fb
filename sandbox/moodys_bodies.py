"""What Moody's says of a job: the bodies of the platform API and of the legacy one. Pure.

Shapes: published OpenAPI files and real answers that others have published. Where those
disagree on absent or null, both occur here, so that a reader has to cope with both.
"""

import uuid
from datetime import datetime
from typing import Any, TypeAlias

from helpers.constants import JobStatus
from sandbox.moodys_jobs import Family, Job

Body: TypeAlias = dict[str, Any]

RESOURCE_GROUP_ID = "5b3a1f62-0c0e-4d3e-9a55-6f1f0d6f2c11"
_USER_NAME = "analyst@sandbox.example"
_TASK_WORDS: dict[str, str] = {  # a vocabulary of its own: not the one of jobs
    JobStatus.FINISHED: "Succeeded",
    JobStatus.FAILED: "Failed",
    JobStatus.CANCELLED: "Cancelled",
    JobStatus.RUNNING: "InProgress",
}
_NOT_AVAILABLE = "Not Available"


def full_body(job: Job, now: datetime) -> Body:
    """Return what a read by id answers."""
    return {**row(job, now), "tasks": [_task(job, now)]}


def row(job: Job, now: datetime) -> Body:
    """Return what a search answers: the body without its tasks."""
    status = job.status_at(now)
    body: Body = {
        "jobId": job.job_id,
        "priority": job.priority,
        "userName": _USER_NAME,
        "status": status,
        "submittedAt": milliseconds(job.submitted_ts),
        "name": job.name,
        "type": job.job_type,
        "progress": progress(status),
        "entitlement": "RI-RISKMODELER",
        "resourceGroupId": RESOURCE_GROUP_ID,
        "details": {
            "resources": [{"uri": uri} for uri in _uris(job, status)],
            "summary": summary(job, status),
        },
        "warnings": [],
    }
    if job.family is Family.EXPORT:
        del body["warnings"]
    if (started := job.started_at(now)) is not None:  # absent before, and then endedAt is null
        body["startedAt"] = whole_seconds(started)
        ended = job.ended_at(now)
        body["endedAt"] = ended and whole_seconds(ended)
    return body


def _uris(job: Job, status: str) -> list[str]:
    if status == JobStatus.FINISHED and job.result_uri:
        return [job.result_uri]
    return [job.resource_uri] if job.resource_uri else []


def _task(job: Job, now: datetime) -> Body:
    status = job.status_at(now)
    failed = status == JobStatus.FAILED
    log: Body | list[Body] = {"jobId": job.job_id} if job.family is Family.MODEL else []
    return {
        "taskId": "1",
        "guid": str(uuid.uuid5(uuid.NAMESPACE_OID, job.job_id)),
        "jobId": job.job_id,
        "status": _TASK_WORDS.get(status, "Pending"),
        "submittedAt": milliseconds(job.submitted_ts),
        "createdAt": milliseconds(job.submitted_ts),
        "name": job.job_type,
        "percentComplete": progress(status),
        "output": {
            "summary": summary(job, status),
            # A task that only passes a failure on leaves its message empty.
            "errors": [{"message": ""}, {"message": job.reason or ""}] if failed else [],
            "log": log,
        },
    }


def legacy_body(job: Job, now: datetime) -> Body:
    """Return what the legacy API answers, by id and in a search alike."""
    status = job.status_at(now)
    started, ended = job.started_at(now), job.ended_at(now)
    failed = status == JobStatus.FAILED
    return {
        "id": int(job.job_id),
        "status": status,
        "name": job.name,
        "type": job.job_type,
        "userName": _USER_NAME,
        "priority": job.priority,
        "entitlement": "RI-RISKMODELER",
        "progress": progress(status),
        "submitTime": milliseconds(job.submitted_ts),
        "startTime": started and whole_seconds(started),
        "endTime": ended and whole_seconds(ended),
        "summary": {"processing": summary(job, status) or _NOT_AVAILABLE},
        "output": {"resultUri": job.result_uri or _NOT_AVAILABLE},
        "messages": [],
        "jobs": [
            {
                "workflowId": int(job.job_id),
                "taskId": 1,
                "name": job.job_type,
                "output": {"errors": [{"message": job.reason or _NOT_AVAILABLE}] if failed else []},
            }
        ],
    }


def summary(job: Job, status: str) -> str:
    """Return the sentence that the interface shows for a job."""
    match status:
        case JobStatus.FINISHED:
            return f"{job.name} has completed successfully"
        case JobStatus.FAILED:
            return f"{job.name} has failed"
        case JobStatus.CANCELLED:
            return f"{job.name} was cancelled"
        case _:
            return f"{job.name} is in progress"


def progress(status: str) -> int:
    """Return how far a job is, in per cent; Moody's own numbers are as coarse."""
    match status:
        case JobStatus.FINISHED:
            return 100
        case JobStatus.RUNNING:
            return 50
        case _:
            return 0


def milliseconds(moment: datetime) -> str:
    """Return a time as in ``submittedAt``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole_seconds(moment: datetime) -> str:
    """Return a time as in ``startedAt`` and ``endedAt``."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
