"""How Moody's names and finds jobs: ids, and the filter of a search.

What is known of the searches comes from the published OpenAPI files and the ``irp-integration``
client (0.12.0).
"""

from __future__ import annotations

SEARCH_CHUNK = 100
"""Ids per search: at most 100 rows come back, and a query over 4,870 characters gets 431."""


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
