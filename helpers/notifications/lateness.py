"""Which jobs take far longer than usual: told in one way on cards, boards and in summaries."""

from typing import Any

from helpers.notifications.failures import UnfinishedBatch, known_as
from helpers.text import counted

_MOST_NAMED = 4


class LateBatch(UnfinishedBatch):
    """One of which jobs take far longer than usual."""

    jobs: list[dict[str, Any]]  # as those of failures, the latest first


def how_many(batch: LateBatch) -> str:
    """Say how many jobs take far longer than usual."""
    jobs = batch["jobs"]
    return f"{counted(len(jobs), 'job takes', 'jobs take')} far longer than usual."


def sentence(batch: LateBatch) -> str:
    """Return ``A (Moody's 900): running for 5 h, usually 20 min; 2 more jobs.``."""
    shown = batch["jobs"][:_MOST_NAMED]
    parts = [f"{name}: {job['reason']}" for name, job in zip(known_as(shown), shown, strict=True)]
    more = len(batch["jobs"]) - len(shown)
    return f"{'; '.join([*parts, *([counted(more, 'more job')] if more else [])])}."
