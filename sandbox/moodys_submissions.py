"""What can be submitted to the stand-in for Moody's, and what comes of it.

The paths and bodies are those of the published client's submitting calls (0.12.0), and of the
legacy processing call. Ids in a path are taken as they come: they need not exist here, so
that a prepared request works by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sandbox.moodys_catalogue import Catalogue
from sandbox.moodys_jobs import Family

Body: TypeAlias = dict[str, Any]

RISK_DATA = "/platform/riskdata/v1"


@dataclass(frozen=True)
class Resource:
    """What a submission makes beside its job, or in place of one."""

    kind: str  # in the catalogue
    id_key: str
    row: Body
    path: str  # of the collection that holds it
    parent_id: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a submission asks for."""

    job_type: str
    name: str
    resource_uri: str = ""
    makes: Resource | None = None


@dataclass(frozen=True)
class Submission:
    """One submitting call: where it goes, what its body must hold, and what it asks for."""

    path: str
    family: Family
    required: tuple[str, ...]
    plan: Callable[[Body, Mapping[str, int], Catalogue], Plan]
    http_status: int = 201


def missing_keys(body: Body, required: tuple[str, ...]) -> list[str]:
    """Return which of the required keys (``a.b`` for nested ones) have no value."""
    return [key for key in required if _at(body, key) in {None, ""}]


def _at(body: Any, key: str) -> str | None:
    for part in key.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return None if body is None or body in ("", [], {}) else str(body)


def _create_edm(body: Body, ids: Mapping[str, int], _: Catalogue) -> Plan:
    name = str(body["exposureName"])
    row = {"exposureName": name, "exposureSetId": ids["set_id"]}
    makes = Resource("exposures", "exposureId", row, path=f"{RISK_DATA}/exposures")
    return Plan("CREATE_EDM", name, f"{RISK_DATA}/exposuresets/{ids['set_id']}", makes)


def _upgrade_edm(_: Body, ids: Mapping[str, int], catalogue: Catalogue) -> Plan:
    uri = f"{RISK_DATA}/exposures/{ids['exposure_id']}"
    return Plan("EDM_DATA_UPGRADE", _name_behind(uri, catalogue), uri)


def _import(body: Body, _: Mapping[str, int], catalogue: Catalogue) -> Plan:
    uri = str(body["resourceUri"])
    return Plan(f"{body['importType']}_IMPORT", _name_behind(uri, catalogue), uri)


def _geohaz(body: Body, _: Mapping[str, int], catalogue: Catalogue) -> Plan:
    uri = str(body["resourceUri"])
    return Plan("GEOHAZ", _name_behind(uri, catalogue), uri)


def _analyse(body: Body, _: Mapping[str, int], catalogue: Catalogue) -> Plan:
    uri, name = str(body["resourceUri"]), str(body["settings"]["name"])
    exposure = uri.split("/portfolios/", maxsplit=1)[0]
    row = {"analysisName": name, "exposureName": _name_behind(exposure, catalogue)}
    return Plan(str(body["type"]), name, uri, _analysis({**row, "engineType": body["type"]}))


def _group(body: Body, _: Mapping[str, int], __: Catalogue) -> Plan:
    name, first = str(body["settings"]["analysisName"]), str(body["resourceUris"][0])
    return Plan("GROUPING", name, first, _analysis({"analysisName": name, "engineType": "Group"}))


def _analysis(row: Body) -> Resource:
    row = {**row, "analysisFramework": "ELT"}
    return Resource("analyses", "analysisId", row, path=f"{RISK_DATA}/analyses")


def _export(body: Body, _: Mapping[str, int], __: Catalogue) -> Plan:
    settings = body["settings"]
    first = str(body["resourceUris"][0])
    if "rdmName" not in settings:  # one that exists is added to
        return Plan("DOWNLOAD_RDM", f"RDM {settings.get('databaseId')}", first)
    name, server_id = str(settings["rdmName"]), int(settings["serverId"])
    path = f"{RISK_DATA}/dataservers/{server_id}/databases"
    row = {"databaseName": name}
    makes = Resource("databases", "databaseId", row, path=path, parent_id=server_id)
    return Plan("DOWNLOAD_RDM", name, first, makes)


def _process(body: Body, ids: Mapping[str, int], _: Catalogue) -> Plan:
    name = str(body.get("name", f"Portfolio {ids['portfolio_id']}"))
    return Plan("PROCESS", name, f"/riskmodeler/v2/portfolios/{ids['portfolio_id']}")


def _name_behind(uri: str, catalogue: Catalogue) -> str:
    """Return the name of the EDM or portfolio at a URI; the URI if it is not known here."""
    last = uri.rsplit("/", maxsplit=1)[-1]
    resource_id = int(last) if last.isdecimal() else 0
    kind, id_key, name_key = (
        ("portfolios", "portfolioId", "portfolioName")
        if "/portfolios/" in uri
        else ("exposures", "exposureId", "exposureName")
    )
    return catalogue.name_of(kind, id_key, resource_id, name_key=name_key) or uri


SUBMISSIONS = (
    Submission(
        f"{RISK_DATA}/exposuresets/{{set_id:int}}/exposures",
        Family.RISK_DATA,
        ("exposureName", "serverId"),
        _create_edm,
    ),
    Submission(
        f"{RISK_DATA}/exposures/{{exposure_id:int}}/data-upgrade",
        Family.RISK_DATA,
        ("edmDataVersion",),
        _upgrade_edm,
    ),
    Submission(
        "/platform/import/v1/jobs",
        Family.IMPORT,
        ("importType", "resourceUri", "settings.folderId"),
        _import,
    ),
    Submission(
        "/platform/geohaz/v1/jobs",
        Family.GEOHAZ,
        ("resourceUri", "resourceType", "settings.layers"),
        _geohaz,
    ),
    Submission(
        "/platform/model/v1/jobs",
        Family.MODEL,
        ("resourceUri", "resourceType", "type", "settings.name", "settings.modelProfileId"),
        _analyse,
    ),
    Submission(
        "/platform/grouping/v1/jobs",
        Family.GROUPING,
        ("resourceType", "resourceUris", "settings.analysisName"),
        _group,
    ),
    Submission(
        "/platform/export/v1/jobs",
        Family.EXPORT,
        ("exportType", "resourceType", "resourceUris", "settings.serverId"),
        _export,
    ),
    Submission(
        "/riskmodeler/v2/portfolios/{portfolio_id:int}/process",
        Family.WORKFLOWS,
        (),
        _process,
        http_status=202,
    ),
)
"""The calls that make a job."""


@dataclass(frozen=True)
class Creation:
    """One call that makes a resource at once, without a job."""

    path: str
    kind: str
    id_key: str
    name_key: str


CREATIONS = (
    Creation(f"{RISK_DATA}/exposuresets", "exposuresets", "exposureSetId", "exposureSetName"),
    Creation(
        f"{RISK_DATA}/exposures/{{exposure_id:int}}/portfolios",
        "portfolios",
        "portfolioId",
        "portfolioName",
    ),
    Creation(
        f"{RISK_DATA}/exposures/{{exposure_id:int}}/treaties", "treaties", "treatyId", "treatyName"
    ),
    Creation(
        f"{RISK_DATA}/exposures/{{exposure_id:int}}/treaties/{{treaty_id:int}}/lob",
        "lobs",
        "id",
        "lobName",
    ),
    Creation("/platform/referencedata/v1/tags", "tags", "tagId", "tagName"),
)
"""The synchronous calls: 201 with the ``Location`` of what was made, no job."""
