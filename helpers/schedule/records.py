"""What the scheduler tells: its schedules and their runs, read from its JSON."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from helpers.clock import CLOCK
from helpers.text import clean

EVERY_MINUTE = "* * * * *"
_ID = re.compile(r"[\w-]{1,64}")  # it becomes part of paths, here and at the server
_GRACE = timedelta(minutes=10)  # a run begins, and a stopped one ends, well within it


def describe(schedule: str | None, timezone: str) -> str:
    """Return ``every minute``, which is the same in every time zone, or ``'0 6 * * *' in UTC``."""
    if schedule == EVERY_MINUTE:
        return "every minute"
    return f"{schedule!r} in {timezone}" if schedule else "only when asked to"


class RunStatus(StrEnum):
    """Where the scheduler sees one run; its own labels."""

    CREATED = "CREATED"  # of other execution backends
    QUEUED = "QUEUED"  # of other execution backends
    IN_PROGRESS = "IN_PROGRESS"  # its process has begun, and may have been killed since
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # a cell failed, or its kernel could not be started
    STOPPING = "STOPPING"  # asked to stop, and for ever if its process was gone
    STOPPED = "STOPPED"  # stopped; or new, and its process is about to begin


@dataclass(frozen=True)
class Definition:
    """A schedule, which JupyterLab calls a Notebook Job Definition."""

    id: str
    input_filename: str
    schedule: str | None  # None: it runs only when asked to
    timezone: str
    active: bool
    create_ts: datetime
    update_ts: datetime

    def __str__(self) -> str:
        return f"{describe(self.schedule, self.timezone)}, id {self.id}"

    @classmethod
    def read(cls, item: dict[str, Any]) -> "Definition":
        """Return the schedule that the scheduler describes."""
        return cls(
            id=read_id(item["job_definition_id"]),
            input_filename=str(item["input_filename"]),
            schedule=item.get("schedule"),
            timezone=item.get("timezone") or "UTC",
            active=bool(item["active"]),
            create_ts=_moment(item["create_time"]),
            update_ts=_moment(item["update_time"]),
        )


@dataclass(frozen=True)
class Run:
    """One run of a schedule, which JupyterLab calls a Notebook Job."""

    id: str
    status: RunStatus
    create_ts: datetime
    has_begun: bool
    message: str

    @classmethod
    def read(cls, item: dict[str, Any]) -> "Run":
        """Return the run that the scheduler describes."""
        return cls(
            id=read_id(item["job_id"]),
            status=RunStatus(item["status"]),
            create_ts=_moment(item["create_time"]),
            has_begun=bool(item.get("start_time")),
            message=clean(str(item.get("status_message") or "")),
        )

    def is_finished(self) -> bool:
        """Tell whether it is over; False as well if only its process could tell.

        The scheduler deletes a finished run without killing any process.
        """
        match self.status:
            case RunStatus.COMPLETED | RunStatus.FAILED:
                return True
            case RunStatus.STOPPED if self.has_begun:
                return True
            case RunStatus.STOPPED | RunStatus.STOPPING:
                return self.create_ts < CLOCK.now() - _GRACE
            case RunStatus.CREATED | RunStatus.QUEUED | RunStatus.IN_PROGRESS:
                return False

    def is_orphaned(self, server_started_ts: datetime) -> bool:
        """Tell whether it began before its server did, and was never finished."""
        return not self.is_finished() and self.create_ts < server_started_ts


def read_id(value: str) -> str:
    """Return an id of the scheduler; ValueError if it is not one."""
    if not _ID.fullmatch(value):
        raise ValueError(value)
    return value


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
