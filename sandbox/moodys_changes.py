"""Changing jobs at the stand-in for Moody's: cancelling them, and their priority."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from helpers.constants import JobStatus
from sandbox.misbehaviour import Kind, Misbehaviour
from sandbox.moodys_access import header
from sandbox.moodys_bodies import row
from sandbox.moodys_gateway import Gateway, Handler
from sandbox.moodys_jobs import TERMINAL, Family, Job, Script
from sandbox.moodys_reads import JOB_PATHS
from sandbox.moodys_world import Changed, RefusedError, World, json_object
from sandbox.odd_answers import JsonResponse

_STOPPABLE_TYPES = frozenset(
    {"ALM", "BATCH", "CLIMATE_CHANGE", "CONVERT_RESULT_CURRENCY", "DLM", "HD", "DOWNLOAD_RDM"}
)
"""Those that can be cancelled when they no longer wait in the queue."""

_PRIORITIES = frozenset({"Very Low", "Low", "Medium", "High", "Very High"})
_STOPPING = Script(
    steps=((JobStatus.CANCEL_REQUESTED, 0.2), (JobStatus.CANCELLING, 0.2)), end=JobStatus.CANCELLED
)


def change_routes(gateway: Gateway) -> list[Route]:
    """Return the routes that change jobs."""
    paths = {family: f"{path}/{{job_id}}" for family, path in JOB_PATHS.items()}
    legacy = paths.pop(Family.WORKFLOWS)
    return [
        *(
            gateway.route("PATCH", path, _change(family), family=family, kind=Kind.CHANGE)
            for family, path in paths.items()
        ),
        gateway.route("DELETE", legacy, _delete, family=Family.WORKFLOWS, kind=Kind.CHANGE),
    ]


def _change(family: Family) -> Handler:
    async def change(world: World, request: Request, _: Misbehaviour | None) -> Response:
        body = await json_object(request)
        job = _found(world, family, request)
        match body:
            case {"status": JobStatus.CANCELLED}:
                _cancel(world, job)
            case {"priority": str(priority)} if priority in _PRIORITIES:
                job.priority = priority
            case _:
                raise RefusedError(400, "Only a status of CANCELLED, or a priority, can be set.")
        _keep(world, request, job, body)
        return JsonResponse(row(job, world.jobs.now()))

    return change


async def _delete(world: World, request: Request, _: Misbehaviour | None) -> Response:
    job = _found(world, Family.WORKFLOWS, request)
    _cancel(world, job)
    _keep(world, request, job, {"status": JobStatus.CANCELLED.value})
    return Response(status_code=202)


def _found(world: World, family: Family, request: Request) -> Job:
    job = world.jobs.get(family, request.path_params["job_id"])
    if job is None:
        raise RefusedError(404, "Invalid job id")
    return job


def _cancel(world: World, job: Job) -> None:
    status = job.status_at(world.jobs.now())
    if status in TERMINAL:
        raise RefusedError(400, f"The job is {status} and cannot be cancelled.")
    if status != JobStatus.QUEUED and job.job_type not in _STOPPABLE_TYPES:
        raise RefusedError(400, f"A {job.job_type} job that is {status} cannot be cancelled.")
    world.jobs.move(job.job_id, _STOPPING)


def _keep(world: World, request: Request, job: Job, body: dict[str, object]) -> None:
    key = header(request.headers, "x-rms-requestid") or None
    world.changes.append(Changed(job_id=job.job_id, request_id=key, body=dict(body)))
