"""The ACTIVE batches of which jobs take far longer than usual, with what people call the jobs."""

from collections.abc import Sequence
from typing import cast

from helpers.database import queries
from helpers.forecasts import LateJob, find_late_jobs
from helpers.job_names import job_name
from helpers.notifications.lateness import LateBatch


def late_batches(*, pass_seconds: float, jobs: Sequence[LateJob] | None = None) -> list[LateBatch]:
    """Return the watched batches with late jobs, the latest job of each batch first.

    Args:
        pass_seconds: how often a pass looks.
        jobs: the late jobs, if somebody has looked already; None looks for them.
    """
    jobs = find_late_jobs(pass_seconds=pass_seconds) if jobs is None else jobs
    late = {job.job_id: job for job in jobs}
    rows = list(queries("attention").late_jobs(job_ids=list(late))) if late else []
    found: dict[int, LateBatch] = {}
    for row in sorted(rows, key=lambda row: -late[row["job_id"]].seconds):
        batch = cast("LateBatch", {**row["batch"], "jobs": []})
        found.setdefault(row["batch_id"], batch)["jobs"].append(
            {
                "job_id": row["job_id"],
                "name": job_name(row["configuration"], row["request"]),
                "moodys_workflow_id": row["moodys_workflow_id"],
                "status": row["status"],
                "reason": late[row["job_id"]].text,
            }
        )
    return list(found.values())
