"""What is asked about jobs, and what came of it; how questions are put together. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nsmallest

from helpers.constants import BACKWARD_MOVES, JOB_MOVES, BatchType, Family, JobStatus
from helpers.irp_integration.answers import NOT_OF_THE_JOB
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import SEARCH_CHUNK, normal_id

VERIFIED_PER_PASS = 20
"""Jobs of a searched family that are read by id in each pass, because a search may lie."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """One job to ask about."""

    job_id: int
    workflow_id: str
    family: Family
    known_status: str
    batch_id: int = 0
    batch_type: BatchType | None = None
    is_legacy: bool = False  # ids of its batch are known to the older API
    is_silent: bool = False  # nothing was said for long, neither a new status nor by a read
    read_ts: datetime | None = None  # when it was last read by id

    @property
    def moodys_id(self) -> str | None:
        """The id in the form in which it is asked and compared; None if it cannot be one."""
        return normal_id(self.workflow_id)


@dataclass(frozen=True, slots=True)
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
    is_legacy: bool = False  # the older API knows the job, and only that

    @property
    def is_of_host(self) -> bool:
        """Whether the poll failed for a reason that need not be about this one job."""
        return self.error is not None and (
            self.http_status is None or self.http_status in NOT_OF_THE_JOB
        )

    @property
    def is_read(self) -> bool:
        """Whether Moody's said the status when it was asked for this one job."""
        return self.status is not None and not self.from_search


@dataclass(frozen=True, slots=True)
class Task:
    """What one thread does in one go: read one job, or search for several of one family."""

    family: Family
    questions: tuple[Question, ...]
    position: int  # of the first question: who stands first is asked first

    @property
    def is_search(self) -> bool:
        """Whether it searches; a search for one job would be no gain."""
        return len(self.questions) > 1


@dataclass(frozen=True)
class Plan:
    """How the jobs of one family are asked about: first the reads, then the searches.

    The first search asks again about the jobs that have just been read, among others, so that a
    search that is behind shows before anybody believes it.
    """

    reads: list[Task]
    searches: list[Task]


PROVEN = frozenset(family for family in Family if family.search_is_proven)


def plans(questions: Sequence[Question], searchable: Collection[Family]) -> dict[Family, Plan]:
    """Return a plan for each family; those who stand first are asked first."""
    by_family: dict[Family, list[tuple[int, Question]]] = {}
    for position, question in enumerate(questions):
        by_family.setdefault(question.family, []).append((position, question))
    return {
        family: _plan(family, asked, may_search=family in searchable)
        for family, asked in by_family.items()
    }


def _plan(family: Family, asked: list[tuple[int, Question]], *, may_search: bool) -> Plan:
    searched = [item for item in asked if may_search and _can_be_searched(item[1])]
    sample = nsmallest(VERIFIED_PER_PASS, searched, key=lambda item: _urgency(item[1]))
    if len(searched) <= VERIFIED_PER_PASS:
        return Plan(reads_of(asked), [])
    verified = {position for position, _ in sample}
    ordered = sample + [item for item in searched if item[0] not in verified]
    chunks = [ordered[i : i + SEARCH_CHUNK] for i in range(0, len(ordered), SEARCH_CHUNK)]
    searches = [
        Task(family, tuple(question for _, question in chunk), min(at for at, _ in chunk))
        for chunk in chunks
    ]
    reads = [item for item in asked if item[0] in verified or not _can_be_searched(item[1])]
    return Plan(reads_of(reads), searches)


def reads_of(asked: Iterable[tuple[int, Question]]) -> list[Task]:
    """Return a read for each of these questions at their positions."""
    return [Task(question.family, (question,), position) for position, question in asked]


def _urgency(question: Question) -> tuple[bool, datetime]:
    """Order by how much a read is needed: the silent first, then the longest unread."""
    return not question.is_silent, question.read_ts or _NEVER


def _can_be_searched(question: Question) -> bool:
    return not question.is_legacy and question.moodys_id is not None


def row_is_enough(question: Question, row: Body) -> bool:
    """Tell whether a search row says all that is needed.

    The end of a job needs its full body, for the reason; a move back is believed by id only.
    """
    old, new = question.known_status, row["status"]
    if old not in JOB_MOVES or not is_known(new):
        return False
    move = (JobStatus(old), JobStatus(new))
    return old == new or (
        move[1] in JOB_MOVES[move[0]] - JobStatus.terminal() and move not in BACKWARD_MOVES
    )


def is_behind(*, searched: str, read_before: str) -> bool:
    """Tell whether a search says less than a read that was made before it: then it lies."""
    if searched == read_before:
        return False
    if not (is_known(searched) and is_known(read_before)):
        return True
    move = (JobStatus(read_before), JobStatus(searched))
    return move[1] not in JOB_MOVES[move[0]] or move in BACKWARD_MOVES


def is_known(status: str) -> bool:
    """Tell whether Moody's word is one of the statuses that it is known to send."""
    return status in JobStatus.of_moodys()
