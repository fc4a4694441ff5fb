"""What is asked about jobs, and what came of it; how questions are put together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from helpers.constants import Family, JobStatus
from helpers.errors import MoodysError
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import SEARCH_CHUNK, normal_id


@dataclass(frozen=True)
class Question:
    """One job to ask about."""

    job_id: int
    workflow_id: str
    family: Family
    known_status: str

    @property
    def moodys_id(self) -> str | None:
        """The id in the form in which it is asked and compared; None if it cannot be one."""
        return normal_id(self.workflow_id)


@dataclass(frozen=True)
class Answer:
    """What came of one question; if the poll failed, ``error`` says why."""

    question: Question
    asked_ts: datetime
    status: str | None = None  # Moody's word, which may be one that nobody knows
    body: Body | None = None
    http_status: int | None = None
    error: str | None = None
    note: str | None = None  # what of the answer is not kept, and why
    from_search: bool = False

    @property
    def is_read(self) -> bool:
        """Whether Moody's said the status when it was asked for this one job."""
        return self.status is not None and not self.from_search


@dataclass(frozen=True)
class Task:
    """What one thread does in one go: read one job, or search for several of one family."""

    family: Family
    questions: tuple[Question, ...]

    def by_id(self) -> list[Task]:
        """Return the reads that take the place of a search."""
        return [Task(self.family, (question,)) for question in self.questions]

    def failed(self, asked_ts: datetime, exc: MoodysError) -> list[Answer]:
        """Return the answers of a request that failed."""
        return [
            Answer(question, asked_ts, http_status=exc.http_status, error=str(exc))
            for question in self.questions
        ]

    def found(self, rows: dict[str, Body], asked_ts: datetime) -> tuple[list[Answer], list[Task]]:
        """Return what a search answers, and what is to be read: what has changed or is missing."""
        answers, to_read = [], []
        for question in self.questions:
            row = rows.get(question.moodys_id or "")
            if row is not None and row["status"] == question.known_status:
                answers.append(
                    Answer(question, asked_ts, row["status"], row, 200, from_search=True)
                )
            else:
                to_read.append(Task(self.family, (question,)))
        return answers, to_read


def tasks_of(questions: Sequence[Question]) -> list[Task]:
    """Return tasks in the order of the questions, those of one search where its first stands."""
    groups: list[list[Question]] = []
    chunks: dict[Family, list[Question]] = {}  # by family, the one that still grows
    for question in questions:
        chunk = chunks.get(question.family) if _is_searched(question) else None
        if chunk is None or len(chunk) == SEARCH_CHUNK:
            groups.append(chunk := [])
        if _is_searched(question):
            chunks[question.family] = chunk
        chunk.append(question)
    return [Task(group[0].family, tuple(group)) for group in groups]


def _is_searched(question: Question) -> bool:
    return question.family.search_is_proven and question.moodys_id is not None


def is_known(status: str) -> bool:
    """Tell whether Moody's word is one of the statuses that it is known to send."""
    return status in JobStatus.of_moodys()
