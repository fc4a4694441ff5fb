"""A stand-in for Moody's job API, as its published documentation and client describe it.

Moody's offers no sandbox tenant, so this serves the demo, the tests and an analyst who wants
to practise. The published client works against it unmodified: that is the test of its
faithfulness. Run it with ``with MoodysStandIn() as moodys: … moodys.url``, or as a process of
its own with ``python -m sandbox.moodys``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Call, Fault, Kind
from sandbox.moodys_access import Access
from sandbox.moodys_changes import change_routes
from sandbox.moodys_gateway import Gateway
from sandbox.moodys_jobs import Family, JobBook, Script, ScriptRule, utc_now
from sandbox.moodys_lookups import lookup_routes
from sandbox.moodys_reads import read_routes
from sandbox.moodys_world import Changed, Received, World
from sandbox.moodys_writes import write_routes
from sandbox.server import arguments
from sandbox.stand_in import StandIn, control_route

_SETTINGS = frozenset({"time_scale", "relative_locations", "token_seconds"})


class MoodysStandIn(StandIn):
    """A stand-in for Moody's; serves from a thread while used as a context manager.

    Attributes:
        jobs: all jobs, and the stand-in's clock.
        access: the credentials that are valid here.
        submissions: those that were carried out, in the order of their arrival.
        changes: cancellations and priorities that were carried out, in that order too.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        time_scale: float = 1.0,
        memory: Path | None = None,
        script: "Callable[[MoodysStandIn], None]" = lambda _: None,
    ) -> None:
        """Know no job yet, or all that was submitted before.

        Args:
            clock: the time, UTC-aware; ``advance`` adds to it.
            time_scale: what the seconds of scripts are multiplied with.
            memory: the file that keeps what is submitted, also when this process is killed.
            script: scripts the submissions of a stand-in that remembers nothing.
        """
        self._memory = memory
        remembered = memory is not None and memory.exists()
        self._world = (
            World.read(memory)
            if memory is not None and remembered
            else World(jobs=JobBook(clock=clock, time_scale=time_scale))
        )
        self.jobs = self._world.jobs
        self.access: Access = self._world.access
        self.submissions: list[Received] = self._world.submissions
        self.changes: list[Changed] = self._world.changes
        gateway = Gateway(self._world, self)
        routes = (read_routes, write_routes, change_routes, lookup_routes)
        super().__init__([route for of in routes for route in of(gateway)])
        if not remembered:
            script(self)

    async def counted(self, call: Call, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a request, and remember first what it has changed."""
        response = await super().counted(call, answer)
        if self._memory is not None and call.kind in {Kind.SUBMIT, Kind.CHANGE}:
            self._world.write(self._memory)
        return response

    def environment(self, *, bearer: bool = False) -> dict[str, str]:
        """Return the environment variables with which a client speaks to this stand-in."""
        return self.access.environment(self.url, bearer=bearer)

    def add_job(
        self,
        family: Family | str,
        *,
        status: str | None = None,
        reason: str | None = None,
        script: Script | None = None,
        job_type: str | None = None,
        name: str | None = None,
        job_id: str | int | None = None,
    ) -> str:
        """Put a job in, without a submission; return its id.

        Args:
            family: whose job it is.
            status: where it stands, and stays; None lets it follow the script.
            reason: why it failed.
            script: what becomes of it; None takes the default.
            job_type: as Moody's calls it; None takes the family's.
            name: None makes one of the id.
            job_id: None takes the next free one; an id that exists is replaced.
        """
        if status is not None:
            script = Script.standing(status, reason)
        job = self.jobs.add(
            family,
            script=script or Script(),
            job_type=job_type,
            name=name,
            job_id=None if job_id is None else str(job_id),
        )
        return job.job_id

    def add_jobs(self, family: Family | str, count: int, **job: Any) -> list[str]:
        """Put many jobs in; the keywords are those of ``add_job``. Return their ids."""
        return [self.add_job(family, **job) for _ in range(count)]

    def set_status(self, job_id: str | int, status: str, *, reason: str | None = None) -> None:
        """Let a job have this status from now on, whatever its script says.

        Raises:
            KeyError: there is no such job.
        """
        self.jobs.move(str(job_id), Script.standing(status, reason))

    def rescript(self, job_id: str | int, script: Script) -> None:
        """Let a job follow another script from now on; raises KeyError if it is unknown."""
        self.jobs.move(str(job_id), script)

    def script(
        self,
        script: Script,
        *,
        job_type: str | None = None,
        name: str | None = None,
        times: int | None = None,
    ) -> None:
        """Script the submissions to come; where several rules match, the newest one counts.

        Args:
            script: what becomes of them.
            job_type: only of this type; None takes all.
            name: a shell pattern over the job's name and its resource's URI; None takes all.
            times: only the next so many.
        """
        self.jobs.add_rule(ScriptRule(script, job_type=job_type, name=name, times=times))

    def advance(self, seconds: float) -> None:
        """Let time pass at once: jobs move, tokens run out."""
        self.jobs.advance(seconds)

    def forget_name(self, name: str) -> None:
        """Let no reference data (a profile, a scheme, a currency) have this name."""
        self._world.unknown_names.add(name)

    def block_grouping(self, analysis_name: str) -> None:
        """Let no grouping take this analysis: it has no regions."""
        self._world.not_to_group.add(analysis_name)

    @property
    def relative_locations(self) -> bool:
        """Whether submissions are answered with a relative ``Location``, not an absolute one."""
        return self._world.relative_locations

    @relative_locations.setter
    def relative_locations(self, value: bool) -> None:
        self._world.relative_locations = value

    def reset(self) -> None:
        """Behave, and forget jobs, scripts, resources, keys and counts; the clock goes on."""
        super().reset()
        self._world.clear()

    def let_search(self, *families: Family | str) -> None:
        """Let these families be searched as well, until the next reset."""
        self._world.also_searchable.update(Family(family) for family in families)

    def statistics(self) -> dict[str, Any]:
        """Return what was counted; also ``submissions``, ``jobs`` and ``jobs_by_status``."""
        by_status = self.jobs.count_by_status()
        return {
            **super().statistics(),
            "submissions": len(self.submissions),
            "jobs": sum(by_status.values()),
            "jobs_by_status": by_status,
        }

    def control_routes(self) -> list[Route]:
        """Return what can be asked and ordered under ``/_sandbox/``."""
        return [*super().control_routes(), *_control_routes(self)]


def _control_routes(moodys: MoodysStandIn) -> list[Route]:
    """Return the control calls that only this stand-in has."""
    return [
        control_route("GET", "/jobs", lambda request, _: _jobs(moodys, request)),
        control_route("POST", "/jobs", lambda _, body: {"jobIds": _add_jobs(moodys, **body)}),
        control_route(
            "PATCH", "/jobs/{job_id}", lambda request, body: _move(moodys, request, **body)
        ),
        control_route("POST", "/scripts", lambda _, body: _script(moodys, **body)),
        control_route("DELETE", "/scripts", lambda _, __: moodys.jobs.clear_rules()),
        control_route("GET", "/submissions", lambda _, __: [asdict(s) for s in moodys.submissions]),
        control_route("POST", "/advance", lambda _, body: moodys.advance(float(body["seconds"]))),
        control_route("POST", "/settings", lambda _, body: _set(moodys, body)),
        control_route("POST", "/searchable", lambda _, body: moodys.let_search(*body["families"])),
        control_route("POST", "/expire-tokens", lambda _, __: moodys.access.expire_tokens()),
    ]


def _jobs(moodys: MoodysStandIn, request: Request) -> list[dict[str, Any]]:
    now, family = moodys.jobs.now(), request.query_params.get("family")
    return [
        {
            "jobId": job.job_id,
            "family": job.family,
            "type": job.job_type,
            "name": job.name,
            "status": job.status_at(now),
        }
        for job in moodys.jobs.all()
        if family in {None, job.family}
    ]


def _add_jobs(moodys: MoodysStandIn, *, count: int = 1, **job: Any) -> list[str]:
    if "script" in job:
        job["script"] = Script.of_json(job["script"])
    if count == 1:
        return [moodys.add_job(job.pop("family"), **job)]
    return moodys.add_jobs(job.pop("family"), count, **job)


def _move(moodys: MoodysStandIn, request: Request, **how: Any) -> None:
    job_id = request.path_params["job_id"]
    if "script" in how:
        moodys.rescript(job_id, Script.of_json(how["script"]))
    else:
        moodys.set_status(job_id, how["status"], reason=how.get("reason"))


def _script(moodys: MoodysStandIn, *, script: dict[str, Any], **which: Any) -> None:
    moodys.script(Script.of_json(script), **which)


def _set(moodys: MoodysStandIn, values: dict[str, Any]) -> None:
    if unknown := values.keys() - _SETTINGS:
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    if "time_scale" in values:
        moodys.jobs.time_scale = float(values["time_scale"])
    if "relative_locations" in values:
        moodys.relative_locations = bool(values["relative_locations"])
    if "token_seconds" in values:
        moodys.access.token_seconds = float(values["token_seconds"])


def main() -> None:
    """Serve until told to end; prints the URL."""
    parser = arguments("A stand-in for Moody's job API, on loopback.")
    parser.add_argument("--time-scale", type=float, default=1.0, help="stretches job scripts")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each answer")
    parser.add_argument("--certificate", type=Path, help="speak TLS: a PEM file with its key")
    given = parser.parse_args()
    moodys = MoodysStandIn(time_scale=given.time_scale)
    if given.latency:
        moodys.misbehave(Fault.LATENCY, seconds=given.latency)
    moodys.serve_here(port=given.port, parent=given.parent, certificate=given.certificate)


if __name__ == "__main__":
    main()
