"""How fast Moody's lets us ask, learned while we ask. Pure: the clock is an argument.

No rate limit is published. So requests go out as fast as there are threads for them, until the host
throttles. Then they go out at the rate at which it has answered: a little more every second, and
less again when it throttles again (additive increase, multiplicative decrease). How long the host
wants us to wait is obeyed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_PAUSE_SECONDS = 1.0  # at least, and if the host does not say how long
_WINDOW_SECONDS = 1.0  # limits tend to count requests by the second
_DECREASE = 0.9
_INCREASE = 0.2, 0.004  # a second: requests a second, or this part of the rate if that is more
_LEAST = 0.5  # requests a second
_STEEP_BELOW = 0.9  # of the rate at which the host last throttled: there the rate doubles a second


@dataclass
class Pace:
    """Says when the next request may go out; its caller holds a lock. Times are monotonic."""

    rate: float = math.inf  # requests a second
    pauses_in_a_row: int = 0  # without an answer in between
    _ceiling: float = math.inf  # the rate at which the host last throttled
    _next: float = -math.inf  # when the next request may go out
    _pause_ends: float = -math.inf
    _throttled: float | None = None  # when, as long as the rate does not reflect it
    _raised: float = 0.0  # when the rate was raised last
    _answered: deque[float] = field(default_factory=deque)  # when, lately

    @property
    def has_answered(self) -> bool:
        """Whether the host has let anything through."""
        return bool(self._answered)

    def wait_seconds(self, now: float) -> float:
        """Return how long the next request has to wait."""
        return max(self._next - now, 0.0)

    def note_sent(self, now: float) -> None:
        """Take in that a request goes out."""
        if self._throttled is not None:
            self._slow_down(self._throttled, now)
        if math.isfinite(self.rate):
            self._speed_up(now)
            self._next = max(self._next, now) + 1 / self.rate

    def _slow_down(self, throttled: float, now: float) -> None:
        """Go by what the host let through around the moment at which it throttled."""
        seen = sum(at > throttled - _WINDOW_SECONDS for at in self._answered) / _WINDOW_SECONDS
        self._ceiling = min(self.rate, max(seen, _LEAST)) if math.isfinite(self.rate) else math.inf
        self.rate = max(min(self.rate, seen) * _DECREASE, _LEAST)
        self._raised, self._throttled = now, None

    def _speed_up(self, now: float) -> None:
        seconds = now - self._raised
        if self.rate < self._ceiling * _STEEP_BELOW:
            self.rate = min(self.rate * 2**seconds, self._ceiling * _STEEP_BELOW)
        else:
            self.rate += max(_INCREASE[0], _INCREASE[1] * self.rate) * seconds
        self._raised = now

    def note_answer(self, now: float) -> None:
        """Take in that the host let a request through."""
        self.pauses_in_a_row = 0
        self._answered.append(now)
        while self._answered[0] < min(self._throttled or now, now) - _WINDOW_SECONDS:
            self._answered.popleft()

    def note_throttled(self, *, sent: float, now: float, retry_after: float | None) -> None:
        """Take in that the host did not let a request through; all of one burst count once."""
        until = now + max(retry_after or 0.0, _PAUSE_SECONDS)
        if sent >= self._pause_ends:
            self.pauses_in_a_row += 1
            self._throttled = now
        self._pause_ends = max(self._pause_ends, until)
        self._next = max(self._next, until)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long the host wants us to wait; None if it does not say so.

    A date is compared with the host's own clock, if that is told, because ours may differ.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    until = _http_date(value)
    if until is None:
        return None
    now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
