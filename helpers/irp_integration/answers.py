"""Decipher what Moody's answered. Pure: no socket, no clock.

An answer is a job status only if every part of it says so. Anything else raises
``MoodysError`` with a sentence for people; nothing ever defaults to "done".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.bodies import MAX_READ_BYTES, Body, json_value, storable
from helpers.irp_integration.endpoints import normal_id
from helpers.redaction import shown

_OK = 200
_MAX_MESSAGE = 300
_MAX_STATUS = 100
DOWN_STATUSES = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses that speak of the host and not of the one job."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_OF_THE_JOB = DOWN_STATUSES | _REDIRECTS | {401, 407}
"""HTTP statuses that say nothing of the one job."""


@dataclass(frozen=True)
class Raw:
    """An HTTP answer, read to its end or to the limit of what a job can be."""

    http_status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The header that names what was made, or where to go instead; or nothing."""
        return next((text for name, text in self.headers.items() if name.lower() == "location"), "")


def is_down(http_status: int | None) -> bool:
    """Tell whether an answer, or its absence, speaks of the host and not of the one job."""
    return http_status is None or http_status in DOWN_STATUSES


def job_body(raw: Raw, *, workflow_id: str) -> Body:
    """Return the body of one job, read by id.

    Raises:
        MoodysCredentialsError: Moody's refuses who we are.
        MoodysError: the answer does not describe this job.
    """
    require_ok(raw, about=f"job {workflow_id}")
    value = _json_value(raw)
    if not isinstance(value, dict):
        problem = "Moody's answered with JSON that does not describe a job."
        raise MoodysError(problem, http_status=raw.http_status)
    status = status_of(value, workflow_id=workflow_id)
    body: Body = storable(value, source=raw.content)
    if body.get("status") != status:
        problem = "Moody's answered with a status that is no text."
        raise MoodysError(problem, http_status=raw.http_status)
    return body


def search_rows(raw: Raw) -> dict[str, Body]:
    """Return the rows of a search by their id, without those that are not a job or disagree.

    Raises:
        MoodysCredentialsError: Moody's refuses who we are.
        MoodysError: the answer is no list of rows.
    """
    require_ok(raw, about="a search")
    rows = _json_value(raw)
    if not isinstance(rows, list):
        raise MoodysError("Moody's answered a search with no list.", http_status=raw.http_status)
    found: dict[str, Body] = {}
    contradicted: set[str] = set()
    for row, kept in zip(rows, storable(rows, source=raw.content), strict=True):
        if not isinstance(row, dict) or not _is_status(row.get("status")):
            continue
        if job_id := normal_id(row.get("jobId")):
            if kept.get("status") != found.get(job_id, row).get("status"):
                contradicted.add(job_id)
            found[job_id] = kept
    return {job_id: row for job_id, row in found.items() if job_id not in contradicted}


def _is_status(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _MAX_STATUS


def status_of(body: Body, *, workflow_id: str) -> str:
    """Return the status in a job's body, word for word: it may be one that nobody knows.

    Raises:
        MoodysError: the body has none, or is about another job.
    """
    status = body.get("status")
    if not isinstance(status, str) or not _is_status(status):
        raise MoodysError("Moody's answered with a job that has no status.", http_status=200)
    given_id = body.get("jobId", body.get("id", workflow_id))
    if normal_id(given_id) != normal_id(workflow_id):
        raise MoodysError(
            f"Moody's answered about job {shown(str(given_id), 50)}, not about job {workflow_id}.",
            http_status=200,
        )
    return status


PROXY_LOGIN = "Moody's answered 407: a proxy wants a login. Check HTTPS_PROXY."
_MEANINGS = {
    204: "Moody's has nothing to say about {about} yet (204).",
    403: "Moody's denies access (403){message}.",
    404: "Moody's does not know {about} (404): it belongs to another batch type, this key may not "
    "see it, or it is gone.",
    407: PROXY_LOGIN,
    429: "Moody's asks for fewer requests (429).",
    **dict.fromkeys(
        (500, 502, 503, 504), "Moody's is down or overloaded ({http_status}){message}."
    ),
}


def require_ok(raw: Raw, *, about: str) -> None:
    """Raise what a status other than 200 means."""
    http_status = raw.http_status
    if http_status == _OK:
        return
    message = message_in(raw.content)
    if http_status == HTTPStatus.UNAUTHORIZED:
        raise MoodysCredentialsError(
            f"Moody's refuses the credentials (401){message}. Check RISK_MODELER_API_KEY, or the "
            "tenant, user name and password, and RISK_MODELER_RESOURCE_GROUP_ID.",
            http_status=http_status,
        )
    meaning = _MEANINGS.get(http_status, "Moody's answered {about} with {http_status}{message}.")
    problem = meaning.format(about=about, http_status=http_status, message=message)
    if http_status in _REDIRECTS:
        problem = redirect(raw)
    raise MoodysError(problem, http_status=http_status)


def message_in(content: bytes) -> str:
    """Return the message of an error body, to follow its status; empty if none can be shown."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        looks_like_html = content[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))
        return ", with an HTML page" if looks_like_html else ""
    message = body.get("message") if isinstance(body, dict) else None
    text = shown(message, _MAX_MESSAGE) if isinstance(message, str) else ""
    return f': "{text}"' if text else ""


def redirect(raw: Raw) -> str:
    """Return what people should know of a redirect: the same words for every job."""
    try:
        url = urlsplit(raw.location)
        host = f"{url.scheme}://{url.hostname}" if url.hostname else ""
        target = shown(host + re.sub(r"\d+", "…", url.path), _MAX_MESSAGE) or "nowhere"
    except ValueError:
        target = "an address that makes no sense"
    return (
        f"Moody's answered {raw.http_status}, a redirect to {target}: is a proxy or a login page "
        "in between? Check RISK_MODELER_BASE_URL and the proxy settings."
    )


def storable_body(raw: Raw) -> Any:
    """Return the JSON value of an answer, without what the database cannot hold.

    Raises:
        MoodysError: it is no JSON, or too large to be read.
    """
    return storable(_json_value(raw), source=raw.content)


def _json_value(raw: Raw) -> Any:
    if len(raw.content) > MAX_READ_BYTES:
        limit = MAX_READ_BYTES // 1024**2
        problem = f"Moody's answered with more than {limit} MB, more than a job can have."
        raise MoodysError(problem, http_status=raw.http_status)
    try:
        return json_value(raw.content)
    except ValueError:
        problem = "Moody's answered with something that is not JSON."
        raise MoodysError(problem, http_status=raw.http_status) from None
