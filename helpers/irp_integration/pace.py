"""How fast Moody's lets us ask, learned while we ask. Pure: the clock is an argument.

No limit is published. So there is a window of requests that may be under way at once: it starts
small, grows with each answer, and stops growing when answers come later. When the host throttles,
the window shrinks to what the host has carried, and requests go out at the rate at which it has
answered: a little more every second, and less again when it throttles again (additive increase,
multiplicative decrease). How long the host wants us to wait is obeyed.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from helpers.clock import CLOCK

FIRST_WINDOW = 16
_PAUSE_SECONDS = 1.0  # at least, and if the host does not say how long
_SPAN_SECONDS = 1.0  # limits tend to count requests by the second
_DECREASE = 0.9
_SHARPEST = 0.75  # of what was known before
_INCREASE = 0.2, 0.004  # a second: requests a second, or this part of the rate if that is more
_WINDOW_INCREASE = 0.05  # a second, once the host has throttled
_LEAST = 0.5  # requests a second
_STEEP_BELOW = 0.9  # of the rate at which the host last throttled: there the rate doubles a second
_LATE = 2.0, 0.1  # times the quickest answer, and seconds: from there on the window does not grow


@dataclass
class Pace:
    """Says when the next request may go out; its caller holds a lock. Times are monotonic."""

    most: int = 256
    window: float = FIRST_WINDOW  # requests at once
    rate: float = math.inf  # requests a second
    pauses_in_a_row: int = 0  # without an answer in between
    under_way: int = field(default=0, init=False)
    _ceiling: float = field(default=math.inf, init=False)  # the rate at which it throttled last
    _next: float = field(default=-math.inf, init=False)  # when the next request may go out
    _pause_ends: float = field(default=-math.inf, init=False)
    _throttled: float | None = field(default=None, init=False)  # until the rate reflects it
    _raised: float | None = field(default=None, init=False)  # when the rate was raised last
    _answered: deque[float] = field(default_factory=deque, init=False)  # when, lately
    _quickest: float = field(default=math.inf, init=False)  # seconds of the quickest answer
    _usual: float = field(default=0.0, init=False)  # seconds of an answer, lately

    def __post_init__(self) -> None:
        self._ceiling = self.rate

    @property
    def has_answered(self) -> bool:
        """Whether the host has let anything through."""
        return bool(self._answered)

    @property
    def is_throttled(self) -> bool:
        """Whether the host limits the rate, as far as is known."""
        return math.isfinite(self.rate)

    @property
    def has_room(self) -> bool:
        """Whether the window lets another request out."""
        return self.under_way < min(int(self.window), self.most)

    def wait_seconds(self, now: float) -> float:
        """Return how long the next request has to wait; infinite: until another one is over."""
        return self.pause_seconds(now) if self.has_room else math.inf

    def pause_seconds(self, now: float) -> float:
        """Return how long the host wants no request at all, or none before its turn."""
        return max(self._next - now, 0.0)

    def note_sent(self, now: float) -> None:
        """Take in that a request goes out."""
        self.under_way += 1
        if self._throttled is not None:
            self._slow_down(self._throttled, now)
        if math.isfinite(self.rate):
            self._speed_up(now)
            self._next = max(self._next, now) + 1 / self.rate

    def _slow_down(self, throttled: float, now: float) -> None:
        """Go by what the host let through around the moment at which it throttled."""
        seen = sum(at > throttled - _SPAN_SECONDS for at in self._answered) / _SPAN_SECONDS
        carried = seen * self._usual  # Little's law
        if math.isfinite(self.rate):  # at the beginning of a pass little has been seen
            seen, carried = max(seen, self.rate * _SHARPEST), max(carried, self.window * _SHARPEST)
            self._ceiling = min(self.rate, seen)
        self.rate = max(min(self.rate, seen) * _DECREASE, _LEAST)
        self.window = max(min(self.window, carried), 1.0)
        self._raised, self._throttled = now, None

    def _speed_up(self, now: float) -> None:
        seconds = now - (now if self._raised is None else self._raised)
        if self.rate < self._ceiling * _STEEP_BELOW:
            steep = min(2**seconds, self._ceiling * _STEEP_BELOW / self.rate)
            self.rate *= steep
            self.window *= steep
        else:
            self.rate += max(_INCREASE[0], _INCREASE[1] * self.rate) * seconds
            self.window += _WINDOW_INCREASE * seconds
        self.window = min(self.window, self.most)
        self._raised = now

    def note_answer(self, *, sent: float, now: float) -> None:
        """Take in that the host let a request through."""
        self.pauses_in_a_row = 0
        self._answered.append(now)
        while self._answered[0] < min(self._throttled or now, now) - _SPAN_SECONDS:
            self._answered.popleft()
        self._quickest = min(self._quickest, now - sent)
        self._usual += (now - sent - self._usual) / min(len(self._answered), 20)
        is_late = self._usual > _LATE[0] * self._quickest + _LATE[1]
        if math.isinf(self.rate) and not is_late:
            self.window = min(self.window + 1, self.most)

    def note_throttled(self, *, sent: float, now: float, retry_after: float | None) -> None:
        """Take in that the host did not let a request through; all of one burst count once."""
        until = now + max(retry_after or 0.0, _PAUSE_SECONDS)
        if sent >= self._pause_ends:
            self.pauses_in_a_row += 1
            self._throttled = now
        self._pause_ends = max(self._pause_ends, until)
        self._next = max(self._next, until)

    def note_end(self) -> None:
        """Take in that a request is over, however it ended."""
        self.under_way -= 1


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
    now = _http_date(headers.get("Date", "")) or CLOCK.now()
    return max((until - now).total_seconds(), 0.0)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
