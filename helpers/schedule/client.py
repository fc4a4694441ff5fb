"""The REST API of ``jupyter_scheduler``, as far as it is needed and safe.

Base ``/scheduler``; see its ``handlers.py``. Two of its habits shape this module: a definition
that it answers with 500 is stored all the same, and ``output_formats`` must always be given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

from helpers.errors import ScheduleError
from helpers.schedule.rest import Rest
from helpers.schedule.servers import Server
from helpers.text import clean, shorten

_DEFINITIONS = "scheduler/job_definitions"
_PAGE = 1_000  # the scheduler's own page size
_ID = re.compile(r"[\w-]{1,64}")  # it becomes part of paths, here and at the server


class RunStatus(StrEnum):
    """Where the scheduler sees one run; its own labels."""

    CREATED = "CREATED"  # of other execution backends
    QUEUED = "QUEUED"  # of other execution backends
    IN_PROGRESS = "IN_PROGRESS"  # its process has begun, and may have been killed since
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # a cell failed, or its kernel could not be started
    STOPPING = "STOPPING"  # asked to stop, and for ever if its process was gone
    STOPPED = "STOPPED"  # stopped; or new, and its process is about to begin

    @classmethod
    def over(cls) -> frozenset[RunStatus]:
        """Return those that say that nothing of the run is at work any more."""
        return frozenset({cls.COMPLETED, cls.FAILED})


@dataclass(frozen=True)
class Definition:
    """A schedule, which JupyterLab calls a Notebook Job Definition."""

    id: str
    name: str
    input_filename: str
    schedule: str | None  # None: it runs only when asked to
    timezone: str | None
    active: bool
    create_ts: datetime
    update_ts: datetime


@dataclass(frozen=True)
class Run:
    """One run of a schedule, which JupyterLab calls a Notebook Job."""

    id: str
    status: RunStatus
    create_ts: datetime
    start_ts: datetime | None
    end_ts: datetime | None  # set only where it was completed
    message: str

    @property
    def seconds(self) -> float | None:
        """How long it took; None unless it was completed."""
        if self.start_ts is None or self.end_ts is None:
            return None
        return (self.end_ts - self.start_ts).total_seconds()


class SchedulerClient:
    """The scheduler of one server. Every call raises ScheduleError where it fails."""

    def __init__(self, server: Server) -> None:
        self.rest = Rest(server)

    def close(self) -> None:
        """Give the connections back."""
        self.rest.close()

    def started_ts(self) -> datetime:
        """Return when the server was started; fails where it refuses us or is no Jupyter server."""
        return self.rest.get("api/status", read=lambda it: datetime.fromisoformat(it["started"]))

    def expect_scheduler(self) -> None:
        """See that the server has the scheduler and takes our token."""
        self.rest.get(_DEFINITIONS, read=lambda it: it["total_count"], max_items=1)

    def kernels(self) -> set[str]:
        """Return the names of the kernels that the server can start."""
        return self.rest.get("api/kernelspecs", read=lambda it: set(it["kernelspecs"]))

    def shows_file(self, path: str) -> bool:
        """Tell whether the server has a file at this path below its root."""
        return self.rest.exists(f"api/contents/{quote(path)}", content=0)

    def environments(self) -> list[str]:
        """Return the names of the environments that runs may name."""
        return self.rest.get(
            "scheduler/runtime_environments", read=lambda it: [str(one["name"]) for one in it]
        )

    def definitions(self) -> list[Definition]:
        """Return every schedule of every notebook, the oldest first."""
        found: list[Definition] = []
        while True:
            page, total = self.rest.get(
                _DEFINITIONS,
                read=lambda it: (
                    [_definition(one) for one in it["job_definitions"]],
                    it["total_count"],
                ),
                sort_by="asc(create_time)",
                next_token=len(found),
            )
            found += page
            if not page or len(found) >= total:
                return sorted(found, key=lambda one: (one.create_ts, one.id))

    def create(
        self, *, input_uri: str, name: str, environment: str, schedule: str, timezone: str
    ) -> str:
        """Store a schedule that keeps no output, and return its id."""
        body = {
            "input_uri": input_uri,
            "name": name,
            "runtime_environment_name": environment,
            "schedule": schedule,
            "timezone": timezone,
            "output_formats": [],
        }
        return self.rest.change(
            "POST", _DEFINITIONS, body, read=lambda it: _id(it["job_definition_id"])
        )

    def set_active(self, definition_id: str, *, active: bool) -> None:
        """Switch a schedule on or off."""
        self.rest.order("PATCH", f"{_DEFINITIONS}/{definition_id}", {"active": active})

    def refresh_copy(self, definition_id: str, *, input_uri: str) -> None:
        """Have the notebook copied anew; alone, because with its schedule it would do nothing."""
        self.rest.order("PATCH", f"{_DEFINITIONS}/{definition_id}", {"input_uri": input_uri})

    def delete(self, definition_id: str) -> None:
        """Delete a schedule with its runs; one that is at work is killed."""
        self.rest.order("DELETE", f"{_DEFINITIONS}/{definition_id}")

    def run_now(self, definition_id: str) -> str:
        """Start a run outside the schedule and return its id."""
        path = f"{_DEFINITIONS}/{definition_id}/jobs"
        return self.rest.change("POST", path, {}, read=lambda it: _id(it["job_id"]))

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return self.rest.get(f"scheduler/jobs/{run_id}", read=_run)

    def runs(
        self, definition_id: str, *, most: int, oldest_first: bool = False
    ) -> tuple[list[Run], int]:
        """Return runs of a schedule, the newest unless asked otherwise, and how many there are."""
        return self.rest.get(
            "scheduler/jobs",
            read=lambda it: ([_run(one) for one in it["jobs"]], int(it["total_count"])),
            job_definition_id=definition_id,
            sort_by=f"{'asc' if oldest_first else 'desc'}(create_time)",
            max_items=most,
        )

    def runs_in(self, definition_id: str, status: RunStatus) -> list[Run]:
        """Return the newest runs of a schedule in this status."""
        return self.rest.get(
            "scheduler/jobs",
            read=lambda it: [_run(one) for one in it["jobs"]],
            job_definition_id=definition_id,
            status=status.value,
            max_items=_PAGE,
        )

    def delete_runs(self, run_ids: list[str]) -> None:
        """Delete rows and staging directories of runs; it stops at the first that is gone."""
        query = urlencode([("job_id", run_id) for run_id in run_ids])
        self.rest.order("DELETE", f"scheduler/batch/jobs?{query}")


def _definition(item: dict[str, Any]) -> Definition:
    return Definition(
        id=_id(item["job_definition_id"]),
        name=clean(str(item.get("name") or "")),
        input_filename=str(item["input_filename"]),
        schedule=item.get("schedule"),
        timezone=item.get("timezone"),
        active=bool(item["active"]),
        create_ts=_moment(item["create_time"]),
        update_ts=_moment(item["update_time"]),
    )


def _run(item: dict[str, Any]) -> Run:
    return Run(
        id=_id(item["job_id"]),
        status=_status(item["status"]),
        create_ts=_moment(item["create_time"]),
        start_ts=_moment(item["start_time"]) if item.get("start_time") else None,
        end_ts=_moment(item["end_time"]) if item.get("end_time") else None,
        message=clean(str(item.get("status_message") or "")),
    )


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ScheduleError("The scheduler calls something by what is no id: is it up to date?")
    return value


def _status(label: object) -> RunStatus:
    try:
        return RunStatus(str(label))
    except ValueError:
        raise ScheduleError(
            f"The scheduler reports a status {shorten(clean(str(label)), 40)!r} that this package "
            "does not know: update the package."
        ) from None


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
