"""Decipher what Moody's answered to a submission. Pure: no socket, no clock.

A submission is taken, refused for good, or in doubt: then Moody's may have taken it, and only a
repeat with the same idempotency key is safe.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from helpers.errors import MoodysError
from helpers.irp_integration.answers import storable_body
from helpers.irp_integration.transport import Raw
from helpers.redaction import redact
from helpers.text import clean, shorten, storable_json

_TAKEN = frozenset({200, 201, 202, 204})
# Answers that turn nothing down for good: credentials that ran out, a first try that is still at
# work (409), too many requests; and every 5xx, a host in trouble.
_UNDECIDED = frozenset({401, 408, 409, 425, 429})
_SERVER_ERRORS_FROM = 500
# Where a gateway answers in place of Moody's, it knows nothing of a first try that was taken.
_GATEWAYS = frozenset({403, 404})
_JOB_ID = re.compile(r"[0-9]{1,50}")  # as long as the column that keeps it
_MAX_SHOWN = 500


class Outcome(Enum):
    """What became of a request."""

    TAKEN = auto()  # Moody's works on it, or has done it
    REFUSED = auto()  # it was turned down; the same request with the same key stays refused
    IN_DOUBT = auto()  # it may have been taken


@dataclass(frozen=True)
class Submission:
    """What one answer says of a submission."""

    outcome: Outcome
    workflow_id: str | None  # where Moody's named the job
    problem: str  # for people; empty where it was taken
    response: str | None  # JSON to keep, secrets taken out; None where no answer arrived


def deciphered(raw: Raw, *, needs_id: bool) -> Submission:
    """Return what an answer means.

    Args:
        raw: the answer.
        needs_id: whether the request makes a job, which the ``Location`` header must name.
    """
    response = response_record(raw)
    if _is_undecided(raw):
        return Submission(Outcome.IN_DOUBT, None, f"Moody's answered {_said(raw)}.", response)
    if raw.http_status not in _TAKEN:
        problem = f"Moody's refused the request ({_said(raw)})."
        return Submission(Outcome.REFUSED, None, problem, response)
    workflow_id = id_from_location(raw)
    if needs_id and workflow_id is None:
        problem = "Moody's took the request but named no job in its Location header."
        return Submission(Outcome.IN_DOUBT, None, problem, response)
    return Submission(Outcome.TAKEN, workflow_id, "", response)


def _is_undecided(raw: Raw) -> bool:
    if raw.http_status in _GATEWAYS:
        return _error_of(raw) is None
    return raw.http_status in _UNDECIDED or raw.http_status >= _SERVER_ERRORS_FROM


def _error_of(raw: Raw) -> dict[str, Any] | None:
    """Return Moody's own error, an object; None where the body is none."""
    try:
        body = json.loads(raw.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def id_from_location(raw: Raw) -> str | None:
    """Return the last path segment of ``Location``, absolute or relative; None without one."""
    path = re.split(r"[?#]", raw.headers.get("Location", ""), maxsplit=1)[0]
    segment = path.rstrip("/").rpartition("/")[2]
    return segment if _JOB_ID.fullmatch(segment) else None


def response_record(raw: Raw) -> str:
    """Return the answer as JSON to keep; a body that is none, or cannot be kept, as shown text."""
    try:
        body = storable_body(raw.content, http_status=raw.http_status) if raw.content else None
    except MoodysError:
        body = shorten(redact(clean(raw.content.decode(errors="replace"))), _MAX_SHOWN)
    answer = {"status": raw.http_status, "location": raw.headers.get("Location"), "body": body}
    return redact(storable_json(answer))


def _said(raw: Raw) -> str:
    """Return the status and, where the body has one that can be shown, its message."""
    message = (_error_of(raw) or {}).get("message")
    words = f': "{shorten(redact(clean(message)), _MAX_SHOWN)}"' if isinstance(message, str) else ""
    return f"{raw.http_status}{words}"
