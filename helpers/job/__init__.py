"""Jobs: read one, poll it, submit it, end it; many at once are ``helpers.recording``'s business."""

from helpers.errors import JobError
from helpers.job.ending import complete_job, fail_job
from helpers.job.reading import get_job_config, read_job, track_job_status
from helpers.job.submitting import submit_job

__all__ = [
    "JobError",
    "complete_job",
    "fail_job",
    "get_job_config",
    "read_job",
    "submit_job",
    "track_job_status",
]
