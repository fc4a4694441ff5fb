"""What is to be asked of one family, in which order, and what its answers mean for the rest. Pure.

A lane holds reads, and searches that wait until the reads of a sample are answered; the first
search goes alone, and shows whether searches can be believed. What throttles one family, or makes
it wait, holds up no other.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from helpers.constants import Family
from helpers.errors import MoodysError
from helpers.irp_integration.answers import is_down
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.health import Health, SearchProblem
from helpers.irp_integration.pace import Pace
from helpers.irp_integration.questions import (
    Answer,
    Plan,
    Question,
    Task,
    is_behind,
    reads_of,
    row_is_enough,
)

_PAUSES_UNTIL_DOWN = 5
_MOST_SEARCHES = 32  # at once: more rows than can be recorded meanwhile would only take memory
_SEARCHES_UNTIL_USELESS = 2
_LONGEST_SEARCH_PAUSE_SECONDS = 5.0
_LATE = "Moody's did not finish its answer in time."
_BEHIND = SearchProblem("It is behind what reads by id say.", is_wrong=True)
_INCOMPLETE = SearchProblem("It leaves out jobs that can be read by id.", is_wrong=True)


@dataclass
class Lane:
    """The tasks of one family; its caller holds a lock. Times are monotonic."""

    family: Family
    plan: Plan
    health: Health
    search_from: float  # at the latest: a read that hangs must not keep the others from it
    pace: Pace
    search_pace: Pace = field(init=False)  # searches may be throttled by themselves
    tried: dict[int, Answer] = field(default_factory=dict)  # by job: on record if nothing better is
    _read_statuses: dict[int, str] = field(default_factory=dict)  # by job: what reads have said
    _is_scouting: bool = False  # the first search is under way
    _is_scouted: bool = False
    _failed_searches: int = 0

    def __post_init__(self) -> None:
        self.search_pace = Pace(
            min(self.pace.most, _MOST_SEARCHES),
            window=self.pace.window,
            is_limited=self.pace.is_limited,
        )
        self._reads = deque(self.plan.reads)
        self._searches = deque(self.plan.searches)
        self._sample = {task.questions[0].job_id for task in self.plan.reads}
        self._unanswered = set(self._sample)

    @property
    def goes_on(self) -> bool:
        """Whether a task waits that there is a point in carrying out."""
        return bool(self._reads or self._searches) and self.health.may_ask(self.family)

    @property
    def position(self) -> int:
        """Where the next task stands among those of all lanes."""
        return (self._reads or self._searches)[0].position

    def wait_seconds(self, now: float) -> float:
        """Return how long the next task has to wait; infinite: until something else happens."""
        if not self._reads and self._is_scouting and not self._is_scouted:
            return math.inf
        if self._reads:
            return self.pace.wait_seconds(now)
        gate = self.search_from - now if self._unanswered else 0.0
        return max(gate, self.search_pace.wait_seconds(now))

    def take(self, now: float, now_ts: datetime) -> Task:
        """Return the next task, which is under way from now on."""
        task = (self._reads or self._searches).popleft()
        self._pace_of(task).note_sent(now)
        self._is_scouting = self._is_scouting or task.is_search
        self._keep_reason(task, now_ts, MoodysError(_LATE))
        return task

    def failed(self, task: Task, asked_ts: datetime, exc: MoodysError) -> list[Answer]:
        """Return the answers of a task that failed."""
        return [
            Answer(question, asked_ts, http_status=exc.http_status, error=str(exc))
            for question in self._asked_by(task)
        ]

    def _asked_by(self, task: Task) -> list[Question]:
        """Return those about whom a task brings answers: a search about none of the sample."""
        left_out = self._sample if task.is_search else set()
        return [question for question in task.questions if question.job_id not in left_out]

    def note_end(self, task: Task, answers: Iterable[Answer]) -> None:
        """Take in that a task is over."""
        self._pace_of(task).note_end()
        for answer in answers:
            self.tried.pop(answer.question.job_id, None)
        if not task.is_search:
            self._unanswered.discard(task.questions[0].job_id)

    def note_read(self, question: Question, status: str, *, sent: float, now: float) -> None:
        """Take in what a read says."""
        self.pace.note_answer(sent=sent, now=now)
        self._read_statuses[question.job_id] = status

    def read_so_far(self) -> dict[int, str]:
        """Return what reads have said, by job."""
        return dict(self._read_statuses)

    def note_search(
        self,
        task: Task,
        rows: Mapping[str, Body],
        read_before: Mapping[int, str],
        *,
        sent: float,
        now: float,
    ) -> list[Question]:
        """Return those about whom a search says enough; the others are read next."""
        self.search_pace.note_answer(sent=sent, now=now)
        is_unproven = not (self._is_scouted or self.family.search_is_proven)
        self._is_scouted = True
        found = {q.job_id: rows.get(q.moodys_id or "") for q in task.questions}
        by_job = {job_id: row for job_id, row in found.items() if row is not None}
        is_lie = any(
            is_behind(searched=by_job[job_id]["status"], read_before=status)
            for job_id, status in read_before.items()
            if job_id in by_job
        )
        checked = read_before.keys() & {question.job_id for question in task.questions}
        is_incomplete = is_unproven and not (checked and checked <= by_job.keys())
        if is_lie or is_incomplete:
            self._give_up_searching(_BEHIND if is_lie else _INCOMPLETE)
            by_job = {}
        asked = self._asked_by(task)
        enough = [q for q in asked if q.job_id in by_job and row_is_enough(q, by_job[q.job_id])]
        enough_ids = {question.job_id for question in enough}
        left = [question for question in asked if question.job_id not in enough_ids]
        for question in left:
            del self.tried[question.job_id]  # not asked yet, in the way that counts
        self._read_next(task.position, left)
        return enough

    def note_failed_search(self, task: Task, asked_ts: datetime, exc: MoodysError) -> None:
        """Read its jobs by id; read all of the family, if searching is of no use."""
        self._failed_searches += 1
        if (
            not self._is_scouted
            or not is_down(exc.http_status)
            or self._failed_searches >= _SEARCHES_UNTIL_USELESS
        ):
            self._give_up_searching(SearchProblem(str(exc), is_wrong=False))
        self._is_scouted = True
        self._keep_reason(task, asked_ts, exc)
        self._read_next(task.position, self._asked_by(task))

    def note_throttled(
        self,
        task: Task,
        asked_ts: datetime,
        exc: MoodysError,
        *,
        sent: float,
        now: float,
        retry_after: float | None,
        deadline: float,
    ) -> None:
        """Let a task wait until the host is ready for more; give up if it never is."""
        pace = self._pace_of(task)
        pace.note_throttled(sent=sent, now=now, retry_after=retry_after)
        pauses, pause = pace.pauses_in_a_row, pace.pause_seconds(now)
        is_late, is_long = now + pause >= deadline, pause > _LONGEST_SEARCH_PAUSE_SECONDS
        if task.is_search and (is_late or is_long or pauses >= _SEARCHES_UNTIL_USELESS):
            self._failed_searches = _SEARCHES_UNTIL_USELESS
            self.note_failed_search(task, asked_ts, exc)
            return
        self._keep_reason(task, asked_ts, exc)
        if task.is_search:
            self._searches.appendleft(task)
        else:
            self._reads.append(task)  # one job that is always throttled must not hold up the others
        self._is_scouting = self._is_scouted
        if pauses < _PAUSES_UNTIL_DOWN and (pace.has_answered or not is_late):
            return
        if pace.has_answered and self._only_tried_ones_wait():
            self._reads.clear()  # the host answers about the others
        else:
            self.health.note_outage(self.family, exc)

    def _only_tried_ones_wait(self) -> bool:
        return not self._searches and all(
            question.job_id in self.tried for task in self._reads for question in task.questions
        )

    def _pace_of(self, task: Task) -> Pace:
        return self.search_pace if task.is_search else self.pace

    def _keep_reason(self, task: Task, asked_ts: datetime, exc: MoodysError) -> None:
        """Keep why an answer did not come, in case that nothing better comes of asking again."""
        self.tried |= {
            answer.question.job_id: answer for answer in self.failed(task, asked_ts, exc)
        }

    def _read_next(self, position: int, questions: Iterable[Question]) -> None:
        reads = reads_of((position, question) for question in questions)
        self._reads.extendleft(reversed(reads))

    def _give_up_searching(self, problem: SearchProblem) -> None:
        """Read by id all that was to be searched for."""
        self.health.note_search_problem(self.family, problem)
        while self._searches:
            task = self._searches.pop()
            self._read_next(task.position, self._asked_by(task))
