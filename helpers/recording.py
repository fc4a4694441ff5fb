"""Put answers of Moody's on record, chunk by chunk, and move the jobs they are about.

Each chunk is one transaction of two statements, whatever its size. Every poll is logged,
failed ones too. A job moves only if the database agrees at that moment: the move is legal,
no later question was answered before, and the job is still the one that was asked about.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from helpers.clock import CLOCK
from helpers.constants import BACKWARD_MOVES, JOB_MOVES, JobStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseError, DatabaseUnavailableError
from helpers.irp_integration.bodies import MoodysTimes, failure_reason, moodys_times, progress
from helpers.irp_integration.questions import Answer, is_known
from helpers.redaction import printable, redact_json, shown
from helpers.text import shorten

RECORD_CHUNK = 500
"""Answers per transaction: few round trips, and little to ask again after a crash."""

RECORD_BYTES = 8 * 1024**2
"""Bytes of bodies after which a transaction takes no more: what one statement holds has a limit."""

# PostgreSQL's appendix A. What speaks of the server would be said of every answer.
_LOCK_NOT_AVAILABLE = "55P03"
_CONFLICT = "40"  # a serialization failure or a deadlock: it asks for another try
_OF_THE_SIZE = ("53200", "53400", "54", "57014")  # memory, a limit, a statement's time
_OF_THE_SERVER = ("25", _CONFLICT, "42", "53", "57", "58")
_SMALL_BYTES = 256 * 1024  # a smaller chunk is not rejected because of its size
_TRIES_IF_LOST = 2  # of one chunk that costs the connection, before it is halved

_AWAY_SECONDS = 5  # a backend that was killed takes the others with it, for about a second

MAX_REASON = 8_000
"""Characters of a job's last error."""

_MAX_WORKFLOW_ID = 50
_LEGAL = [(old, new) for old, moves in JOB_MOVES.items() for new in moves]
_MOVES = {  # as the statement takes them
    "moves_from": [old for old, _ in _LEGAL],
    "moves_to": [new for _, new in _LEGAL],
    "backward": [move in BACKWARD_MOVES for move in _LEGAL],
    "terminal": list(JobStatus.terminal()),
}
_CAME_LATE = {"old_status": None, "new_status": None}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one answer did to its job."""

    answer: Answer
    old_status: str | None  # None if a later answer was there first, or the job has changed
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
        status = self.answer.status or ""
        if not is_known(status):
            word = shorten(printable(status), 60)  # as it is: a space may be all that is wrong
            return f"Moody's says {word!r}, an unrecognised status; the job was left unchanged."
        if self.new_status not in {None, status}:
            return f"Moody's says {status} after {self.old_status}; the job was left unchanged."
        return None

    @property
    def note(self) -> str | None:
        """What people may like to know of this answer, without being asked to do anything."""
        if (self.old_status, self.new_status) in BACKWARD_MOVES:
            return f"Moody's moved it back from {self.old_status} to {self.new_status}."
        return self.answer.note


def server_clock() -> Callable[[], datetime]:
    """Return a clock that follows the database's, which all hosts share; it is asked once."""
    start: datetime = queries("recording").server_time()
    started = CLOCK.monotonic()
    return lambda: start + timedelta(seconds=CLOCK.monotonic() - started)


def record_all(answers: Iterable[Answer]) -> Iterator[Recorded]:
    """Record answers as they arrive, in chunks; yield what each did once it is on record."""
    for chunk in _chunks(_entry(answer) for answer in answers):
        yield from _record_chunk(chunk)


def record(answers: Sequence[Answer]) -> list[Recorded]:
    """Log these answers and move their jobs, in one transaction; at most one answer per job."""
    return _record([_entry(answer) for answer in answers])


@dataclass(frozen=True, slots=True)
class _Entry:
    """An answer as it is written."""

    answer: Answer
    body: str  # JSON, with any secret that it repeats
    size: int  # of the body, in bytes
    reason: str | None  # why a job ended badly, in Moody's own words
    times: MoodysTimes
    progress: int | None


def _entry(answer: Answer) -> _Entry:
    body = "null" if answer.body is None else json.dumps(answer.body, ensure_ascii=False)
    content = answer.body or {}
    ended_badly = answer.status in {JobStatus.FAILED, JobStatus.CANCELLED}
    reason = _shown(failure_reason(content)) if ended_badly else None
    size, times, percent = len(body.encode()), moodys_times(content), progress(content)
    return _Entry(answer, body, size, reason, times, percent)


