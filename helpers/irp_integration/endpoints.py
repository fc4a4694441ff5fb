"""Where Moody's keeps the jobs of each family, and whether its search can be relied on.

Paths and what is known of the searches: the published OpenAPI files and the ``irp-integration``
client (0.12.0). A search is used only where real answers have shown that it works.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.constants import API_CALLS, BatchType

SEARCH_CHUNK = 100
"""Ids per search: at most 100 rows come back, and a query over 4,870 characters gets 431."""


@dataclass(frozen=True)
class Family:
    """The jobs of one part of Moody's API."""

    name: str
    jobs_path: str
    search_is_proven: bool = False

    def job_path(self, workflow_id: str) -> str:
        """Return the path of one job."""
        return f"{self.jobs_path}/{workflow_id}"


RISK_DATA = Family("risk data", "/platform/riskdata/v1/jobs", search_is_proven=True)
IMPORT = Family("import", "/platform/import/v1/jobs")
GEOHAZ = Family("geohaz", "/platform/geohaz/v1/jobs")
MODEL = Family("model", "/platform/model/v1/jobs", search_is_proven=True)
GROUPING = Family("grouping", "/platform/grouping/v1/jobs")
EXPORT = Family("export", "/platform/export/v1/jobs")

FAMILIES: dict[tuple[str, str], Family] = {
    ("job", "get_risk_data_job"): RISK_DATA,
    ("mri_import", "get_import_job"): IMPORT,
    ("geohaz", "get_geohaz_job"): GEOHAZ,
    ("analysis", "get_analysis_job"): MODEL,
    ("analysis", "get_analysis_grouping_job"): GROUPING,
    ("rdm", "get_rdm_export_job"): EXPORT,
}
"""The family behind each (part, method) of ``IRPClient``."""


def family_of(batch_type: str) -> Family | None:
    """Return where Moody's keeps the jobs of this type; None where it is not polled."""
    calls = {kind.value: call for kind, call in API_CALLS.items()}
    return FAMILIES[calls[batch_type]] if batch_type in calls else None


def polled_types() -> str:
    """Return the polled batch types, for messages."""
    return ", ".join(sorted(BatchType.polled()))


def is_job_id(workflow_id: str) -> bool:
    """Tell whether this can be the id of a Moody's job; other digits than ours cannot."""
    return workflow_id.isascii() and workflow_id.isdecimal()


def no_job_id(workflow_id: str) -> str:
    """Return what people should know of an id that cannot be one."""
    return f"{workflow_id!r} is no id of a Moody's job: those are numbers."


def ids_filter(workflow_ids: list[str]) -> str:
    """Return the search filter for these ids, which Moody's wants in double quotes."""
    quoted = ", ".join(f'"{workflow_id}"' for workflow_id in workflow_ids)
    return f"jobId IN ({quoted})"
