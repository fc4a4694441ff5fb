"""What the published client looks up before it submits: resources, reference data, upload places.

The client uploads the files of an MRI import to S3 by way of boto3. With
``AWS_ENDPOINT_URL_S3`` set to the stand-in's URL that works too: files are taken and dropped.
"""

import base64
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Kind, Misbehaviour
from sandbox.moodys_catalogue import SERVERS, Term, reference_data
from sandbox.moodys_gateway import Gateway, Handler, filter_terms
from sandbox.moodys_submissions import RISK_DATA
from sandbox.moodys_world import RefusedError, World, json_object
from sandbox.odd_answers import JsonResponse

BUCKET = "moodys-sandbox-uploads"
_FOLDER_ID = 39_073
_EXPOSURE = f"{RISK_DATA}/exposures/{{parent_id:int}}"
_ANALYSIS = f"{RISK_DATA}/analyses/{{analysis_id:int}}"
_PORTFOLIO = f"{_EXPOSURE}/portfolios/{{portfolio_id:int}}"


def lookup_routes(gateway: Gateway) -> list[Route]:
    """Return the routes that only look something up, or place files."""
    handlers: list[tuple[str, str, Handler]] = [
        ("GET", f"{RISK_DATA}/dataservers", _servers),
        ("GET", f"{RISK_DATA}/dataservers/{{parent_id:int}}/databases", _search("databases")),
        ("GET", f"{RISK_DATA}/exposuresets", _search("exposuresets")),
        ("GET", f"{RISK_DATA}/exposures", _search("exposures")),
        ("GET", f"{RISK_DATA}/analyses", _search("analyses")),
        ("GET", f"{_EXPOSURE}/portfolios", _search("portfolios")),
        ("GET", f"{_EXPOSURE}/treaties", _search("treaties")),
        ("GET", f"{_EXPOSURE}/cedants", _cedants),
        ("GET", f"{_EXPOSURE}/lobs", _lobs),
        ("GET", f"{_PORTFOLIO}/accounts", _accounts),
        ("PATCH", f"{_PORTFOLIO}/accounts", _mapped),
        ("PUT", f"{_PORTFOLIO}/filtered-accounts", _mapped),
        ("GET", "/platform/referencedata/v1/tags", _tags),
        ("GET", "/analysis-settings/{table}", _reference_data),
        ("GET", "/data-store/referencetables/{table}", _reference_data),
        ("GET", "/data-store/referenceTables/{table}", _reference_data),
        ("GET", _ANALYSIS, _analysis),
        ("GET", f"{_ANALYSIS}/regions", _regions),
        ("GET", f"{_ANALYSIS}/treaties", _no_rows),
        ("POST", "/platform/import/v1/folders", _folder),
    ]
    kind = Kind.LOOKUP
    upload = gateway.route(
        "PUT", f"/{BUCKET}/{{key:path}}", _upload, family="s3", kind=kind, public=True
    )
    return [
        *(gateway.route(*handler, family="riskdata", kind=kind) for handler in handlers),
        upload,
    ]


def _search(kind: str) -> Handler:
    async def search(world: World, request: Request, _: Misbehaviour | None) -> Response:
        terms = filter_terms(request)
        parent_id = request.path_params.get("parent_id")
        now = world.jobs.now()
        return JsonResponse(world.catalogue.search(kind, terms, now=now, parent_id=parent_id))

    return search


async def _servers(_: World, request: Request, __: Misbehaviour | None) -> Response:
    terms = filter_terms(request)
    return JsonResponse([s for s in SERVERS if all(term.holds(s) for term in terms)])


async def _cedants(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return JsonResponse([{"cedantId": "1", "cedantName": "Sandbox Insurance"}])


async def _lobs(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return JsonResponse([{"lobId": 1, "lobName": "Property"}])


async def _accounts(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return JsonResponse([{"accountId": 1, "accountName": "Account 1", "locationsCount": 250}])


async def _mapped(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return Response()  # the documented 200 carries no body


async def _tags(world: World, request: Request, _: Misbehaviour | None) -> Response:
    names = re.findall(r"'([^']*)'", request.query_params.get("filter", ""))
    tags = world.catalogue.search("tags", [], now=world.jobs.now())
    return JsonResponse([tag for tag in tags if tag["tagName"] in names])


def _analysis_row(world: World, request: Request) -> dict[str, Any]:
    """Return an analysis with what a grouping wants to know of it."""
    analysis_id = str(request.path_params["analysis_id"])
    terms = [Term("analysisId", frozenset({analysis_id}))]
    found = world.catalogue.search("analyses", terms, now=world.jobs.now())
    if not found:
        raise RefusedError(404, f"Analysis {analysis_id} was not found.")
    return {"engineVersion": "RL25", "perilCode": "WS", "regionCode": "NA", **found[0]}


async def _analysis(world: World, request: Request, _: Misbehaviour | None) -> Response:
    return JsonResponse(_analysis_row(world, request))


async def _regions(world: World, request: Request, _: Misbehaviour | None) -> Response:
    """Return the regions of an analysis: none for one that is not to be grouped."""
    row = _analysis_row(world, request)
    region = {"framework": "ELT", "regionCode": "NA", "eventRateSchemeId": 739}
    blocked = row["analysisName"] in world.not_to_group
    return JsonResponse([] if blocked else [region])


async def _no_rows(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return JsonResponse([])


async def _reference_data(world: World, request: Request, _: Misbehaviour | None) -> Response:
    query = request.query_params
    quoted = re.findall(r'Name="([^"]*)"', query.get("where", ""))
    name = query.get("name") or (quoted[0] if quoted else "")
    table = str(request.path_params["table"]).lower()
    rows = reference_data(table, name)
    if name in world.unknown_names:
        rows = [] if isinstance(rows, list) else {"count": 0, "items": []}
    return JsonResponse(rows)


async def _folder(_: World, request: Request, __: Misbehaviour | None) -> Response:
    """Say where to upload the files of an import, as Moody's does: a bucket and a way in."""
    body = await json_object(request)
    wanted = (body.get("properties") or {}).get("fileTypes") or ["exposureFile"]
    return JsonResponse(
        {
            "folderId": str(_FOLDER_ID),
            "folderType": body.get("folderType"),
            "uploadDetails": {str(name): _upload_location(str(name)) for name in wanted},
        },
        201,
    )


def _upload_location(name: str) -> dict[str, object]:
    """Return an upload place; its address can only be reached through ``AWS_ENDPOINT_URL_S3``."""
    way_in = {
        "accessKeyId": "SANDBOX",
        "secretAccessKey": "sandbox",
        "sessionToken": "sandbox",
        "path": f"imports/{_FOLDER_ID}/{name}",
        "region": "us-east-1",
    }
    return {
        "fileUri": f"platform/import/v1/folders/{_FOLDER_ID}/files/{name}",
        "presignParams": {k: base64.b64encode(v.encode()).decode() for k, v in way_in.items()},
        "uploadUrl": f"https://{BUCKET}.s3.amazonaws.com/imports/{_FOLDER_ID}/{name}",
    }


async def _upload(_: World, __: Request, ___: Misbehaviour | None) -> Response:
    return Response(headers={"ETag": '"sandbox"'})
