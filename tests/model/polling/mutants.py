"""The polling of a batch with one thing taken away each: a search has to find what breaks then."""

from typing import Any, ClassVar

from tests.model.polling.promises import Polling
from tests.model.polling.rows import Answer, Job


class Mutant(Polling):
    """A protocol that lacks something; the docstring says what."""

    team: ClassVar[dict[str, Any]] = {}


class TimesAreNotCompared(Mutant):
    """An answer is applied whenever it comes, even if a later question was answered before."""

    team: ClassVar = {"cut": 1}

    def is_latest(self, job: Job, answer: Answer) -> bool:
        return True


class IdsAreNotCompared(Mutant):
    """An answer is applied to the row of its job, whichever id that has by now."""

    team: ClassVar = {"resubmit": 1}

    def is_about(self, job: Job, answer: Answer) -> bool:
        return True


class SearchesMoveBack(Mutant):
    """A move back is believed however it was learned."""

    team: ClassVar = {"cut": 1}

    def is_legal(self, old: str, new: str, *, is_read: bool) -> bool:
        return super().is_legal(old, new, is_read=True)


class FailedPollIsAnEnd(Mutant):
    """A job that Moody's says nothing of has finished."""

    def record(self, job: Job, answer: Answer) -> Job | None:
        return super().record(job, answer if answer.status else answer._replace(status="F"))


class LocksAreNotChecked(Mutant):
    """A pass asks on without looking whether it still has its lock."""

    team: ClassVar = {"freeze": 1}
    locks_are_checked = False


class AnotherThreadPings(Mutant):
    """The connection of a lock is pinged by another thread than the one that works."""

    team: ClassVar = {"hang": 1}
    hung_work_pings = True


class IdleConnectionsStay(Mutant):
    """The server keeps the connection of a lock however long nothing comes from it."""

    team: ClassVar = {"hang": 1}
    idle_connections_end = False


class AnswersInHandAreDropped(Mutant):
    """A pass that has lost its lock ends without recording the answer it has."""

    team: ClassVar = {"cut": 1}
    answers_in_hand_are_kept = False


MUTANTS: tuple[type[Mutant], ...] = tuple(Mutant.__subclasses__())
