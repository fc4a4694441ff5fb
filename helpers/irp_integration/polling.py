"""Ask Moody's about many jobs at once, within one budget of time.

HTTP only, in threads; what becomes of the answers is the caller's business. Families whose
search is proven are asked in chunks, and a job whose status changed or that did not come
back is read by id, so that its full body is on record, before anybody who stands behind it
is asked. When a family stops answering, the rest of its jobs are not asked: they come first
in the next pass.

A 401 may be about one job, about a family that this key may not see, or about who we are:
which of these shows only in what the others are answered. A refused login ends it at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from helpers.constants import JobStatus
from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import Body, is_down, job_body, search_rows, status_of
from helpers.irp_integration.endpoints import (
    SEARCH_CHUNK,
    Family,
    ids_filter,
    is_job_id,
    no_job_id,
)
from helpers.irp_integration.transport import Raw, Transport
from helpers.settings import redact

_FAILURES_UNTIL_DOWN = 5
_GRACE_SECONDS = 2.0  # for threads to come back from the last read of a pass


@dataclass(frozen=True)
class Question:
    """One job to ask about."""

    job_id: int
    workflow_id: str
    family: Family
    known_status: str


@dataclass(frozen=True)
class Answer:
    """What came of one question; where the poll failed, ``error`` says why."""

    question: Question
    asked_ts: datetime
    status: str | None = None  # Moody's word, which may be one that nobody knows
    body: Body | None = None
    http_status: int | None = None
    error: str | None = None


@dataclass
class Outage:
    """A family that stopped answering, and how many of its jobs were not asked for that reason."""

    family: Family
    reason: str
    unasked: int = 0


@dataclass
class _Health:
    """What a pass has learnt about one family. Threads write it under the poller's lock."""

    has_answered: bool = False
    failures_in_a_row: int = 0
    outage: Outage | None = None
    search_refused: bool = False


