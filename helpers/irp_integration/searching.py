"""Search Moody's for what a row names and for what it would make, beside the build of its request.

The build stops at the first name that it does not find; here each name is searched for by itself.
The searches are worded as the published client's own, so that none of them is sent twice.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.constants import BatchType

if TYPE_CHECKING:
    from irp_integration import IRPClient as PublishedIRPClient

_FILES = ("accounts_file_path", "locations_file_path", "mapping_file_path")
_GROUPS = frozenset({BatchType.GROUPING, BatchType.GROUPING_ROLLUP})


def missing_files(given: Mapping[str, Any]) -> Iterator[str]:
    """Give a line for each file of a row that is not there."""
    for column in _FILES:
        if column in given and not Path(given[column]).is_file():
            yield f"{column}: there is no file {given[column]!r}."


class Searches:
    """What Moody's knows, and does not know, of one row after another; threads may share it."""

    def __init__(self, published: "PublishedIRPClient") -> None:
        self._published = published

    def problems(self, batch_type: BatchType, given: Mapping[str, Any]) -> Iterator[str]:
        """Give a line for each name that is not there, is there several times, or is taken."""
        if "edm_name" in given:
            yield from self._of_edm(batch_type, given)
        if "analysis_profile_name" in given:
            yield from self._profiles(given)
        if batch_type in _GROUPS:
            name = given["group_name"]
            yield from _taken("group", name, self._analyses(name, ' AND engineType = "Group"'))
            edms = given.get("member_edm_names") or {}
            yield from self._members(given["member_names"], edms)
        if batch_type is BatchType.EXPORT_TO_RDM:
            yield from self._members(given["analysis_names"], given.get("analysis_edm_map") or {})
        if "server_name" in given:
            yield from self._server(batch_type, given)

    def _of_edm(self, batch_type: BatchType, given: Mapping[str, Any]) -> Iterator[str]:
        edm = given["edm_name"]
        found = self._published.edm.search_edms(filter=f'exposureName="{edm}"')
        if batch_type is BatchType.EDM_CREATION:
            yield from _taken("EDM", edm, found)
            return
        yield from _known("EDM", edm, found)
        if batch_type is BatchType.ANALYSIS and not given.get("skip_duplicate_check"):
            name = given["job_name"]
            same = self._analyses(name, f' AND exposureName = "{edm}"')
            yield from _taken("analysis", name, same, f" in EDM {edm!r}")
        if len(found) == 1:
            yield from self._in_exposure(batch_type, int(found[0]["exposureId"]), given)

    def _in_exposure(
        self, batch_type: BatchType, exposure_id: int, given: Mapping[str, Any]
    ) -> Iterator[str]:
        within = f" in EDM {given['edm_name']!r}"
        if "portfolio_name" in given:
            name = given["portfolio_name"]
            judge = _taken if batch_type is BatchType.PORTFOLIO_CREATION else _known
            found = self._published.portfolio.search_portfolios(
                exposure_id=exposure_id, filter=f'portfolioName="{name}"'
            )
            yield from judge("portfolio", name, found, within)
        if "treaty_name" in given:
            name = given["treaty_name"]
            yield from _taken("treaty", name, self._treaties(exposure_id, [name]), within)
        names = given.get("treaty_names") or []
        found = self._treaties(exposure_id, names) if names else []
        for name in names:
            same = [row for row in found if row.get("treatyName") == name]
            yield from _known("treaty", name, same, within)

    def _treaties(self, exposure_id: int, names: list[str]) -> list[dict[str, Any]]:
        quoted = ", ".join(f'"{name}"' for name in names)
        return self._published.treaty.search_treaties(
            exposure_id=exposure_id, filter=f"treatyName IN ({quoted})"
        )

    def _profiles(self, given: Mapping[str, Any]) -> Iterator[str]:
        reference = self._published.reference_data
        name = given["analysis_profile_name"]
        profiles = reference.get_model_profile_by_name(name).get("items") or []
        yield from _known("analysis profile", name, profiles[:1])
        if "output_profile_name" in given:
            name = given["output_profile_name"]
            found = reference.get_output_profile_by_name(name)
            yield from _known("output profile", name, found[:1])
        if "event_rate_scheme_name" in given and profiles:
            name = given["event_rate_scheme_name"]
            schemes = reference.get_event_rate_scheme_by_name(
                name,
                peril_code=profiles[0].get("perilCode"),
                model_region_code=profiles[0].get("modelRegionCode"),
            )
            found = schemes.get("items") or []
            yield from _known("event rate scheme", name, found[:1], " for this analysis profile")

    def _members(self, names: list[str], edms: Mapping[str, str]) -> Iterator[str]:
        for name in names:
            of = f' AND exposureName = "{edms[name]}"' if name in edms else ""
            yield from _known("analysis or group", name, self._analyses(name, of))

    def _analyses(self, name: str, more: str) -> list[dict[str, Any]]:
        return self._published.analysis.search_analyses(filter=f'analysisName = "{name}"{more}')

    def _server(self, batch_type: BatchType, given: Mapping[str, Any]) -> Iterator[str]:
        server = given["server_name"]
        found = self._published.edm.search_database_servers(filter=f'serverName="{server}"')
        yield from _known("server", server, found)
        if found and batch_type is BatchType.EXPORT_TO_RDM and not given.get("database_id"):
            name = given["rdm_name"]
            same = self._published.rdm.search_databases(
                server_name=server, filter=f'databaseName LIKE "{name}*"'
            )
            yield from _taken("RDM", name, same, f" on server {server!r}")


def _known(kind: str, name: str, found: list[Any], within: str = "") -> Iterator[str]:
    if not found:
        yield f"There is no {kind} {name!r}{within}."
    elif len(found) > 1:
        yield f"{len(found)} of kind {kind} are called {name!r}{within}."


def _taken(kind: str, name: str, found: list[Any], within: str = "") -> Iterator[str]:
    if found:
        yield f"{kind[0].upper()}{kind[1:]} {name!r} exists already{within}."
