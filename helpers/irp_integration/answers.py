"""Decipher what Moody's answered. Pure: no socket, no clock.

An answer is a job status only if every part of it says so. Anything else raises
``MoodysError`` with a sentence for people; nothing ever defaults to "done".
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.redaction import redact
from helpers.text import clean, shorten, storable_json

Body: TypeAlias = dict[str, Any]

MAX_BODY_BYTES = 4 * 1024 * 1024  # the largest real body seen is a few hundred KB
_MAX_MESSAGE = 300
_MAX_STATUS = 100
_DEEPEST = 200
DOWN_STATUSES = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses that speak of the host and not of the one job."""
NOT_OF_THE_JOB = DOWN_STATUSES | {401}
"""HTTP statuses that say nothing of the one job."""


def is_down(http_status: int | None) -> bool:
    """Tell whether an answer, or its absence, speaks of the host and not of the one job."""
    return http_status is None or http_status in DOWN_STATUSES


def job_body(content: bytes, *, http_status: int, workflow_id: str) -> Body:
    """Return the body of one job, read by id.

    Raises:
        MoodysCredentialsError: Moody's refuses who we are.
        MoodysError: the answer is no job, or another job, or cannot be kept.
    """
    _require_ok(content, http_status=http_status, about=f"job {workflow_id}")
    value, is_storable = _parsed(content, http_status=http_status)
    if not isinstance(value, dict):
        raise MoodysError("Moody's answered with JSON that is no job.", http_status=http_status)
    status = status_of(value, workflow_id=workflow_id)
    body: Body = value if is_storable else _kept(value)
    if body.get("status") != status:
        problem = "Moody's answered with a status that is no text."
        raise MoodysError(problem, http_status=http_status)
    return body


def search_rows(content: bytes, *, http_status: int) -> dict[str, Body]:
    """Return the rows of a search by their id, those that are no job left out.

    Raises:
        MoodysCredentialsError: Moody's refuses who we are.
        MoodysError: the answer is no list of rows, or cannot be kept.
    """
    _require_ok(content, http_status=http_status, about="a search")
    rows, is_storable = _parsed(content, http_status=http_status)
    if not isinstance(rows, list):
        raise MoodysError("Moody's answered a search with no list.", http_status=http_status)
    jobs = {
        str(row["jobId"]): row
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("status"), str) and row.get("jobId")
    }
    if is_storable:
        return jobs
    kept = {job_id: _kept(row) for job_id, row in jobs.items()}
    return {i: row for i, row in kept.items() if row.get("status") == jobs[i]["status"]}


def status_of(body: Body, *, workflow_id: str) -> str:
    """Return the status in a job's body, word for word: it may be one that nobody knows.

    Raises:
        MoodysError: the body has none, or is about another job.
    """
    status = body.get("status")
    if not isinstance(status, str) or not status.strip() or len(status) > _MAX_STATUS:
        raise MoodysError("Moody's answered with a job that has no status.", http_status=200)
    said_id = body.get("jobId", body.get("id", workflow_id))
    if str(said_id) != str(workflow_id):
        raise MoodysError(
            f"Moody's answered about job {shorten(clean(str(said_id)), 50)}, "
            f"not about job {workflow_id}.",
            http_status=200,
        )
    return status


def failure_reason(body: Body) -> str | None:
    """Return why Moody's says that a job failed; None where it says nothing.

    The first error of a task that is not empty is the root cause; older bodies keep it in
    ``messages`` or ``errorMessage``, and the last resort is the summary.
    """
    candidates = [
        *(e.get("message") for t in _dicts(body.get("tasks")) for e in _dicts(_errors(t))),
        *(m.get("message") for m in _dicts(body.get("messages"))),
        body.get("errorMessage"),
        _dict(body.get("details")).get("summary"),
    ]
    texts = (clean(text).strip() for text in candidates if isinstance(text, str))
    return next((text for text in texts if text), None)


def _errors(task: Body) -> object:
    return _dict(task.get("output")).get("errors")


def _dict(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[Body]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _require_ok(content: bytes, *, http_status: int, about: str) -> None:
    """Raise what a status other than 200 means."""
    said = _said(content)
    match http_status:
        case 200:
            return
        case 204:
            problem = f"Moody's has nothing to say about {about} yet (204)."
        case 401:
            raise MoodysCredentialsError(
                f"Moody's refuses the credentials (401){said}. Check RISK_MODELER_API_KEY, or the "
                "tenant, user name and password, and RISK_MODELER_RESOURCE_GROUP_ID.",
                http_status=http_status,
            )
        case 404:
            problem = (
                f"Moody's does not know {about} (404): it belongs to another batch type, "
                "this key may not see it, or it is gone."
            )
        case 403:
            problem = f"Moody's denies access (403){said}."
        case 429:
            problem = "Moody's asks for fewer requests (429)."
        case 500 | 502 | 503 | 504:
            problem = f"Moody's is down or overloaded ({http_status}){said}."
        case _:
            problem = f"Moody's answered {about} with {http_status}{said}."
    raise MoodysError(problem, http_status=http_status)


def _said(content: bytes) -> str:
    """Return the message of an error body, where it has one that can be shown."""
    try:
        message = _dict(json.loads(content)).get("message")
    except (ValueError, RecursionError):
        looks_like_html = content[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))
        return ", with an HTML page" if looks_like_html else ""
    if not isinstance(message, str) or not message.strip():
        return ""
    return f': "{shorten(redact(clean(message)).strip(), _MAX_MESSAGE)}"'


def storable_body(content: bytes, *, http_status: int) -> Any:
    """Return the JSON value of an answer, without what the database cannot hold.

    Raises:
        MoodysError: it is no JSON, or too large or too deep to be kept.
    """
    value, is_storable = _parsed(content, http_status=http_status)
    return value if is_storable else _kept(value)


def _parsed(content: bytes, *, http_status: int) -> tuple[Any, bool]:
    """Return the JSON value, and whether the database can hold it as it is.

    jsonb holds neither NUL nor a lone surrogate. Those in a job's texts stand there for ever, and
    must not keep it from its end.
    """
    if len(content) > MAX_BODY_BYTES:
        limit = MAX_BODY_BYTES // 1024**2
        raise MoodysError(
            f"Moody's answered with more than {limit} MB, which is no job.", http_status=http_status
        )
    try:
        value = json.loads(content)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise MoodysError(
            "Moody's answered with something that is not JSON.", http_status=http_status
        ) from None
    if _is_deeper_than(_DEEPEST, value):
        problem = f"Moody's answered with more than {_DEEPEST} levels of nesting, which is no job."
        raise MoodysError(problem, http_status=http_status)
    return value, _is_storable(text)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text.replace("\\\\", "")  # an escaped backslash starts no escape


def _kept(value: Any) -> Any:
    return json.loads(storable_json(value))


def _is_deeper_than(levels: int, value: Any) -> bool:
    """Tell whether a value is nested so deep that writing it later might exhaust the stack."""
    level = [value]
    for _ in range(levels):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
