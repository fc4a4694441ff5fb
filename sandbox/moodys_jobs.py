"""The jobs of the stand-in for Moody's: each follows a script, and time moves it.

A job is the list of moments at which its status changes; what it says now is read off that
list. Nothing runs in the background, so that a clock that is an argument decides everything,
and ten thousand jobs cost no more than their lists.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from helpers.constants import JobStatus

TERMINAL = frozenset(JobStatus.terminal() & JobStatus.of_moodys())
DEFAULT_REASON = "The analysis engine stopped: the model data could not be read."
_FIRST_JOB_ID = 23_148_952  # real ids have about eight digits


class Family(StrEnum):
    """The parts of Moody's API, each with jobs of its own."""

    RISK_DATA = "riskdata"
    IMPORT = "import"
    GEOHAZ = "geohaz"
    MODEL = "model"
    GROUPING = "grouping"
    EXPORT = "export"
    WORKFLOWS = "workflows"  # legacy


DEFAULT_JOB_TYPES = {
    Family.RISK_DATA: "CREATE_EDM",
    Family.IMPORT: "MRI_IMPORT",
    Family.GEOHAZ: "GEOHAZ",
    Family.MODEL: "DLM",
    Family.GROUPING: "GROUPING",
    Family.EXPORT: "DOWNLOAD_RDM",
    Family.WORKFLOWS: "EXPOSURE_BULK_GEOHAZ",
}


@dataclass(frozen=True)
class Script:
    """What becomes of a job.

    Attributes:
        steps: (status, seconds) in order, from the submission on.
        end: the status after the last step; None leaves the job in its last step for ever.
        reason: why it failed; None takes ``DEFAULT_REASON`` where ``end`` is FAILED.
    """

    steps: tuple[tuple[str, float], ...] = (
        (JobStatus.QUEUED, 0.2),
        (JobStatus.PENDING, 0.2),
        (JobStatus.RUNNING, 1.0),
    )
    end: str | None = JobStatus.FINISHED
    reason: str | None = None

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Script":
        """Return the script in a control body; raises TypeError or ValueError."""
        given = dict(value)
        if "steps" in given:
            given["steps"] = tuple((str(status), float(sec)) for status, sec in given["steps"])
        return cls(**given)

    @classmethod
    def standing(cls, status: str, reason: str | None = None) -> "Script":
        """Return the script of a job that is in this status and stays there."""
        return cls(steps=(), end=status, reason=reason)


@dataclass
class ScriptRule:
    """Which submissions follow a script: all that match, or only the next ``times``."""

    script: Script
    job_type: str | None = None
    name: str | None = None  # a shell pattern over the job's name, and over its resource's URI
    times: int | None = None

    def matches(self, job_type: str, names: Iterable[str]) -> bool:
        """Tell whether a submission falls under the rule."""
        if self.times == 0 or self.job_type not in {None, job_type}:
            return False
        return self.name is None or any(fnmatchcase(name, self.name) for name in names)


@dataclass
class Job:
    """One job: who it is, and when its status changes."""

    job_id: str
    family: Family
    job_type: str
    name: str
    submitted_ts: datetime
    resource_uri: str = ""
    moments: list[tuple[datetime, str]] = field(default_factory=list)  # in order of time
    reason: str | None = None
    priority: str = "Medium"
    result_uri: str | None = None  # what it makes, once it is finished

    def follow(self, script: Script, *, now: datetime, time_scale: float = 1.0) -> None:
        """Let the script decide what happens from now on; the past stays."""
        self.moments = [moment for moment in self.moments if moment[0] <= now]
        at = now
        for status, seconds in script.steps:
            self.moments.append((at, status))
            at += timedelta(seconds=seconds * time_scale)
        if script.end is not None:
            self.moments.append((at, script.end))
        self.reason = script.reason or (DEFAULT_REASON if script.end == JobStatus.FAILED else None)

    def status_at(self, now: datetime) -> str:
        """Return where the job stands."""
        return next(
            (status for at, status in reversed(self.moments) if at <= now), self.moments[0][1]
        )

    def started_at(self, now: datetime) -> datetime | None:
        """Return when it began to run; a job that ended without that began as it was submitted."""
        began = (at for at, status in self.moments if at <= now and status == JobStatus.RUNNING)
        return next(began, self.submitted_ts if self.ended_at(now) else None)

    def ended_at(self, now: datetime) -> datetime | None:
        """Return when it ended."""
        return next((at for at, status in self.moments if at <= now and status in TERMINAL), None)


