"""Ask Moody's about many jobs at once, within one budget of time.

HTTP only, in threads; what becomes of the answers is the caller's business. How it works:

- Each family has a lane of tasks (``lanes``), and its own pace (``pace``). Threads take the task
  that stands first among those that may go now; the longest unasked jobs stand first.
- A family is searched, 100 jobs at a time. Before, some of its jobs are read by id, and the first
  search asks again about them: if it is behind these reads it lies, and all jobs of the family are
  read by id; likewise if nobody has ever seen its search work and it leaves some of them out. So
  are those about whom a search fails or says nothing, whose end it tells, or who have gone back.
- A request that is throttled goes back into its lane, and the lane slows down. A family is down,
  and asked no more in this pass, when nothing comes through: after five failures or five pauses in
  a row, or if it wants us to wait for longer than the pass has.
- Threads are daemons, and no request outlives the budget by more than a moment (``deadlines``).
  What was asked and not answered by then is a failed poll; what was not asked comes first in the
  next pass.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus

from helpers.clock import CLOCK
from helpers.constants import Family
from helpers.errors import MoodysError
from helpers.irp_integration.asking import LoginRejectedError, ThrottledError, read, search
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import invalid_id
from helpers.irp_integration.health import Health
from helpers.irp_integration.lanes import Lane
from helpers.irp_integration.pace import Pace
from helpers.irp_integration.questions import PROVEN, Answer, Question, Task, plans
from helpers.irp_integration.transport import Transport
from helpers.redaction import describe

_LOOK_SECONDS = 1.0  # how often a listener that waits asks whether to go on
_GRACE_SECONDS = 2.0  # for threads to come back from the last read of a pass
_SAMPLE_SECONDS = 3.0  # for reads before a search, and no more than a quarter of the budget
_SEARCH_SECONDS = 10.0  # for a search, and no more than a quarter of the budget
_MOST_HELD_BYTES = 1024**2  # of answers that nobody has recorded yet


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
    searchable: Collection[Family] = PROVEN  # families whose search may be tried
    paces: dict[Family, Pace] = field(default_factory=dict)  # as learned before, and in this pass
    health: Health = field(default_factory=Health, init=False)
    out_of_time: int = field(default=0, init=False)  # jobs that the budget did not reach
    stopped: bool = field(default=False, init=False)  # by ``keep_asking``

    def __post_init__(self) -> None:
        self._deadline = CLOCK.monotonic() + self.budget_seconds
        self._lanes: dict[Family, Lane] = {}
        self._results: deque[tuple[list[Answer], int]] = deque()  # with their bytes
        self._held_bytes = 0
        self._threads = 0  # started when there is a task that no other thread waits for
        self._idle = 0
        self._busy = 0
        self._is_closed = False
        self._has_timer = False
        self._lock = threading.Lock()
        self._task_is_there = threading.Condition(self._lock)
        self._result_is_there = threading.Condition(self._lock)

    # --- The caller's thread.

    def ask(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield answers as they arrive, in no order; at most one per question."""
        open_questions = {question.job_id: question for question in questions}
        self._start(questions)
        try:
            for answer in self._answers():
                del open_questions[answer.question.job_id]
                yield answer
            for answer in self._tries(open_questions):
                del open_questions[answer.question.job_id]
                yield answer
        finally:
            with self._lock:
                self._is_closed = True
                self._task_is_there.notify_all()
        self.health.judge_credentials()
        self._account_for(open_questions.values())

    def _start(self, questions: Sequence[Question]) -> None:
        search_from = CLOCK.monotonic() + min(_SAMPLE_SECONDS, self.budget_seconds / 4)
        for family, plan in plans(questions, self.searchable).items():
            pace = self.paces.setdefault(family, Pace(self.workers))
            self._lanes[family] = Lane(family, plan, self.health, search_from, pace)
        if questions:
            self._start_thread()

    def _start_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=f"poll-{self._threads}", daemon=True).start()

    def _answers(self) -> Iterator[Answer]:
        while True:
            self.stopped = self.stopped or not self.keep_asking()
            left = self._deadline + _GRACE_SECONDS - CLOCK.monotonic()
            with self._lock:
                self._result_is_there.wait_for(
                    lambda: self._results or self._is_over(),
                    timeout=max(0.0, min(left, _LOOK_SECONDS)),
                )
                if not self._results and (self._is_over() or left <= 0):
                    return  # all is done, or a thread hangs
                answers, size = self._results.popleft() if self._results else ([], 0)
                self._held_bytes -= size
                if size:
                    self._task_is_there.notify()  # somebody may have waited for room
            yield from answers

    def _is_over(self) -> bool:
        return not self._busy and not self._goes_on()

    def _goes_on(self) -> bool:
        """Tell whether there is something more to be asked."""
        now = CLOCK.monotonic()
        return (
            not (self._is_closed or self.stopped)
            and now < self._deadline
            and any(
                lane.goes_on and now + lane.wait_seconds(now) < self._deadline
                for lane in self._lanes.values()
            )
        )

    def _tries(self, unanswered: Mapping[int, Question]) -> list[Answer]:
        """Return what is known of questions that were asked, and got no answer to be used."""
        with self._lock:
            tried = [answer for lane in self._lanes.values() for answer in lane.tried.values()]
        return [answer for answer in tried if answer.question.job_id in unanswered]

    def _account_for(self, unasked: Iterable[Question]) -> None:
        for question in unasked:
            outage = self.health.outage_of(question.family)
            if outage is not None:
                outage.unasked += 1
            elif self.health.credentials_error is None and not self.stopped:
                self.out_of_time += 1

    # --- The threads.

    def _work(self) -> None:
        while (taken := self._next_task()) is not None:
            task, sent = taken
            answers: list[Answer] = []
            size = 0
            try:
                answers, size = self._carry_out(task, sent)
            except Exception as exc:  # noqa: BLE001 - around one task: what is wrong with it is on record
                error = MoodysError(describe(exc))
                answers = self._lanes[task.family].failed(task, self.clock(), error)
            finally:
                self._finish(task, answers, size)

    def _next_task(self) -> tuple[Task, float] | None:
        """Wait for a task; None if there will be none."""
        with self._lock:
            while True:
                self.stopped = self.stopped or not self.keep_asking()
                now = CLOCK.monotonic()
                if self._is_closed or self.stopped or now >= self._deadline or self._is_over():
                    self._task_is_there.notify_all()
                    self._result_is_there.notify()
                    return None
                wait, lane = self._next_lane(now)
                if lane is not None and wait <= 0:
                    self._busy += 1
                    taken = lane.take(now, self.clock()), now
                    if math.isfinite(self._next_lane(now)[0]):
                        self._call_thread()
                    return taken
                self._wait(wait, self._deadline - now)

    def _call_thread(self) -> None:
        """Have another thread wait for the next task."""
        if self._idle:
            self._task_is_there.notify()
        elif self._threads < self.workers:
            with suppress(RuntimeError):  # the system gives no more: those that run go on
                self._start_thread()

    def _wait(self, seconds: float, most: float) -> None:
        """Wait until something happens; one thread at a time does so until the next task is due."""
        is_timer = not self._has_timer and seconds <= most
        self._has_timer = self._has_timer or is_timer
        self._idle += 1
        self._task_is_there.wait(seconds if is_timer else most)
        self._idle -= 1
        self._has_timer = self._has_timer and not is_timer

    def _next_lane(self, now: float) -> tuple[float, Lane | None]:
        """Return whose task is the next, and how long it has to wait."""
        lanes = [lane for lane in self._lanes.values() if lane.goes_on]
        if self._held_bytes > _MOST_HELD_BYTES or not lanes:
            return math.inf, None
        waits = [(max(lane.wait_seconds(now), 0.0), lane.position, lane) for lane in lanes]
        wait, _, lane = min(waits, key=lambda item: item[:2])
        return wait, lane

    def _finish(self, task: Task, answers: list[Answer], size: int) -> None:
        with self._lock:
            self._busy -= 1
            self._lanes[task.family].note_end(task, answers)
            if answers:
                self._results.append((answers, size))
                self._held_bytes += size
            if task.is_search or self._is_over():
                self._task_is_there.notify_all()
            if answers or self._is_over():
                self._result_is_there.notify()

    def _carry_out(self, task: Task, sent: float) -> tuple[list[Answer], int]:
        """Do what a task is about; return its answers and how many bytes they hold."""
        asked_ts = self.clock()
        carry_out = self._search if task.is_search else self._read
        try:
            return carry_out(task, sent, asked_ts)
        except ThrottledError as exc:
            with self._lock:
                self._lanes[task.family].note_throttled(
                    task,
                    asked_ts,
                    exc.error,
                    sent=sent,
                    now=CLOCK.monotonic(),
                    retry_after=exc.retry_after,
                    deadline=self._deadline,
                )
            return [], 0
        except LoginRejectedError as exc:
            self.health.note_rejected_login(exc.error)
            error = MoodysError(str(exc.error))  # its HTTP status is not of this question
            return self._lanes[task.family].failed(task, asked_ts, error), 0

    def _read(self, task: Task, sent: float, asked_ts: datetime) -> tuple[list[Answer], int]:
        [question] = task.questions
        if question.moodys_id is None:
            return [Answer(question, asked_ts, error=invalid_id(question.workflow_id))], 0
        lane = self._lanes[task.family]
        try:
            reading = read(self.transport, question, deadline=self._deadline)
        except MoodysError as exc:
            self.health.note_failure(task.family, exc)
            return lane.failed(task, asked_ts, exc), 0
        self.health.note_success(task.family)
        status = reading.body["status"]
        with self._lock:
            lane.note_read(question, status, sent=sent, now=CLOCK.monotonic())
        reply = asked_ts, status, reading.body, HTTPStatus.OK
        return [Answer(question, *reply, is_legacy=reading.is_legacy)], reading.size

    def _search(self, task: Task, sent: float, asked_ts: datetime) -> tuple[list[Answer], int]:
        lane = self._lanes[task.family]
        with self._lock:
            read_before = lane.read_so_far()
        patience = min(_SEARCH_SECONDS, self.budget_seconds / 4)
        deadline = min(self._deadline, CLOCK.monotonic() + patience)
        try:
            rows, size = search(self.transport, task, deadline=deadline)
        except MoodysError as exc:
            with self._lock:
                lane.note_failed_search(task, asked_ts, exc)
            return [], 0
        self.health.note_success(task.family)
        with self._lock:
            now = CLOCK.monotonic()
            enough = lane.note_search(task, rows, read_before, sent=sent, now=now)
        return [_searched(question, rows, asked_ts) for question in enough], size


def _searched(question: Question, rows: Mapping[str, Body], asked_ts: datetime) -> Answer:
    row = rows[question.moodys_id or ""]
    return Answer(question, asked_ts, row["status"], row, HTTPStatus.OK, from_search=True)
