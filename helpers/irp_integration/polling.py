"""Ask Moody's about many jobs at once, within one budget of time.

HTTP only, in threads; what becomes of the answers is the caller's business. Families whose
search is proven are asked in chunks, and a job whose status changed or that did not come
back is read by id, so that its full body is on record, before anybody who stands behind it
is asked. When a family stops answering, the rest of its jobs are not asked: they come first
in the next pass.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from helpers.constants import Family
from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import is_down, job_body, search_rows, status_of
from helpers.irp_integration.endpoints import SEARCH_CHUNK, ids_filter, invalid_id
from helpers.irp_integration.health import Health
from helpers.irp_integration.questions import Answer, Question, Task, tasks_of
from helpers.irp_integration.transport import Raw, Transport
from helpers.redaction import redact

_LOOK_SECONDS = 1.0  # how often a listener that waits asks whether to go on
_GRACE_SECONDS = 2.0  # for threads to come back from the last read of a pass


@dataclass
class Poller:
    """Asks about many jobs; after ``ask`` has ended, says what was not asked and why."""

    transport: Transport
    workers: int
    budget_seconds: float
    clock: Callable[[], datetime]  # for ``asked_ts``
    # Called before each question, and every second by the thread that listens. Once it returns
    # False nothing more is asked.
    keep_asking: Callable[[], bool] = lambda: True
    health: Health = field(default_factory=Health, init=False)
    out_of_time: int = field(default=0, init=False)  # jobs that the budget did not reach
    stopped: bool = field(default=False, init=False)  # by ``keep_asking``

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.budget_seconds
        self._under_way: dict[int, datetime] = {}  # by job, since when it is asked about
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._results: queue.SimpleQueue[tuple[list[Answer], int]] = queue.SimpleQueue()

    def ask(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield answers as they arrive, in no order; at most one per question."""
        if not questions:
            return
        self._waiting.extend(tasks_of(questions))
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
        self.health.judge_credentials()
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

    def _answers(self, pool: ThreadPoolExecutor) -> Iterator[Answer]:
        """Give the threads a turn for each task that waits, and yield what they bring."""
        running, turns = 0, len(self._waiting)
        while running or turns:
            for _ in range(turns):
                pool.submit(self._take_turn)
            running, turns = running + turns, 0
            self.stopped = self.stopped or not self.keep_asking()
            seconds_left = self._deadline + _GRACE_SECONDS - time.monotonic()
            try:
                timeout = max(0.0, min(seconds_left, _LOOK_SECONDS))
                answers, turns = self._results.get(timeout=timeout)
            except queue.Empty:
                if seconds_left <= 0:
                    return  # a thread hangs in a read that drips
                continue
            running -= 1
            yield from answers

    def _account_for(self, unanswered: Iterable[Question]) -> None:
        for question in unanswered:
            outage = self.health.outage_of(question.family)
            if outage is not None:
                outage.unasked += 1
            elif self.health.credentials_error is None and not self.stopped:
                self.out_of_time += 1

    def _take_turn(self) -> None:
        """Carry out the task that stands first, in a thread; whatever happens, report back.

        What is to be read after a search stands first from now on, however busy the listener is.
        """
        with self._lock:
            task = self._waiting.popleft()
        answers: list[Answer] = []
        to_read: list[Task] = []
        try:
            if self._may_ask(task.family):
                answers, to_read = self._carried_out(task)
        finally:
            with self._lock:
                self._waiting.extendleft(reversed(to_read))
            self._results.put((answers, len(to_read)))

    def _may_ask(self, family: Family) -> bool:
        self.stopped = self.stopped or not self.keep_asking()
        in_time = time.monotonic() < self._deadline
        return in_time and not self.stopped and self.health.may_ask(family)

    def _carried_out(self, task: Task) -> tuple[list[Answer], list[Task]]:
        self._note_begin(task)
        try:
            return self._searched(task) if len(task.questions) > 1 else self._read(task)
        except Exception as exc:  # noqa: BLE001 - around one task: what is wrong with it is on record
            error = redact(f"{type(exc).__name__}: {exc}")
            return [Answer(q, self.clock(), error=error) for q in task.questions], []
        finally:
            self._note_end(task)

    def _note_begin(self, task: Task) -> None:
        now = self.clock()
        with self._lock:
            self._under_way.update((question.job_id, now) for question in task.questions)

    def _note_end(self, task: Task) -> None:
        with self._lock:
            for question in task.questions:
                self._under_way.pop(question.job_id, None)

    def _read(self, task: Task) -> tuple[list[Answer], list[Task]]:
        question = task.questions[0]
        asked_ts = self.clock()
        try:
            if question.moodys_id is None:
                return [Answer(question, asked_ts, error=invalid_id(question.workflow_id))], []
            path = task.family.job_path(question.moodys_id)
            raw = self._get(path)
            body = job_body(
                raw.content, http_status=raw.http_status, workflow_id=question.workflow_id
            )
        except MoodysError as exc:
            self.health.note_failure(task.family, exc)
            return task.failed(asked_ts, exc), []
        self.health.note_success(task.family)
        status = status_of(body, workflow_id=question.workflow_id)
        return [Answer(question, asked_ts, status, body, raw.http_status)], []

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Raw:
        try:
            return self.transport.get(path, params=params, deadline=self._deadline)
        except MoodysCredentialsError as exc:
            self.health.note_refused_login(exc)
            raise

    def _searched(self, task: Task) -> tuple[list[Answer], list[Task]]:
        """Search a chunk; what changed or is missing is to be read by id."""
        if not self.health.may_search(task.family):
            return [], task.by_id()
        asked_ts = self.clock()
        ids = [question.moodys_id or "" for question in task.questions]
        params = {"filter": ids_filter(ids), "limit": str(SEARCH_CHUNK)}
        try:
            raw = self._get(task.family.jobs_path, params=params)
            rows = search_rows(raw.content, http_status=raw.http_status)
        except MoodysError as exc:
            return self._search_failed(task, exc, asked_ts)
        self.health.note_success(task.family)
        return task.found(rows, asked_ts)

    def _search_failed(
        self, task: Task, exc: MoodysError, asked_ts: datetime
    ) -> tuple[list[Answer], list[Task]]:
        self.health.note_failure(task.family, exc)
        if is_down(exc.http_status):
            return task.failed(asked_ts, exc), []
        self.health.note_refused_search(task.family)
        return [], task.by_id()
