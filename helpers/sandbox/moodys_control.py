"""What the stand-in for Moody's can be asked and told under ``/_sandbox/``, beside the common."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import Route

from helpers.sandbox.moodys_jobs import Script
from helpers.sandbox.stand_in import told

if TYPE_CHECKING:
    from helpers.sandbox.moodys import MoodysStandIn

_SETTINGS = frozenset({"time_scale", "relative_locations", "token_seconds"})


def control_routes(moodys: MoodysStandIn) -> list[Route]:
    """Return the control calls that only this stand-in has."""
    return [
        told("GET", "/jobs", lambda request, _: _jobs(moodys, request)),
        told("POST", "/jobs", lambda _, body: {"jobIds": _add_jobs(moodys, **body)}),
        told("PATCH", "/jobs/{job_id}", lambda request, body: _move(moodys, request, **body)),
        told("POST", "/scripts", lambda _, body: _script(moodys, **body)),
        told("DELETE", "/scripts", lambda _, __: moodys.jobs.clear_rules()),
        told("GET", "/submissions", lambda _, __: [asdict(s) for s in moodys.submissions]),
        told("POST", "/advance", lambda _, body: moodys.advance(float(body["seconds"]))),
        told("POST", "/settings", lambda _, body: _set(moodys, body)),
        told("POST", "/expire-tokens", lambda _, __: moodys.access.expire_tokens()),
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