@dataclass
class Poller:
    """Asks about many jobs; after ``ask`` has ended, says what was not asked and why."""

    transport: Transport
    workers: int
    budget_seconds: float
    clock: Callable[[], datetime]  # for ``asked_ts``
    outages: list[Outage] = field(default_factory=list, init=False)
    out_of_time: int = field(default=0, init=False)  # jobs that the budget did not reach
    credentials_error: MoodysCredentialsError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.budget_seconds
        self._health: dict[Family, _Health] = defaultdict(_Health)
        self._under_way: dict[int, datetime] = {}  # by job, since when it is asked about
        self._turned_away: MoodysCredentialsError | None = None  # the first 401
        self._lock = threading.Lock()
        self._waiting: deque[_Task] = deque()
        self._results: queue.SimpleQueue[tuple[list[Answer], int]] = queue.SimpleQueue()

    def ask(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield answers as they arrive, in no order; at most one per question."""
        if not questions:
            return
        self._waiting.extend(_tasks(questions))
        open_questions = {question.job_id: question for question in questions}
        pool = ThreadPoolExecutor(min(self.workers, len(questions)), thread_name_prefix="poll")
        try:
            for answer in self._answers(pool):
                open_questions.pop(answer.question.job_id)
                yield answer
            for answer in self._given_up(open_questions.values()):
                open_questions.pop(answer.question.job_id)
                yield answer
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        self._judge_credentials()
        self._account_for(open_questions.values())

    def _given_up(self, unanswered: Iterable[Question]) -> list[Answer]:
        """Return an answer for each question that a thread still waits for."""
        with self._lock:
            since = dict(self._under_way)
        error = "Moody's did not finish its answer in time."
        return [
            Answer(question, since[question.job_id], error=error)
            for question in unanswered
            if question.job_id in since
        ]

    @property
    def refused_searches(self) -> list[Family]:
        """Families whose search was refused, so that their jobs were read one by one."""
        return [family for family, health in self._health.items() if health.search_refused]

    def _answers(self, pool: ThreadPoolExecutor) -> Iterator[Answer]:
        """Give the threads a turn for each task that waits, and yield what they bring."""
        running, turns = 0, len(self._waiting)
        while True:
            for _ in range(turns):
                pool.submit(self._take_turn)
            running += turns
            if not running:
                return
            try:
                answers, turns = self._results.get(
                    timeout=max(0.0, self._deadline - time.monotonic()) + _GRACE_SECONDS
                )
            except queue.Empty:
                return  # a thread hangs in a read that drips
            running -= 1
            yield from answers

    def _judge_credentials(self) -> None:
        """Once all were asked: where nobody got an answer, a 401 was about who we are."""
        with self._lock:
            error = self.credentials_error
            if not any(health.has_answered for health in self._health.values()):
                error = error or self._turned_away
            if error is not None:
                self.credentials_error = error
                self.outages = [o for o in self.outages if o.reason != str(error)]

    def _account_for(self, unanswered: Iterable[Question]) -> None:
        for question in unanswered:
            outage = self._health[question.family].outage
            if outage is not None:
                outage.unasked += 1
            elif self.credentials_error is None:
                self.out_of_time += 1

    def _take_turn(self) -> None:
        """Carry out the task that stands first, in a thread; whatever happens, report back.

        What is to be read after a search stands first from now on, however busy the listener is.
        """
        with self._lock:
            task = self._waiting.popleft()
        answers: list[Answer] = []
        to_read: list[_Task] = []
        try:
            if self._may_ask(task.family):
                answers, to_read = self._carried_out(task)
        finally:
            with self._lock:
                self._waiting.extendleft(reversed(to_read))
            self._results.put((answers, len(to_read)))

    def _carried_out(self, task: _Task) -> tuple[list[Answer], list[_Task]]:
        self._note_begin(task)
        try:
            return self._searched(task) if len(task.questions) > 1 else self._read(task)
        except Exception as exc:  # noqa: BLE001 - around one task: what is wrong with it is on record
            error = redact(f"{type(exc).__name__}: {exc}")
            return [Answer(q, self.clock(), error=error) for q in task.questions], []
        finally:
            self._note_end(task)

    def _note_begin(self, task: _Task) -> None:
        now = self.clock()
        with self._lock:
            self._under_way.update((question.job_id, now) for question in task.questions)

    def _note_end(self, task: _Task) -> None:
        with self._lock:
            for question in task.questions:
                self._under_way.pop(question.job_id, None)

    def _may_ask(self, family: Family) -> bool:
        with self._lock:
            stopped = self._health[family].outage or self.credentials_error
        return not stopped and time.monotonic() < self._deadline

    def _read(self, task: _Task) -> tuple[list[Answer], list[_Task]]:
        question = task.questions[0]
        asked_ts = self.clock()
        try:
            if not is_job_id(question.workflow_id):
                return [Answer(question, asked_ts, error=no_job_id(question.workflow_id))], []
            path = task.family.job_path(question.workflow_id)
            raw = self._get(path)
            body = job_body(
                raw.content, http_status=raw.http_status, workflow_id=question.workflow_id
            )
        except MoodysError as exc:
            self._note_failure(task.family, exc)
            return [_failed(question, asked_ts, exc)], []
        self._note_success(task.family)
        status = status_of(body, workflow_id=question.workflow_id)
        return [Answer(question, asked_ts, status, body, raw.http_status)], []

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Raw:
        try:
            return self.transport.get(path, params=params, deadline=self._deadline)
        except MoodysCredentialsError as exc:  # the login is refused: no answer will come
            with self._lock:
                self.credentials_error = self.credentials_error or exc
            raise

    def _searched(self, task: _Task) -> tuple[list[Answer], list[_Task]]:
        """Search a chunk; what changed or is missing is to be read by id."""
        if self._health[task.family].search_refused:
            return [], task.by_id()
        asked_ts = self.clock()
        ids = [question.workflow_id for question in task.questions]
        params = {"filter": ids_filter(ids), "limit": str(SEARCH_CHUNK)}
        try:
            raw = self._get(task.family.jobs_path, params=params)
            rows = search_rows(raw.content, http_status=raw.http_status)
        except MoodysError as exc:
            return self._search_failed(task, exc, asked_ts)
        self._note_success(task.family)
        return _sorted_out(task, rows, asked_ts)

    def _search_failed(
        self, task: _Task, exc: MoodysError, asked_ts: datetime
    ) -> tuple[list[Answer], list[_Task]]:
        self._note_failure(task.family, exc)
        if is_down(exc.http_status):
            return [_failed(question, asked_ts, exc) for question in task.questions], []
        with self._lock:
            self._health[task.family].search_refused = True
        return [], task.by_id()

    def _note_success(self, family: Family) -> None:
        with self._lock:
            health = self._health[family]
            health.has_answered = True
            health.failures_in_a_row = 0

    def _note_failure(self, family: Family, exc: MoodysError) -> None:
        with self._lock:
            health = self._health[family]
            speaks_of_host = is_down(exc.http_status)
            if isinstance(exc, MoodysCredentialsError):
                self._turned_away = self._turned_away or exc
                speaks_of_host = not health.has_answered
            health.failures_in_a_row += speaks_of_host
            if health.failures_in_a_row >= _FAILURES_UNTIL_DOWN and health.outage is None:
                health.outage = Outage(family, str(exc))
                self.outages.append(health.outage)


@dataclass(frozen=True)
class _Task:
    """What one thread does in one go: read one job, or search for several of one family."""

    family: Family
    questions: tuple[Question, ...]

    def by_id(self) -> list[_Task]:
        return [_Task(self.family, (question,)) for question in self.questions]


def _tasks(questions: Sequence[Question]) -> list[_Task]:
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
    return [_Task(group[0].family, tuple(group)) for group in groups]


def _is_searched(question: Question) -> bool:
    return question.family.search_is_proven and is_job_id(question.workflow_id)


def _sorted_out(
    task: _Task, rows: dict[str, Body], asked_ts: datetime
) -> tuple[list[Answer], list[_Task]]:
    answers, to_read = [], []
    for question in task.questions:
        row = rows.get(question.workflow_id)
        if row is not None and row["status"] == question.known_status:
            answers.append(Answer(question, asked_ts, row["status"], row, 200))
        else:
            to_read.append(_Task(task.family, (question,)))
    return answers, to_read


def _failed(question: Question, asked_ts: datetime, exc: MoodysError) -> Answer:
    return Answer(question, asked_ts, http_status=exc.http_status, error=str(exc))


def is_known(status: str) -> bool:
    """Tell whether Moody's word is one of the statuses that it is known to send."""
    return status in JobStatus.of_moodys()
