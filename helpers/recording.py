"""Put answers of Moody's on record, chunk by chunk, and move the jobs they are about.

Each chunk is one transaction of two statements, whatever its size. Every poll is logged,
failed ones too. A job moves only where the database agrees at that moment: the move is legal,
no later question was answered before, and the job is still the one that was asked about.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypedDict

from helpers.constants import JOB_MOVES, JobStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseError, DatabaseUnavailableError
from helpers.irp_integration.answers import failure_reason
from helpers.irp_integration.questions import Answer, is_known
from helpers.redaction import redact
from helpers.text import clean, shorten

RECORD_CHUNK = 500
"""Answers per transaction: few round trips, and little to ask again after a crash."""

# PostgreSQL's appendix A. What speaks of the server would be said of every answer.
_LOCK_NOT_AVAILABLE = "55P03"
_CONFLICT = "40"  # a serialization failure or a deadlock: it asks for another try
_OF_THE_SERVER = ("25", _CONFLICT, "42", "53", "57", "58")
_TRIES = 3

MAX_REASON = 8_000
"""Characters of a job's last error."""

_MAX_WORKFLOW_ID = 50


class JobToPoll(TypedDict):
    """A job that a pass asks about, or would if it had been submitted."""

    job_id: int
    batch_id: int
    batch_type: str
    workflow_id: str | None
    status: str


@dataclass(frozen=True)
class Recorded:
    """What one answer did to its job."""

    answer: Answer
    old_status: str | None  # None where a later answer was there first, or the job has changed
    new_status: str | None
    problem: str | None = None  # why it is not on record

    @property
    def changed(self) -> bool:
        """Whether the job moved."""
        return self.old_status != self.new_status

    @property
    def remark(self) -> str | None:
        """What people should know of this answer; None for an ordinary one."""
        if self.problem is not None or self.answer.error is not None:
            return self.problem or self.answer.error
        said = self.answer.status or ""
        if not is_known(said):
            return f"Moody's says {shorten(redact(clean(said)), 60)!r}, which is no status we know."
        if self.new_status not in {None, said}:
            return f"Moody's says {said} after {self.old_status}; the status is left as it is."
        return None


def jobs_to_poll(batch_ids: Collection[int]) -> list[JobToPoll]:
    """Return the jobs of these batches that are not skipped or settled, longest unasked first."""
    with transaction() as connection:
        rows = queries("recording").jobs_to_poll(
            connection, batch_ids=list(batch_ids), terminal=list(JobStatus.terminal())
        )
        return list(rows)


def server_clock() -> Callable[[], datetime]:
    """Return a clock that follows the database's, which all hosts share; it is asked once."""
    with transaction() as connection:
        start: datetime = queries("recording").server_time(connection)
    started = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - started)


def record_all(answers: Iterable[Answer]) -> Iterator[Recorded]:
    """Record answers as they arrive, in chunks; yield what each did once it is on record."""
    answers = iter(answers)
    while chunk := list(islice(answers, RECORD_CHUNK)):
        yield from _record_all_but_refused(chunk)


def _record_all_but_refused(answers: Sequence[Answer]) -> list[Recorded]:
    """Record a chunk; where the database refuses it, halve it, down to the answers it refuses."""
    try:
        return _record_over_conflicts(answers)
    except DatabaseUnavailableError:
        raise
    except DatabaseError as exc:
        if exc.sqlstate == _LOCK_NOT_AVAILABLE:
            return _record_what_is_free(answers)
        if len(answers) == 1 or exc.sqlstate.startswith(_OF_THE_SERVER):
            return [_unrecorded(answer, str(exc)) for answer in answers]
    half = len(answers) // 2
    return _record_all_but_refused(answers[:half]) + _record_all_but_refused(answers[half:])


def _record_over_conflicts(answers: Sequence[Answer]) -> list[Recorded]:
    """Record a chunk, and again where it met a conflict with somebody else's transaction."""
    for _ in range(_TRIES - 1):
        try:
            return record(answers)
        except DatabaseError as exc:
            if not exc.sqlstate.startswith(_CONFLICT):
                raise
    return record(answers)


def _record_what_is_free(answers: Sequence[Answer]) -> list[Recorded]:
    """Record what is said of jobs that nobody else holds: waiting for each would take minutes."""
    free: list[Answer] = []
    recorded: list[Recorded] = []
    try:
        with transaction() as connection:
            job_ids = [answer.question.job_id for answer in answers]
            rows = queries("recording").free_jobs(connection, job_ids=job_ids)
            free_ids = {row["id"] for row in rows}
            free = [answer for answer in answers if answer.question.job_id in free_ids]
            recorded = record(free) if free else []
    except DatabaseUnavailableError:
        raise
    except DatabaseError:  # somebody holds a table
        free, recorded = [], []
    held = [answer for answer in answers if answer not in free]
    return recorded + [_unrecorded(a, "its row is held by another session") for a in held]


def _unrecorded(answer: Answer, why: str) -> Recorded:
    return Recorded(answer, None, None, f"The answer could not be recorded: {why}")


def record(answers: Sequence[Answer]) -> list[Recorded]:
    """Log these answers and move their jobs, in one transaction; at most one answer per job."""
    columns = _columns(answers)
    with transaction() as connection:
        rows = queries("recording").apply_answers(
            connection,
            job_ids=columns["job_ids"],
            asked=columns["asked"],
            workflow_ids=columns["workflow_ids"],
            statuses=[a.status if a.status and is_known(a.status) else None for a in answers],
            reasons=[_reason(answer) for answer in answers],
            moves_from=[old for old, moves in JOB_MOVES.items() for _ in moves],
            moves_to=[new for moves in JOB_MOVES.values() for new in moves],
            terminal=list(JobStatus.terminal()),
        )
        moved = {row["job_id"]: row for row in rows}
        kept = [_worth_keeping(moved.get(answer.question.job_id)) for answer in answers]
        queries("recording").log_polls(connection, **columns, kept=kept)
    return [_recorded(answer, moved.get(answer.question.job_id)) for answer in answers]


def _worth_keeping(row: dict[str, Any] | None) -> bool:
    """Tell whether a poll stays on record for good: a job's first, and those that moved it."""
    return row is not None and (row["is_first_poll"] or row["old_status"] != row["new_status"])


def _recorded(answer: Answer, row: dict[str, Any] | None) -> Recorded:
    if row is None:
        return Recorded(answer, None, None)
    return Recorded(answer, row["old_status"], row["new_status"])


def _columns(answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "job_ids": [answer.question.job_id for answer in answers],
        "asked": [answer.asked_ts for answer in answers],
        "workflow_ids": [answer.question.workflow_id[:_MAX_WORKFLOW_ID] for answer in answers],
        "statuses": [a.status and redact(clean(a.status)) for a in answers],
        "bodies": f"[{','.join(_body_text(answer) for answer in answers)}]",
        "errors": [answer.error and redact(clean(answer.error)) for answer in answers],
        "http_statuses": [answer.http_status for answer in answers],
    }


def _body_text(answer: Answer) -> str:
    return "null" if answer.body is None else redact(json.dumps(answer.body, ensure_ascii=False))


def _reason(answer: Answer) -> str | None:
    """Return why a job ended badly, in Moody's own words; None for every other answer."""
    if answer.body is None or answer.status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
        return None
    reason = failure_reason(answer.body)
    return reason and shorten(redact(reason), MAX_REASON)  # or half a secret might be left
