"""The requests that wait in ``irp_job.submission_request`` to be sent to Moody's. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METHODS = frozenset({"POST", "PATCH", "PUT"})
MADE_ID = "{id}"
"""Stands in the path of a request that follows another, for the id of what that one made."""


class WriteReachedError(BaseException):
    """A check has come to the first write. No ``except Exception`` of the client swallows it."""


class UnexpectedWriteError(BaseException):
    """The client was about to write what nobody has allowed; nothing was sent."""


@dataclass(frozen=True)
class Writes:
    """The paths to which one call writes; ``{}`` stands for an id."""

    last: str  # starts the job, or makes what the batch type is about
    before: tuple[str, ...] = ()
    after: str | None = None


@dataclass(frozen=True)
class PreparedRequest:
    """One request, and those that complete what it made."""

    method: str
    path: str  # below the base URL, with a slash at its beginning
    json: Any = None
    then: "tuple[PreparedRequest, ...]" = ()

    @classmethod
    def read(cls, record: object) -> "PreparedRequest | None":
        """Return a stored request; None if it cannot be sent: another tool's may be a bare body."""
        if not isinstance(record, Mapping):
            return None
        method, path = str(record.get("method", "")).upper(), str(record.get("path", ""))
        stored = record.get("then") or []
        then = [cls.read(item) for item in stored] if isinstance(stored, list) else [None]
        if method not in METHODS or not path.startswith("/") or None in then:
            return None
        return cls(method, path, record.get("json"), tuple(item for item in then if item))

    def record(self) -> dict[str, Any]:
        """Return the request as it is stored."""
        record: dict[str, Any] = {"method": self.method, "path": self.path, "json": self.json}
        return {**record, "then": [item.record() for item in self.then]} if self.then else record
