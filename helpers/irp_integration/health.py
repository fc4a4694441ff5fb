"""What a pass learns about Moody's while it asks: who answers, who is down, who we are to it.

A 401 may be about one job, about a family that this key may not see, or about who we are:
which of these shows only in what the others are answered. A refused login is about who we are.
"""

from __future__ import annotations

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
    reason: str
    unasked: int = 0


@dataclass
class _OfFamily:
    has_answered: bool = False
    failures_in_a_row: int = 0
    outage: Outage | None = None
    search_refused: bool = False


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

    def may_search(self, family: Family) -> bool:
        """Tell whether this family has not refused a search."""
        with self._lock:
            return not self._families[family].search_refused

    def note_success(self, family: Family) -> None:
        """Take in an answer."""
        with self._lock:
            known = self._families[family]
            known.has_answered = True
            known.failures_in_a_row = 0

    def note_failure(self, family: Family, exc: MoodysError) -> None:
        """Take in a failure: after five in a row that speak of the host, the family is down."""
        with self._lock:
            known = self._families[family]
            speaks_of_host = is_down(exc.http_status)
            if isinstance(exc, MoodysCredentialsError):
                self._turned_away = self._turned_away or exc
                speaks_of_host = not known.has_answered
            known.failures_in_a_row += speaks_of_host
            if known.failures_in_a_row >= _FAILURES_UNTIL_DOWN and known.outage is None:
                known.outage = Outage(family, str(exc))

    def note_refused_search(self, family: Family) -> None:
        """Take in that this family refuses searches."""
        with self._lock:
            self._families[family].search_refused = True

    def note_refused_login(self, exc: MoodysCredentialsError) -> None:
        """Take in that nobody will get an answer."""
        with self._lock:
            self.credentials_error = self.credentials_error or exc

    def judge_credentials(self) -> None:
        """Once all were asked: where nobody got an answer, a 401 was about who we are."""
        with self._lock:
            if not any(known.has_answered for known in self._families.values()):
                self.credentials_error = self.credentials_error or self._turned_away

    def outage_of(self, family: Family) -> Outage | None:
        """Return the outage of a family, which the caller counts its unasked jobs in; or None."""
        with self._lock:
            return self._families[family].outage

    @property
    def outages(self) -> list[Outage]:
        """Families that stopped answering, but for those that refuse who we are."""
        with self._lock:
            found = [known.outage for known in self._families.values() if known.outage]
        return [outage for outage in found if outage.reason != str(self.credentials_error)]

    @property
    def refused_searches(self) -> list[Family]:
        """Families whose search was refused, so that their jobs were read one by one."""
        with self._lock:
            return [family for family, known in self._families.items() if known.search_refused]
