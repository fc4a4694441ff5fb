"""What a forecast is asked about, and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_LEAST = 1e-3
_MOST = 1e10  # seconds: three centuries are a date that every clock can show


class Outcome(StrEnum):
    """Whether a forecast names a time, and if not, why."""

    KNOWN = "known"
    FEW_SAMPLES = "few samples"  # too little history; the forecast says how many samples there are
    LONGER_THAN_ALL = "longer than all like it"  # fewer than five errors exceed its age
    NOT_STARTED = "not started"  # it waits, and nothing says when it will start


@dataclass(frozen=True, slots=True)
class Job:
    """A job's seconds (it took, has run or has waited for so long), and its size if known."""

    seconds: float
    size: float | None = None


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that has finished: of which run, and when (in seconds since any one moment)."""

    run: object
    started: float
    ended: float
    size: float | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """The jobs of a batch now.

    ``servers`` is how many of its jobs can run at once; 0 if no more than run now.
    """

    kind: str
    finished: Sequence[Job] = ()  # in the order in which they ended
    running: Sequence[Job] = ()
    queued: Sequence[Job] = ()  # in the order in which they will start
    servers: int = 0

    @property
    def jobs(self) -> int:
        """How many jobs it has."""
        return len(self.finished) + len(self.running) + len(self.queued)


@dataclass(frozen=True, slots=True)
class Interval:
    """Seconds from now: eight times in ten it is between low and high."""

    low: float
    median: float
    high: float

    def at(self, now: datetime) -> tuple[datetime, datetime, datetime]:
        """Return low, median and high as times."""
        low, median, high = (
            now + timedelta(seconds=seconds) for seconds in (self.low, self.median, self.high)
        )
        return low, median, high

    def widened(self, by: float) -> "Interval":
        """Return it with both sides moved by this much on the log, never past the median."""
        return Interval(
            min(self.median, self.low * math.exp(-by)),
            self.median,
            max(self.median, min(self.high * math.exp(by), _MOST)),
        )


@dataclass(frozen=True, slots=True)
class JobForecast:
    """When a job will end, and how long jobs like it usually take in all (None: not known)."""

    outcome: Outcome
    samples: int
    remaining: Interval | None = None
    usual_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BatchForecast:
    """When a batch will end; ``drawn`` is the interval before its record widened it."""

    outcome: Outcome
    samples: int
    stage: int
    remaining: Interval | None = None
    drawn: Interval | None = None


def miss(drawn: Interval, actual_seconds: float) -> float:
    """Return by how much the actual remaining time lay outside, on the log; negative: inside."""
    low, actual, high = (max(s, _LEAST) for s in (drawn.low, actual_seconds, drawn.high))
    return max(math.log(low / actual), math.log(actual / high))
