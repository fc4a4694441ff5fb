"""Judge what Moody's answered to a submission. Pure: no socket, no clock.

Only Moody's own answer decides anything. A submission is accepted, rejected for good, or its
outcome is unknown: then Moody's may have accepted it, and only a repeat with the same idempotency
key is safe. Gateways, proxies and login pages answer in Moody's place, and know nothing of a first
try that was accepted.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from helpers.errors import MoodysError
from helpers.irp_integration.answers import PROXY_LOGIN, Raw, message_in, redirect, storable_body
from helpers.irp_integration.endpoints import normal_id
from helpers.redaction import redact_json, shown
from helpers.text import storable_json

_NOT_FINAL = frozenset({401, 407, 408, 409, 425, 429})
"""Errors that reject nothing for good: a login that expired or that a proxy wants, a first try that
is still processed (409), too many requests."""

_MAY_BE_EMPTY = frozenset({201, 202, 204})
_MAX_SHOWN = 500


class Outcome(Enum):
    """What became of a request."""

    ACCEPTED = auto()  # Moody's works on it, or has done it
    REJECTED = auto()  # the same request with the same key stays rejected
    UNKNOWN = auto()  # it may have been accepted


@dataclass(frozen=True)
class Submission:
    """What one answer means for a submission."""

    outcome: Outcome
    workflow_id: str | None  # of the job that was accepted
    problem: str  # for people; empty if it was accepted
    response: str | None  # JSON to keep, secrets taken out; None if no answer arrived


def judge(raw: Raw, *, is_polled: bool) -> Submission:
    """Return what an answer means.

    Args:
        raw: the answer.
        is_polled: whether the request starts a job, which the ``Location`` header must name.
    """
    outcome = outcome_of(raw, is_polled=is_polled)
    accepted = outcome is Outcome.ACCEPTED
    return Submission(
        outcome,
        job_id_in_location(raw) if accepted and is_polled else None,
        "" if accepted else _problem(raw, outcome, is_polled=is_polled),
        response_record(raw),
    )


def outcome_of(raw: Raw, *, is_polled: bool) -> Outcome:
    """Return whether Moody's itself accepted or rejected a request; else the outcome is unknown.

    Its acceptance is a 2xx: of a request that starts a job with a ``Location`` that ends in a job
    id, of another with JSON, or empty as is usual. Its rejection is a 4xx with its own kind
    of error.
    """
    is_own_error = own_error(raw) is not None
    match raw.http_status // 100:
        case 2 if not is_own_error:
            accepted = job_id_in_location(raw) is not None if is_polled else _is_result(raw)
            return Outcome.ACCEPTED if accepted else Outcome.UNKNOWN
        case 4 if is_own_error and raw.http_status not in _NOT_FINAL:
            return Outcome.REJECTED
        case _:
            return Outcome.UNKNOWN


def own_error(raw: Raw) -> dict[str, Any] | None:
    """Return Moody's own error, an object with ``code`` and ``message``; None for any other body.

    A gateway's error lacks the code: ``{"message": "Forbidden"}``.
    """
    body = _json(raw)
    if not isinstance(body, dict):
        return None
    texts = (body.get("code"), body.get("message"))
    return body if all(isinstance(text, str) and text.strip() for text in texts) else None


def job_id_in_location(raw: Raw) -> str | None:
    """Return the id in the last path segment of ``Location``, if it is one."""
    path = re.split(r"[?#]", raw.location, maxsplit=1)[0]
    segment = path.rstrip("/").rpartition("/")[2]
    return normal_id(segment)


_NO_JSON = object()


def _json(raw: Raw) -> Any:
    """Return the JSON value of a body; ``_NO_JSON`` if it is none."""
    try:
        return json.loads(raw.content)
    except (ValueError, RecursionError):
        return _NO_JSON


def _is_result(raw: Raw) -> bool:
    if not raw.content.strip():
        return raw.http_status in _MAY_BE_EMPTY
    return _json(raw) is not _NO_JSON


def response_record(raw: Raw) -> str:
    """Return the answer as JSON to keep; a body that is none, or cannot be kept, as shown text."""
    try:
        body = storable_body(raw) if raw.content else None
    except MoodysError:
        body = shown(raw.content.decode(errors="replace"), _MAX_SHOWN)
    answer = {"status": raw.http_status, "location": raw.location or None, "body": body}
    return redact_json(storable_json(answer))


def _problem(raw: Raw, outcome: Outcome, *, is_polled: bool) -> str:  # noqa: PLR0911 - one per kind
    """Return what was answered and what to look at, in words that are the same for every job."""
    answered = f"{raw.http_status}{message_in(raw.content)}"
    if outcome is Outcome.REJECTED:
        return f"Moody's rejected the request ({answered})."
    answered = f"Moody's answered {answered}"
    match raw.http_status // 100:
        case 2 if own_error(raw) is not None:
            return f"{answered}, an error under a status of success."
        case 2 if is_polled:
            return f"{answered} but named no job in its Location header."
        case 2:
            return f"{answered}, which is not a result: is a proxy or gateway in between?"
        case 3:
            return redirect(raw)
        case 4 if raw.http_status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return PROXY_LOGIN
        case 4 if raw.http_status not in _NOT_FINAL:
            return (
                f"{answered}, which is not an error of its own: is a proxy or gateway in between?"
            )
        case _:
            return f"{answered}."
