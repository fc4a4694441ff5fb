"""Ask about one job, or search for several: one or two requests, and what their answers say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import Raw, job_body, require_ok, search_rows
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import (
    LEGACY_TYPES,
    SEARCH_CHUNK,
    ids_filter,
    legacy_path,
    required_id,
)
from helpers.irp_integration.pace import retry_after_seconds
from helpers.irp_integration.questions import Question, Task
from helpers.irp_integration.transport import Transport, is_throttled


class ThrottledError(Exception):
    """The host did not let a request through; the error says what people should know."""

    def __init__(self, error: MoodysError, retry_after: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


class LoginRejectedError(Exception):
    """Nobody will get an answer: the login was rejected."""

    def __init__(self, error: MoodysCredentialsError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Reading:
    """A job's body, and which API it came from."""

    body: Body
    is_legacy: bool
    size: int  # bytes


def read(transport: Transport, question: Question, *, deadline: float) -> Reading:
    """Read a job by id, without waiting for a host that throttles.

    Raises:
        ThrottledError: ask again later.
        LoginRejectedError: ask nobody.
        MoodysError: no answer arrived, or it is none about this job.
    """
    return read_by(partial(_get, transport, deadline=deadline), question)


def read_by(get: Callable[[str], Raw], question: Question) -> Reading:
    """Read a job by id; where its family does not know it, where other tools submit.

    Args:
        get: reads what is at a path; what it raises goes on.
        question: about the job.

    Raises:
        MoodysError: the answer is none about this job.
    """
    found: list[Raw] = []
    for path, is_legacy in _ways(question):
        raw = get(path)
        found.append(raw)
        if raw.http_status == HTTPStatus.OK:
            body = job_body(raw, workflow_id=question.workflow_id)
            if not is_legacy or body.get("type") == _legacy_type(question):
                return Reading(body, is_legacy, len(raw.content))
        elif raw.http_status != HTTPStatus.NOT_FOUND:
            break
    unknown = next((raw for raw in found if raw.http_status != HTTPStatus.OK), None)
    if unknown is not None:
        job_body(unknown, workflow_id=question.workflow_id)
    problem = f"Moody's knows {question.workflow_id} as a job of another type."
    raise MoodysError(problem, http_status=HTTPStatus.OK)


def _ways(question: Question) -> Sequence[tuple[str, bool]]:
    """Return the paths at which a job may be known, and whether they are of the older API."""
    moodys_id = required_id(question.workflow_id)
    own = question.family.job_path(moodys_id), False
    if _legacy_type(question) is None:
        return [own]
    legacy = legacy_path(moodys_id), True
    return [legacy, own] if question.is_legacy else [own, legacy]


def _legacy_type(question: Question) -> str | None:
    return LEGACY_TYPES.get(question.batch_type) if question.batch_type else None


def search(transport: Transport, task: Task, *, deadline: float) -> tuple[dict[str, Body], int]:
    """Search for jobs; return the rows by id, and how many bytes they have.

    Raises:
        ThrottledError: ask again later.
        LoginRejectedError: ask nobody.
        MoodysError: no answer arrived, or it is no list of rows.
    """
    ids = [question.moodys_id or "" for question in task.questions]
    params = {"filter": ids_filter(ids), "limit": str(SEARCH_CHUNK)}
    raw = _get(transport, task.family.jobs_path, deadline=deadline, params=params)
    return search_rows(raw), len(raw.content)


def _get(
    transport: Transport,
    path: str,
    *,
    deadline: float,
    params: Mapping[str, str] | None = None,
) -> Raw:
    try:
        raw = transport.get(path, params=params, deadline=deadline, waits_if_throttled=False)
    except MoodysCredentialsError as exc:
        raise LoginRejectedError(exc) from None
    if is_throttled(raw):
        try:
            require_ok(raw, about="a request")
        except MoodysError as exc:
            raise ThrottledError(exc, retry_after_seconds(raw.headers)) from None
    return raw
