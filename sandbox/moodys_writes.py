"""Submitting to the stand-in for Moody's: jobs, resources made at once, and the login."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Kind, Misbehaviour
from sandbox.moodys_access import header
from sandbox.moodys_catalogue import Catalogue
from sandbox.moodys_gateway import Gateway, Handler
from sandbox.moodys_jobs import Family, Job
from sandbox.moodys_reads import JOB_PATHS
from sandbox.moodys_submissions import (
    CREATIONS,
    SUBMISSIONS,
    Creation,
    Plan,
    Submission,
    missing_keys,
)
from sandbox.moodys_world import Received, RefusedError, World, json_object
from sandbox.odd_answers import JsonResponse

LOGIN_PATH = "/sml/auth/v1/login/implicit"
_PARENTS = ("treaty_id", "exposure_id", "set_id")  # the innermost first


def write_routes(gateway: Gateway) -> list[Route]:
    """Return the routes that change something."""
    jobs = [
        gateway.route("POST", how.path, _submit(how), family=how.family, kind=Kind.SUBMIT)
        for how in SUBMISSIONS
    ]
    creations = [
        gateway.route("POST", how.path, _create(how), family=Family.RISK_DATA, kind=Kind.SUBMIT)
        for how in CREATIONS
    ]
    login = gateway.route("POST", LOGIN_PATH, _login, family="auth", kind=Kind.LOGIN, public=True)
    return [*jobs, *creations, login]


async def _login(world: World, request: Request, _: Misbehaviour | None) -> Response:
    tokens = world.access.login(await json_object(request), world.jobs.now())
    if tokens is None:
        raise RefusedError(401, "Unauthorized")
    return JsonResponse(tokens)


def _submit(how: Submission) -> Handler:
    async def submit(world: World, request: Request, _: Misbehaviour | None) -> Response:
        body = await json_object(request)
        if missing := missing_keys(body, how.required):
            raise RefusedError(400, f"Missing in the request body: {', '.join(missing)}.")
        try:
            plan = how.plan(body, request.path_params, world.catalogue)
        except (LookupError, TypeError, ValueError) as exc:
            raise RefusedError(400, "The request body has a value of the wrong type.") from exc
        job = _job_of(plan, how.family, world)
        location = world.location(request, f"{JOB_PATHS[how.family]}/{job.job_id}")
        _keep(world, request, body, name=plan.name, location=location, job=job)
        return Response(status_code=how.http_status, headers={"Location": location})

    return submit


def _job_of(plan: Plan, family: Family, world: World) -> Job:
    job = world.jobs.add(
        family,
        script=world.jobs.script_for(plan.job_type, plan.name, plan.resource_uri),
        job_type=plan.job_type,
        name=plan.name,
        resource_uri=plan.resource_uri,
    )
    if (makes := plan.makes) is not None:
        job.result_uri = world.catalogue.add(
            makes.kind,
            makes.row,
            id_key=makes.id_key,
            path=makes.path,
            parent_id=makes.parent_id,
            made_by=job,
        )
    return job


def _create(how: Creation) -> Handler:
    async def create(world: World, request: Request, _: Misbehaviour | None) -> Response:
        body = await json_object(request)
        if missing := missing_keys(body, (how.name_key,)):
            raise RefusedError(400, f"Missing in the request body: {', '.join(missing)}.")
        parents = [request.path_params[p] for p in _PARENTS if p in request.path_params]
        uri = _added(world.catalogue, how, body, request.url.path, parents)
        location = world.location(request, uri)
        _keep(world, request, body, name=str(body[how.name_key]), location=location, job=None)
        return Response(status_code=201, headers={"Location": location})

    return create


def _added(
    catalogue: Catalogue, how: Creation, body: dict[str, object], path: str, parents: list[int]
) -> str:
    parent_id = parents[0] if parents else None
    return catalogue.add(how.kind, body, id_key=how.id_key, path=path, parent_id=parent_id)


def _keep(
    world: World,
    request: Request,
    body: dict[str, object],
    *,
    name: str,
    location: str,
    job: Job | None,
) -> None:
    world.submissions.append(
        Received(
            path=request.url.path,
            family=str(job.family if job else Family.RISK_DATA),
            name=name,
            location=location,
            job_id=job.job_id if job else None,
            request_id=header(request.headers, "x-rms-requestid") or None,
            body=body,
        )
    )
