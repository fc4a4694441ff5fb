"""All that the stand-in for Moody's knows, and how it says no."""

import json
import pickle
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from starlette.requests import Request

from sandbox.moodys_access import Access, RequestIds
from sandbox.moodys_catalogue import Catalogue
from sandbox.moodys_jobs import JobBook

_CODES = {404: "RMS-404", 409: "RMS-409", 429: "RMS-429"}


class RefusedError(Exception):
    """The host refuses a request."""

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status


@dataclass(frozen=True)
class Received:
    """A submission that was carried out."""

    path: str
    family: str
    name: str
    location: str
    job_id: str | None  # None if it made a resource at once
    request_id: str | None
    body: dict[str, Any]


@dataclass(frozen=True)
class Changed:
    """A change of a job that was carried out."""

    job_id: str
    request_id: str | None
    body: dict[str, Any]


@dataclass
class World:
    """Jobs, resources, credentials, keys, and the submissions in the order of their arrival."""

    jobs: JobBook
    access: Access = field(default_factory=Access)
    catalogue: Catalogue = field(default_factory=Catalogue)
    request_ids: RequestIds = field(default_factory=RequestIds)
    submissions: list[Received] = field(default_factory=list)
    changes: list[Changed] = field(default_factory=list)
    relative_locations: bool = False
    unknown_names: set[str] = field(default_factory=set)  # in reference data
    not_to_group: set[str] = field(default_factory=set)  # analyses, by name
    also_searchable: set[str] = field(default_factory=set)  # families whose search nobody has seen

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return what ``write`` has kept."""
        world = pickle.loads(file.read_bytes())  # noqa: S301 - our own file
        assert isinstance(world, cls)  # noqa: S101
        return world

    def write(self, file: Path) -> None:
        """Keep all of it; a kill at this moment leaves what was kept before."""
        partial = file.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(self))
        partial.replace(file)

    def location(self, request: Request, path: str) -> str:
        """Return what ``Location`` says of a path."""
        return path if self.relative_locations else f"{str(request.base_url).rstrip('/')}{path}"

    def clear(self) -> None:
        """Forget everything but the credentials and the tokens given out."""
        self.jobs.clear()
        self.catalogue.clear()
        self.request_ids.clear()
        self.submissions.clear()
        self.changes.clear()
        self.unknown_names.clear()
        self.not_to_group.clear()
        self.also_searchable.clear()


def error_body(http_status: int, message: str) -> dict[str, str]:
    """Return an error as Moody's words it; the gateway has a shape of its own for 401."""
    if http_status == 401:  # noqa: PLR2004 - Unauthorized
        return {"message": "Unauthorized"}
    code = _CODES.get(http_status, "INT-999")
    return {"code": code, "message": message, "logId": str(uuid.uuid4())}


async def json_object(request: Request) -> dict[str, Any]:
    """Return the request's body; raises ``RefusedError`` if it is not a JSON object."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "The request body is not a JSON object.")
    return body
