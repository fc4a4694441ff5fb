"""Reading jobs from the stand-in for Moody's: by id, by search, and in the legacy way."""

from collections.abc import Iterable
from itertools import islice

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Fault, Kind, Misbehaviour
from sandbox.moodys_bodies import full_body, legacy_body, row
from sandbox.moodys_catalogue import Row, Term
from sandbox.moodys_gateway import Gateway, Handler, filter_terms
from sandbox.moodys_jobs import Family
from sandbox.moodys_world import RefusedError, World
from sandbox.odd_answers import JsonResponse

JOB_PATHS = {
    Family.RISK_DATA: "/platform/riskdata/v1/jobs",
    Family.MODEL: "/platform/model/v1/jobs",
    Family.IMPORT: "/platform/import/v1/jobs",
    Family.GEOHAZ: "/platform/geohaz/v1/jobs",
    Family.GROUPING: "/platform/grouping/v1/jobs",
    Family.EXPORT: "/platform/export/v1/jobs",
    Family.WORKFLOWS: "/riskmodeler/v1/workflows",
}
SEARCHABLE = (Family.RISK_DATA, Family.MODEL, Family.EXPORT)
_DEFAULT_LIMIT = 100


def read_routes(gateway: Gateway) -> list[Route]:
    """Return the routes that read jobs; those that are asked most come first."""
    by_id = [
        gateway.route("GET", f"{path}/{{job_id}}", _by_id(family), family=family, kind=Kind.BY_ID)
        for family, path in JOB_PATHS.items()
    ]
    searches = [
        gateway.route("GET", path, _search(family), family=family, kind=Kind.SEARCH)
        for family, path in JOB_PATHS.items()
        if family is not Family.WORKFLOWS
    ]
    legacy = JOB_PATHS[Family.WORKFLOWS]
    return [
        *by_id,
        *searches,
        gateway.route("GET", legacy, _workflows, family=Family.WORKFLOWS, kind=Kind.SEARCH),
    ]


def _by_id(family: Family) -> Handler:
    body_of = legacy_body if family is Family.WORKFLOWS else full_body

    async def read(world: World, request: Request, _: Misbehaviour | None) -> Response:
        job = world.jobs.get(family, request.path_params["job_id"])
        if job is None:
            raise RefusedError(404, "Invalid job id")
        return JsonResponse(body_of(job, world.jobs.now()))

    return read


def _search(family: Family) -> Handler:
    async def search(world: World, request: Request, how: Misbehaviour | None) -> Response:
        if family not in {*SEARCHABLE, *world.also_searchable}:  # nobody has seen these exist
            raise RefusedError(404, "Not Found")
        ignored = how is not None and how.fault is Fault.FILTER_IGNORED
        terms = [] if ignored else filter_terms(request)
        rows = _page(_rows(world, family, terms), request)
        return JsonResponse(rows)

    return search


async def _workflows(world: World, request: Request, how: Misbehaviour | None) -> Response:
    ids = request.query_params.get("ids", "")
    ignored = not ids or (how is not None and how.fault is Fault.FILTER_IGNORED)
    jobs = world.jobs.newest_first(Family.WORKFLOWS, None if ignored else ids.split(","))
    bodies = [legacy_body(job, world.jobs.now()) for job in jobs]
    return JsonResponse({"totalMatchCount": len(bodies), "workflows": _page(bodies, request)})


def _rows(world: World, family: Family, terms: list[Term]) -> Iterable[Row]:
    """Yield the rows that fulfil all terms, newest first; ids are looked up, not looked for."""
    now = world.jobs.now()
    ids = next((term.values for term in terms if term.field == "jobId"), None)
    rows = (row(job, now) for job in world.jobs.newest_first(family, ids))
    return (r for r in rows if all(term.holds(r) for term in terms))


def _page(rows: Iterable[Row], request: Request) -> list[Row]:
    """Return one page; ``offset`` is documented as pages and behaves as records."""
    query = request.query_params
    try:
        limit, offset = int(query.get("limit", _DEFAULT_LIMIT)), int(query.get("offset", 0))
    except ValueError:
        raise RefusedError(400, "limit and offset take numbers.") from None
    if limit < 1 or offset < 0:
        raise RefusedError(400, "limit and offset take positive numbers.")
    return list(islice(rows, offset, offset + limit))