def _chunks(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Cut after ``RECORD_CHUNK`` answers or ``RECORD_BYTES``, whichever comes first."""
    chunk: list[_Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.size
        if len(chunk) >= RECORD_CHUNK or size >= RECORD_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _record_chunk(entries: Sequence[_Entry], *, tries: int = _TRIES_IF_LOST) -> list[Recorded]:
    """Record a chunk; halve one that is rejected or costs the connection, down to single answers.

    Raises:
        DatabaseUnavailableError: the server is away.
    """
    try:
        return _record_over_conflicts(entries)
    except DatabaseUnavailableError as exc:
        _await_server()
        if tries > 1:
            return _record_chunk(entries, tries=tries - 1)
        problem = str(exc)
    except DatabaseError as exc:
        if exc.sqlstate == _LOCK_NOT_AVAILABLE:
            return _record_what_is_free(entries)
        problem = str(exc)
        if not _is_of_the_answers(exc, size=sum(entry.size for entry in entries)):
            return [_unrecorded(entry.answer, problem) for entry in entries]
    if len(entries) == 1:
        return [_record_without_body(entries[0], problem)]
    half = len(entries) // 2
    return _record_chunk(entries[:half]) + _record_chunk(entries[half:])


def _is_of_the_answers(exc: DatabaseError, *, size: int) -> bool:
    """Tell a rejection that fewer or smaller answers may escape from one of every answer."""
    if exc.sqlstate.startswith(_OF_THE_SIZE):
        return size > _SMALL_BYTES
    return not exc.sqlstate.startswith(_OF_THE_SERVER)


def _await_server() -> None:
    """Wait a moment for a server that has dropped the connection; raise if it is away."""
    import tenacity  # noqa: PLC0415 - brings tornado; a pass with nothing to record can spare it

    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(DatabaseUnavailableError),
        stop=tenacity.stop_after_delay(_AWAY_SECONDS),
        wait=tenacity.wait_fixed(0.25),
        reraise=True,
    )
    waiting(server_clock)


def _record_without_body(entry: _Entry, problem: str) -> Recorded:
    """Record an answer that the database does not take whole, so that its job does not wait."""
    note = f"The body ({entry.size:,} bytes) was not kept: {problem}"
    answer = replace(entry.answer, body=None, note=note)
    reason = entry.reason and entry.reason.encode("ascii", "backslashreplace").decode()
    try:
        return _record_over_conflicts(
            [replace(entry, answer=answer, body="null", size=0, reason=reason)]
        )[0]
    except DatabaseUnavailableError:
        _await_server()
    except DatabaseError as exc:
        problem = str(exc)
    return _unrecorded(entry.answer, problem)


def _record_over_conflicts(entries: Sequence[_Entry]) -> list[Recorded]:
    """Record a chunk, and again if it met a conflict with somebody else's transaction."""
    import tenacity  # noqa: PLC0415 - as above

    trying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda exc: isinstance(exc, DatabaseError) and exc.sqlstate.startswith(_CONFLICT)
        ),
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
    )
    return trying(_record, entries)


def _record_what_is_free(entries: Sequence[_Entry]) -> list[Recorded]:
    """Record answers about jobs that nobody else holds: waiting for each would take minutes."""
    free: list[_Entry] = []
    recorded: list[Recorded] = []
    try:
        with transaction():
            job_ids = [entry.answer.question.job_id for entry in entries]
            rows = queries("recording").free_jobs(job_ids=job_ids)
            free_ids = {row["id"] for row in rows}
            free = [entry for entry in entries if entry.answer.question.job_id in free_ids]
            recorded = _record(free) if free else []
    except DatabaseUnavailableError:
        raise
    except DatabaseError:  # somebody holds a table
        free, recorded = [], []
    held = [entry.answer for entry in entries if entry not in free]
    return recorded + [_unrecorded(a, "its row is held by another session") for a in held]


def _unrecorded(answer: Answer, why: str) -> Recorded:
    return Recorded(answer, None, None, f"The answer could not be recorded: {why}")


def _record(entries: Sequence[_Entry]) -> list[Recorded]:
    """Record a chunk in one transaction of two statements."""
    job_ids = [entry.answer.question.job_id for entry in entries]
    answers = json.dumps(
        [_row(entry) for entry in entries], ensure_ascii=False, default=datetime.isoformat
    )
    bodies = redact_json(f"[{','.join(entry.body for entry in entries)}]")
    with transaction():
        moved = {
            row["job_id"]: row
            for row in queries("recording").apply_answers(
                job_ids=job_ids, answers=answers, **_MOVES
            )
        }
        kept = [job_id for job_id, row in moved.items() if row["is_kept"]]
        queries("recording").log_polls(answers=answers, bodies=bodies, kept=kept)
    rows = [moved.get(job_id, _CAME_LATE) for job_id in job_ids]
    return [
        Recorded(entry.answer, row["old_status"], row["new_status"])
        for entry, row in zip(entries, rows, strict=True)
    ]


def _row(entry: _Entry) -> dict[str, Any]:
    """Return all of an answer that is written, except for its body."""
    answer, question, times = entry.answer, entry.answer.question, entry.times
    is_status = answer.status is not None and is_known(answer.status)
    return {
        "job_id": question.job_id,
        "asked_ts": answer.asked_ts,
        "workflow_id": question.workflow_id[:_MAX_WORKFLOW_ID],
        "status": answer.status and (answer.status if is_status else printable(answer.status)),
        "known_status": answer.status if is_status else None,
        "reason": entry.reason,
        "submitted_ts": times.submitted_ts,
        "started_ts": times.started_ts,
        "ended_ts": times.ended_ts,
        "progress": entry.progress,
        "is_read": answer.is_read,
        "error": _shown(answer.error),
        "note": _shown(answer.note),
        "http_status": answer.http_status,
    }


def _shown(text: str | None) -> str | None:
    return text and shown(text, MAX_REASON)
