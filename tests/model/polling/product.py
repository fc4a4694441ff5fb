"""Answers on record: by the model, and by the product on a real PostgreSQL.

Each pair is a job's row and an answer. A thousand pairs are a thousand jobs of one batch, whose
answers the product records together, as a pass does.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from helpers import recording
from helpers.constants import Family, JobStatus
from helpers.database import Connection, transaction
from helpers.irp_integration import questions
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.model.polling.rows import FUTURE, Answer, Job, Recording

STATUSES = {
    "I": JobStatus.INITIATED, "S": JobStatus.SUBMITTED, "P": JobStatus.PENDING,
    "Q": JobStatus.QUEUED, "R": JobStatus.RUNNING, "C": JobStatus.CANCEL_REQUESTED,
    "G": JobStatus.CANCELLING, "F": JobStatus.FINISHED, "E": JobStatus.FAILED,
    "X": JobStatus.CANCELLED, "D": JobStatus.ERROR,
}  # fmt: skip
Pair: TypeAlias = tuple[Job, Answer]

_LETTERS = {status: letter for letter, status in STATUSES.items()}
_UNKNOWN = "ON_HOLD"  # a word of Moody's that nobody knows


def pairs() -> Iterator[Pair]:
    """Yield every row with every answer: two ids, three questions, all that Moody's can say."""
    rows = itertools.product(STATUSES, (1, 2), (0, 1, 2, 3, FUTURE))
    answers = list(itertools.product((1, 2), (1, 2, 3), [*STATUSES, "?", ""], (True, False)))
    for row in rows:
        for workflow, asked, status, is_read in answers:
            yield Job(*row), Answer(0, workflow, asked, status, is_read)


def differences(model: Recording, chosen: Iterable[Pair], *, chunk: int = 1_000) -> list[str]:
    """Let the product record all pairs; return where its rows or its log differ from the model."""
    found: list[str] = []
    remaining = iter(chosen)
    while some := list(itertools.islice(remaining, chunk)):
        with transaction() as connection, connection.transaction(force_rollback=True):
            found += _Product(connection, some).differences(model)
    return found


class _Product:
    """The jobs of one batch, a row for each pair."""

    def __init__(self, connection: Connection, chosen: Sequence[Pair]) -> None:
        self._connection, self._chosen = connection, chosen
        step_id = add_step(add_cycle("Polling"), stage_num=4, step_num=1)
        prepared = [PreparedJob(workflow_id=str(job.workflow)) for job, _ in chosen]
        self._job_ids = list(add_batch(step_id, "Analysis", prepared).job_ids)
        self._start = recording.server_clock()() - timedelta(hours=1)

    def differences(self, model: Recording) -> list[str]:
        """Compare each row, and each poll on record, with what the model says."""
        self._put()
        recording.record([self._answer(n, answer) for n, (_, answer) in enumerate(self._chosen)])
        found = []
        for (job, answer), is_now, logged in zip(
            self._chosen, self._rows(), self._log(), strict=True
        ):
            wanted = model.record(job, answer) or job
            if is_now != wanted:
                found.append(f"{answer} on {job}: model {wanted}, product {is_now}")
            if logged != (answer.workflow, answer.asked, answer.status):
                found.append(f"{answer} is on record as {logged}")
        return found

    def _put(self) -> None:
        jobs = [job for job, _ in self._chosen]
        self._connection.execute(
            "UPDATE irp_job AS job SET status = row.status, last_tracked_ts = row.asked_ts"
            " FROM unnest(%s::int[], %s::job_status_enum[], %s::timestamptz[])"
            " AS row (id, status, asked_ts) WHERE job.id = row.id",
            (
                self._job_ids,
                [STATUSES[job.status] for job in jobs],
                [self._time(job.asked) if job.asked else None for job in jobs],
            ),
        )

    def _time(self, asked: int) -> datetime:
        return self._start + timedelta(minutes=asked if asked != FUTURE else 120)

    def _asked(self, time: datetime | None) -> int:
        minutes = round((time - self._start).total_seconds() / 60) if time else 0
        return FUTURE if minutes == 120 else minutes

    def _answer(self, n: int, answer: Answer) -> questions.Answer:
        question = questions.Question(
            self._job_ids[n], str(answer.workflow), Family.MODEL, JobStatus.SUBMITTED
        )
        status = _UNKNOWN if answer.status == "?" else STATUSES.get(answer.status)
        return questions.Answer(
            question,
            self._time(answer.asked),
            status,
            {"status": status} if status else None,
            200 if status else None,
            None if status else "No answer.",
            from_search=not answer.is_read,
        )

    def _rows(self) -> list[Job]:
        rows = self._connection.execute(
            "SELECT status::text AS status, moodys_workflow_id, last_tracked_ts FROM irp_job"
            " WHERE id = ANY (%s) ORDER BY id",
            (self._job_ids,),
        ).fetchall()
        return [
            Job(
                _LETTERS[JobStatus(row["status"])],
                int(row["moodys_workflow_id"]),
                self._asked(row["last_tracked_ts"]),
            )
            for row in rows
        ]

    def _log(self) -> list[tuple[int, int, str]]:
        rows = self._connection.execute(
            "SELECT moodys_workflow_id, tracked_ts, job_status FROM irp_job_tracking_log"
            " WHERE job_id = ANY (%s) ORDER BY job_id",
            (self._job_ids,),
        ).fetchall()
        return [
            (
                int(row["moodys_workflow_id"]),
                self._asked(row["tracked_ts"]),
                _letter(row["job_status"]),
            )
            for row in rows
        ]


def _letter(status: str | None) -> str:
    if status is None:
        return ""
    return "?" if status == _UNKNOWN else _LETTERS[JobStatus(status)]
