"""Laws of polling by search: whatever a search says, no status is wrong and no job unasked."""

import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.constants import BACKWARD_MOVES, JOB_MOVES, Family, JobStatus
from helpers.errors import MoodysError
from helpers.irp_integration.polling import Poller
from helpers.irp_integration.questions import Question
from helpers.irp_integration.transport import Raw

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
STATUSES = sorted(JobStatus.of_moodys())
NO_RESPONSE, FILTER_IGNORED = (0, b"no response"), (0, b"the newest jobs, whatever was asked")
BROKEN = [
    *((status, body) for status in (400, 403, 404, 500) for body in (b"{}", b"<html>")),
    *((200, body) for body in (b"null", b"{}", b"[]", b"x", b"", b"<html><body>Log in</body>")),
    (204, b""),
    NO_RESPONSE,
    FILTER_IGNORED,
]
LIES = [*STATUSES, "HIBERNATING", "", None, "left out", "twice", "of another job"]


@dataclass
class World:
    """Moody's in memory: reads tell the truth, searches what they were told to."""

    truth: dict[str, str]
    lies: dict[str, str | None]  # by id: what a search says in place of the truth
    broken: dict[int, tuple[int, bytes]]  # by number of a search: how it fails
    reads: set[str] = field(default_factory=set)
    searches: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, *, params=None, deadline=None, waits_if_throttled=True) -> Raw:
        del deadline, waits_if_throttled
        if params is None:
            job_id = path.rpartition("/")[2]
            with self.lock:
                self.reads.add(job_id)
            return answer({"jobId": job_id, "status": self.truth[job_id]})
        with self.lock:
            self.searches += 1
            broken = self.broken.get(self.searches)
        if broken == NO_RESPONSE:
            raise MoodysError("Moody's did not answer in time.")
        if broken == FILTER_IGNORED:
            return answer([row for i in sorted(self.truth)[:100] for row in self.rows(i)])
        if broken is not None:
            return Raw(*broken, {})
        return answer([row for i in re.findall(r"\d+", params["filter"]) for row in self.rows(i)])

    def rows(self, job_id: str) -> list[dict[str, object]]:
        status = self.lies.get(job_id, self.truth[job_id])
        match status:
            case "left out":
                return []
            case "twice":
                return [
                    {"jobId": job_id, "status": self.truth[job_id]},
                    {"jobId": job_id, "status": "CANCELLED"},
                ]
            case "of another job":
                return [{"jobId": job_id + "1", "status": "FAILED"}]
            case _:
                return [{"jobId": int(job_id), "status": status, "name": "a row"}]


def answer(value: object) -> Raw:
    return Raw(200, json.dumps(value).encode(), {})


def is_forward(old: str, new: str) -> bool:
    move = (JobStatus(old), JobStatus(new))
    return old == new or (move[1] in JOB_MOVES[move[0]] and move not in BACKWARD_MOVES)


@given(
    jobs=st.lists(
        st.tuples(st.sampled_from(STATUSES), st.sampled_from(STATUSES)), min_size=21, max_size=150
    ),
    lies=st.dictionaries(st.integers(1, 150), st.sampled_from(LIES), max_size=20),
    broken=st.dictionaries(
        st.integers(1, 2),
        st.sampled_from(BROKEN),
        max_size=2,
    ),
)
@settings(max_examples=60, deadline=None)
def test_every_job_is_answered_once_and_no_end_is_believed_from_a_search(jobs, lies, broken):
    truth = {str(number): status for number, (_, status) in enumerate(jobs, 1)}
    world = World(truth, {str(number): status for number, status in lies.items()}, broken)
    asked = [
        Question(number, str(number), Family.MODEL, known)
        for number, (known, _) in enumerate(jobs, 1)
    ]

    answers = list(Poller(world, 4, 30.0, lambda: NOW).ask(asked))

    assert sorted(a.question.job_id for a in answers) == [q.job_id for q in asked]
    assert all(a.error is None for a in answers)
    for a in answers:
        if a.is_read:
            assert a.status == truth[a.question.workflow_id]
        else:
            assert a.status == world.lies.get(a.question.workflow_id, truth[a.question.workflow_id])
            assert a.status not in JobStatus.terminal() - {a.question.known_status}
            assert is_forward(a.question.known_status, a.status)


@given(behind=st.integers(1, 20), jobs=st.integers(21, 150))
@settings(max_examples=20, deadline=None)
def test_a_search_that_is_behind_about_one_job_is_believed_about_none(behind, jobs):
    """At the first wrong answer, all of the family is read by id, in the same pass."""
    truth = {str(number): "RUNNING" for number in range(1, jobs + 1)}
    truth[str(behind)] = "FINISHED"
    world = World(truth, {str(behind): "RUNNING"}, {})
    asked = [Question(n, str(n), Family.MODEL, "RUNNING") for n in range(1, jobs + 1)]

    answers = list(Poller(world, 4, 30.0, lambda: NOW).ask(asked))

    assert world.reads == set(truth)
    assert all(a.is_read for a in answers)
    assert world.searches == 1
