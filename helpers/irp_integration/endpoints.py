"""How Moody's names and finds jobs: ids, and the filter of a search.

What is known of the searches comes from the published OpenAPI files and the ``irp-integration``
client (0.12.0).
"""

import re

from helpers.constants import BatchType
from helpers.errors import MoodysError

LEGACY_TYPES = {BatchType.MRI_IMPORT: "MRI_IMPORT", BatchType.EDM_DB_UPGRADE: "EDM_DATA_UPGRADE"}
"""Types that other tools submit through the older API, and what their jobs are called there."""

SEARCH_CHUNK = 100
"""Ids per search: at most 100 rows come back, and a query over 4,870 characters gets 431."""


_JOB_ID = re.compile(r"\s*0*([1-9][0-9]{0,49})\s*")  # as long as the column that keeps it


def normal_id(value: object) -> str | None:
    """Return a job's id in the one form in which ids are compared; None if it is none.

    Moody's gives the same id as 777, as "777" and, in a ``Location``, as 000777.
    """
    is_id = isinstance(value, int | str) and not isinstance(value, bool)
    match = _JOB_ID.fullmatch(str(value)) if is_id else None
    return match[1] if match else None


def required_id(value: object) -> str:
    """Return a job's id in its normal form.

    Raises:
        MoodysError: it cannot be the id of a job.
    """
    moodys_id = normal_id(value)
    if moodys_id is None:
        raise MoodysError(invalid_id(value))
    return moodys_id


def invalid_id(value: object) -> str:
    """Return what people should know of a value that cannot be the id of a job."""
    return f"{value!r} is not a valid job id (a positive integer)."


def ids_filter(workflow_ids: list[str]) -> str:
    """Return the search filter for these ids, which Moody's wants in double quotes."""
    quoted = ", ".join(f'"{workflow_id}"' for workflow_id in workflow_ids)
    return f"jobId IN ({quoted})"


def legacy_path(workflow_id: str) -> str:
    """Return the path of one job in the older API."""
    return f"/riskmodeler/v1/workflows/{workflow_id}"
