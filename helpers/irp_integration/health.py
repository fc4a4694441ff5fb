"""What a pass learns about Moody's while it asks: who answers, who is down, who we are to it.

A 401 may be about one job, about a family that this key may not see, or about who we are:
which of these shows only in what the others are answered. A rejected login is about who we are.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass

from helpers.constants import Family
from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import is_down

_FAILURES_UNTIL_DOWN = 5


@dataclass
class Outage:
    """A family that stopped answering, and how many of its jobs were not asked for that reason."""

    family: Family
    error: MoodysError
    unasked: int = 0

    @property
    def reason(self) -> str:
        """Why, for people."""
        return str(self.error)


@dataclass(frozen=True)
class SearchProblem:
    """Why the search of a family is of no use."""

    text: str
    is_wrong: bool  # it has answered, and what it says is wrong or leaves jobs out


@dataclass
class _OfFamily:
    has_answered: bool = False
    failures_in_a_row: int = 0
    outage: Outage | None = None
    search_problem: SearchProblem | None = None


class Health:
    """Written by many threads at once."""

    def __init__(self) -> None:
        self.credentials_error: MoodysCredentialsError | None = None  # no answer will come
        self._turned_away: MoodysCredentialsError | None = None  # the first 401
        self._families: dict[Family, _OfFamily] = defaultdict(_OfFamily)
        self._lock = threading.Lock()

    def may_ask(self, family: Family) -> bool:
        """Tell whether there is a point in asking this family."""
        with self._lock:
            return self.credentials_error is None and self._families[family].outage is None

    def note_success(self, family: Family) -> None:
        """Take in an answer."""
        with self._lock:
            known = self._families[family]
            known.has_answered = True
            known.failures_in_a_row = 0

    def note_failure(self, family: Family, exc: MoodysError) -> None:
        """Take in a failed read: after five in a row that speak of the host, the family is down."""
        with self._lock:
            known = self._families[family]
            speaks_of_host = is_down(exc.http_status)
            if isinstance(exc, MoodysCredentialsError):
                self._turned_away = self._turned_away or exc
                speaks_of_host = not known.has_answered
            known.failures_in_a_row += speaks_of_host
            is_out = known.failures_in_a_row >= _FAILURES_UNTIL_DOWN
        if is_out:
            self.note_outage(family, exc)

    def note_outage(self, family: Family, exc: MoodysError) -> None:
        """Take in that nothing more can be had of this family in this pass."""
        with self._lock:
            known = self._families[family]
            known.outage = known.outage or Outage(family, exc)

    def note_search_problem(self, family: Family, problem: SearchProblem) -> None:
        """Take in that the search of this family is not to be used in this pass."""
        with self._lock:
            known = self._families[family]
            known.search_problem = known.search_problem or problem

    def note_rejected_login(self, exc: MoodysCredentialsError) -> None:
        """Take in that nobody will get an answer."""
        with self._lock:
            self.credentials_error = self.credentials_error or exc

    def judge_credentials(self) -> None:
        """Once all were asked: if nobody got an answer, a 401 was about who we are."""
        with self._lock:
            if not any(known.has_answered for known in self._families.values()):
                self.credentials_error = self.credentials_error or self._turned_away

    def outage_of(self, family: Family) -> Outage | None:
        """Return the outage of a family, which the caller counts its unasked jobs in; or None."""
        with self._lock:
            return self._families[family].outage

    @property
    def outages(self) -> list[Outage]:
        """Families that stopped answering, except for those that reject who we are."""
        with self._lock:
            found = [known.outage for known in self._families.values() if known.outage]
        return [
            outage
            for outage in found
            if self.credentials_error is None
            or not isinstance(outage.error, MoodysCredentialsError)
        ]

    @property
    def search_problems(self) -> dict[Family, SearchProblem]:
        """Families whose search was not used, or no longer, and why."""
        with self._lock:
            found = {family: known.search_problem for family, known in self._families.items()}
        return {family: problem for family, problem in found.items() if problem is not None}
