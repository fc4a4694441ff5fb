"""What passes have learned of asking Moody's, family by family. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from helpers.display import Fold, Row, Severity, Table, clock_and_age
from helpers.text import counted


@dataclass(frozen=True)
class LearnedFamily:
    """What was learned of one family of jobs, and when."""

    family: str
    at_once: float | None
    per_second: float | None  # None: it has not throttled
    learned_ts: datetime | None
    search_problem: str | None  # why its jobs are read one by one
    search_problem_ts: datetime | None


def families_table(families: Sequence[LearnedFamily], now: datetime) -> Table:
    """Return how each family is asked, and since when."""
    bad = sum(family.search_problem is not None for family in families)
    problem = f"; of {bad} no job is searched for" if bad else ""
    return Table(
        ["Family", "Requests at once", "A second", "Learned", "Why jobs are read one by one"],
        [_row(family, now) for family in families],
        noun="family",
        plural="families",
        title=f"How Moody's is asked: {counted(len(families), 'family', 'families')}{problem}",
        fold=Fold.CLOSED,
        severity=Severity.WARNING if bad else Severity.NEUTRAL,
    )


def _row(family: LearnedFamily, now: datetime) -> Row:
    pace = "not throttled" if family.per_second is None else f"{family.per_second:.1f}"
    since = f" ({clock_and_age(family.search_problem_ts, now)})" if family.search_problem else ""
    return Row(
        [
            family.family,
            "—" if family.at_once is None else f"{family.at_once:.0f}",
            pace,
            clock_and_age(family.learned_ts, now),
            f"{family.search_problem}{since}" if family.search_problem else "—",
        ]
    )