class Locked:
    """Something that threads share, and that can be kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()


class JobBook(Locked):
    """All jobs of a stand-in. Threads may share it."""

    def __init__(self, *, clock: Callable[[], datetime], time_scale: float = 1.0) -> None:
        super().__init__()
        self._clock = clock
        self._ahead = timedelta()
        self.time_scale = time_scale
        self.clear()

    def clear(self) -> None:
        """Forget all jobs and scripts; ids go on from the first one."""
        with self._lock:
            self._jobs: dict[str, Job] = {}
            self._rules: list[ScriptRule] = []
            self._next_id = _FIRST_JOB_ID

    def now(self) -> datetime:
        """Return the stand-in's time: the clock's, and what ``advance`` has added."""
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += timedelta(seconds=seconds)

    def add_rule(self, rule: ScriptRule) -> None:
        """Script the submissions to come; where several rules match, the newest one counts."""
        with self._lock:
            self._rules.append(rule)

    def clear_rules(self) -> None:
        """Let submissions to come follow the default script again."""
        with self._lock:
            self._rules.clear()

    def script_for(self, job_type: str, *names: str) -> Script:
        """Return what becomes of a submission, and use up a rule that is for the next few only."""
        with self._lock:
            for rule in reversed(self._rules):
                if rule.matches(job_type, names):
                    rule.times = None if rule.times is None else rule.times - 1
                    return rule.script
        return Script()

    def add(
        self,
        family: Family | str,
        *,
        script: Script,
        job_type: str | None = None,
        name: str | None = None,
        job_id: str | None = None,
        resource_uri: str = "",
    ) -> Job:
        """Put a job in; an id that exists is replaced."""
        family, now = Family(family), self.now()
        with self._lock:
            job_id = job_id or self._take_id()
            job = Job(
                job_id=job_id,
                family=family,
                job_type=job_type or DEFAULT_JOB_TYPES[family],
                name=name or f"{family.value} job {job_id}",
                submitted_ts=now,
                resource_uri=resource_uri,
            )
            job.follow(script, now=now, time_scale=self.time_scale)
            self._jobs.pop(job_id, None)  # so that the newest is always the last
            self._jobs[job_id] = job
        return job

    def _take_id(self) -> str:
        while str(self._next_id) in self._jobs:
            self._next_id += 1
        self._next_id += 1
        return str(self._next_id - 1)

    def get(self, family: Family, job_id: str) -> Job | None:
        """Return a job of this family."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.family is family else None

    def newest_first(self, family: Family, job_ids: Iterable[str] | None) -> Iterator[Job]:
        """Yield the jobs of a family, or those with these ids."""
        with self._lock:
            if job_ids is None:
                jobs = [job for job in self._jobs.values() if job.family is family]
            else:
                found = (self._jobs.get(job_id) for job_id in job_ids)
                jobs = [job for job in found if job is not None and job.family is family]
                jobs.sort(key=lambda job: (job.submitted_ts, job.job_id))
        return reversed(jobs)

    def move(self, job_id: str, script: Script) -> None:
        """Let a job follow another script from now on; raises KeyError if it is unknown."""
        with self._lock:
            self._jobs[job_id].follow(script, now=self.now(), time_scale=self.time_scale)

    def all(self) -> list[Job]:
        """Return every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def count_by_status(self) -> dict[str, int]:
        """Return how many jobs stand where."""
        now = self.now()
        return dict(Counter(job.status_at(now) for job in self.all()))


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
