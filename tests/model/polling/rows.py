"""What the metastore holds of a job, and what an answer of Moody's does to it."""

from typing import NamedTuple

MOODYS = "PQRCGFEX"  # the statuses that Moody's sends
ENDED = "FEXD"
_RANKS = {"I": 0, "S": 1, "P": 2, "Q": 2, "R": 3, "C": 4, "G": 5} | dict.fromkeys(ENDED, 6)

FUTURE = 99  # when no question can have been asked: the server's clock has gone back since


class Job(NamedTuple):
    """A row of irp_job."""

    # I initiated, S submitted, P pending, Q queued, R running, C cancel requested, G cancelling;
    # ended: F finished, E failed, X cancelled, D could not be submitted
    status: str = "S"
    workflow: int = 1  # Moody's id
    asked: int = 0  # the question that was answered last, in the order of asking; 0: none yet


class Answer(NamedTuple):
    """What came of a question."""

    job: int
    workflow: int  # that was asked about
    asked: int
    status: str  # or ?, a word that nobody knows; empty: the poll failed
    is_read: bool  # by id; else Moody's was searched


class Recording:
    """The guarded update, as a function from row to row. A mutant overrides one of its parts."""

    def record(self, job: Job, answer: Answer) -> Job | None:
        """Put an answer on record; None if the row stays as it is."""
        if not self.is_about(job, answer) or not self.is_latest(job, answer):
            return None
        moved = self.is_legal(job.status, answer.status, is_read=answer.is_read)
        return job._replace(status=answer.status if moved else job.status, asked=answer.asked)

    def is_about(self, job: Job, answer: Answer) -> bool:
        """Whether the job still has the id that was asked about."""
        return job.workflow == answer.workflow

    def is_latest(self, job: Job, answer: Answer) -> bool:
        """Whether no later question was answered before."""
        return job.asked == FUTURE or job.asked <= answer.asked

    def is_legal(self, old: str, new: str, *, is_read: bool) -> bool:
        """Whether a job may go from one status to another."""
        if old in ENDED or not new or new not in MOODYS:
            return False
        is_forward = _RANKS[new] > _RANKS[old] or {old, new} == {"P", "Q"}
        return is_forward or (is_read and is_backward(old, new))

    def is_enough(self, known: str, status: str) -> bool:
        """Whether what a search says of a job needs no read by id."""
        return status == known or (
            status not in ENDED and self.is_legal(known, status, is_read=False)
        )


def is_backward(old: str, new: str) -> bool:
    """Whether Moody's has restarted a job, or refused to cancel it."""
    return old in "RCG" and new in "PQR" and new != old
