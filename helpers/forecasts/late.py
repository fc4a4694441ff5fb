"""Which jobs of a batch take far longer than usual: to run, to show progress, or to start. Pure.

One law finds them all: how long jobs like it took, given what the batch has shown so far. What
is compared differs. A queue stands still while jobs of its batch run, so waiting counts only
from the last of their ends on, and only if none runs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from helpers.display import duration
from helpers.forecasting import BatchState, History, Job

_FAR = 2.0  # times the overrun's share: standing still is judged with more patience than running


class Lateness(StrEnum):
    """What of a job takes far longer than usual."""

    OVERRUN = "running"
    STILL = "without progress"
    WAITING = "waiting to start"


@dataclass(frozen=True)
class LateJob:
    """A job that takes far longer than usual."""

    job_id: int
    batch_id: int
    lateness: Lateness
    seconds: float  # for so long
    usual_seconds: float  # of jobs like it

    @property
    def text(self) -> str:
        """What takes so long, in a few words: ``running for 3 h, usually 20 min``."""
        took, usual = duration(self.seconds), duration(self.usual_seconds)
        return f"{self.lateness.value} for {took}, usually {usual}"


@dataclass(frozen=True)
class SeenJobs:
    """The jobs of one ACTIVE batch, as one look at the metastore saw them."""

    batch: Mapping[str, Any]  # as ``open_batches`` gives it: its ids, and where it stands
    state: BatchState
    running_ids: Sequence[int]  # in the order of the state's running jobs
    waiting_ids: Sequence[int]  # in the order of its queued ones
    finished_stills: Sequence[Job] = ()  # the longest time without progress of each finished job
    running_stills: Sequence[Job] = ()  # how long the progress of each running one is the same
    ended_ago: Sequence[float] = ()  # seconds since each finished job ended

    @property
    def open_ids(self) -> list[int]:
        """Return the ids of its running jobs, and after them of those that wait."""
        return [*self.running_ids, *self.waiting_ids]


def late_jobs(history: History, seen: SeenJobs, *, pass_seconds: float) -> list[LateJob]:
    """Return the jobs that take far longer than usual, each once; the longest first.

    A pass looks every ``pass_seconds``; a job is two passes old before it counts as late.
    """
    found: dict[int, LateJob] = {}
    for job in _each(history, seen, pass_seconds):
        found.setdefault(job.job_id, job)
    return sorted(found.values(), key=lambda job: -job.seconds)


def _each(history: History, seen: SeenJobs, pass_seconds: float) -> Iterator[LateJob]:
    state = seen.state
    stills = BatchState(state.kind, seen.finished_stills, seen.running_stills)
    kinds = (
        (Lateness.OVERRUN, seen.running_ids, history.kinds, state, 1.0),
        (Lateness.STILL, seen.running_ids, history.stills, stills, _FAR),
        (Lateness.WAITING, seen.waiting_ids, history.waits, _waits(seen), _FAR),
    )
    for lateness, ids, known, jobs, times in kinds:
        of = History(known)
        is_old = any(job.seconds >= 2 * pass_seconds for job in jobs.running)
        if not is_old or not of.kind(jobs.kind).suffices:
            continue
        # A pass in which no job may be late does not pay for loading numpy.
        from helpers.forecasting.batches import find_overruns  # noqa: PLC0415
        from helpers.forecasting.jobs import forecast_jobs  # noqa: PLC0415

        if found := find_overruns(of, jobs, pass_seconds=pass_seconds, times=times):
            usual = [forecast.usual_seconds or 0.0 for forecast in forecast_jobs(of, jobs)]
            for n in found:
                seconds = jobs.running[n].seconds
                yield LateJob(ids[n], seen.batch["batch_id"], lateness, seconds, usual[n])


def _waits(seen: SeenJobs) -> BatchState:
    """Return how long each waiting job waits while the queue does not move; none while it may.

    How long others of the batch have waited says nothing: the last in a queue wait longest.
    """
    if seen.state.running:
        return BatchState(seen.state.kind)
    still = min(seen.ended_ago, default=math.inf)
    waits = [Job(min(job.seconds, still), job.size) for job in seen.state.queued]
    return BatchState(seen.state.kind, running=waits)
