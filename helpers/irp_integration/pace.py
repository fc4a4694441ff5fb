"""How fast Moody's lets us ask, learned while we ask. Pure: the clock is an argument.

No limit is published; a host may limit how many requests are under way at once, how many it gets
in a second, or both. So there is a window of requests at once: it starts small, grows with each
answer, and shrinks a little when answers come later. When the host throttles, one of two limits is
to blame. If all that it let through went out beside fewer requests than what it throttled, that is
the window: it becomes what the host has carried. Otherwise it is the rate: requests go out at the
rate at which the host has answered. Whichever limit holds requests back grows a little meanwhile
(additive increase, multiplicative decrease). How long the host wants us to wait is obeyed.
"""

import math
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from helpers.clock import CLOCK

FIRST_WINDOW = 16
_PAUSE_SECONDS = 1.0  # at least, and if the host does not say how long
_SPAN_SECONDS = 1.0  # limits tend to count requests by the second
_LOOK_BACK_SECONDS = 5.0  # for how many it has let through at once
_DECREASE = 0.95
_SHARPEST = 0.75  # of what was known before
# In each second by so much, or by this part of it if that is more: five percent take a minute.
_RATE_INCREASE = 0.02, 0.001
_WINDOW_INCREASE = 0.02, 0.001
_LEAST = 0.5  # requests a second
_STEEP_BELOW = 0.95  # of the rate at which the host last throttled: there the rate doubles a second
_LATE = (
    2.0,
    0.1,
)  # times what was usual at its quickest, and seconds: from there on the window shrinks
_LATE_DECREASE = 0.15  # with each answer: a window full of them makes it 0.85 of what it was


class Sent(NamedTuple):
    """When a request went out, and how many were under way then, it included."""

    at: float
    under_way: int


_NOTHING = Sent(math.inf, sys.maxsize)


@dataclass
class Pace:
    """Says when the next request may go out; its caller holds a lock. Times are monotonic."""

    most: int = 256
    window: float = FIRST_WINDOW  # requests at once
    rate: float = math.inf  # requests a second
    is_limited: bool = False  # the window: the host has throttled when there were more
    pauses_in_a_row: int = 0  # without an answer in between
    under_way: int = field(default=0, init=False)
    _ceiling: float = field(default=math.inf, init=False)  # the rate at which it throttled last
    _next: float = field(default=-math.inf, init=False)  # when the next request may go out
    _pause_ends: float = field(default=-math.inf, init=False)
    _throttled: float | None = field(default=None, init=False)  # until a limit reflects it
    _rejected: Sent = field(default=_NOTHING, init=False)  # the first since then, beside the fewest
    _lowered: float = field(default=-math.inf, init=False)  # when a limit was lowered last
    _raised: float | None = field(default=None, init=False)  # when a limit was raised last
    # When answers came to which requests, lately.
    _answered: deque[tuple[float, Sent]] = field(default_factory=deque, init=False)
    _usual: float = field(default=0.0, init=False)  # seconds of an answer, lately
    _quickest: float = field(default=math.inf, init=False)  # the least that was usual

    def __post_init__(self) -> None:
        self._ceiling = self.rate

    @property
    def has_answered(self) -> bool:
        """Whether the host has let anything through."""
        return bool(self._answered)

    @property
    def is_throttled(self) -> bool:
        """Whether the host limits how much it is asked, as far as is known."""
        return self.is_limited or math.isfinite(self.rate)

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

    def note_sent(self, now: float) -> Sent:
        """Take in that a request goes out."""
        self.under_way += 1
        if self._throttled is not None:
            self._slow_down(self._throttled, now)
        self._speed_up(now)
        if math.isfinite(self.rate):
            self._next = max(self._next, now) + 1 / self.rate
        return Sent(now, self.under_way)

    def _slow_down(self, throttled: float, now: float) -> None:
        """Go by what the host let through before it throttled."""
        first, fewest = self._rejected
        # Beside requests that it throttled, it carried fewer than were under way.
        let_through = (s.under_way for _, s in self._answered if self._lowered <= s.at < first)
        if 0 < max(let_through, default=0) < fewest:
            self.window, self.is_limited = fewest - 1, True
        else:
            seen = sum(at > throttled - _SPAN_SECONDS for at, _ in self._answered) / _SPAN_SECONDS
            if math.isfinite(self.rate):  # at the beginning of a pass little has been seen
                seen = max(seen, self.rate * _SHARPEST)
                self._ceiling = min(self.rate, seen)
            self.rate = max(min(self.rate, seen) * _DECREASE, _LEAST)
        self._lowered = self._raised = now
        self._throttled, self._rejected = None, _NOTHING

    def _speed_up(self, now: float) -> None:
        """Raise the limit that holds requests back."""
        seconds = min(now - (now if self._raised is None else self._raised), _SPAN_SECONDS)
        if self.is_limited and not self.has_room:
            least, part = _WINDOW_INCREASE
            self.window = min(self.window + max(least, part * self.window) * seconds, self.most)
        elif self.rate < self._ceiling * _STEEP_BELOW:
            self.rate = min(self.rate * 2**seconds, self._ceiling * _STEEP_BELOW)
        elif math.isfinite(self.rate):
            least, part = _RATE_INCREASE
            self.rate += max(least, part * self.rate) * seconds
        self._raised = now

    def note_answer(self, *, sent: Sent, now: float) -> None:
        """Take in that the host let a request through."""
        self.pauses_in_a_row = 0
        self._answered.append((now, sent))
        while self._answered[0][0] < min(self._throttled or now, now) - _LOOK_BACK_SECONDS:
            self._answered.popleft()
        self._usual += (now - sent.at - self._usual) / min(len(self._answered), 20)
        self._quickest = min(self._quickest, self._usual)
        is_late = self._usual > _LATE[0] * self._quickest + _LATE[1]
        if self.is_throttled:
            return
        if is_late:
            self.window = max(self.window - _LATE_DECREASE, min(self.window, FIRST_WINDOW))
        else:
            self.window = min(self.window + 1, self.most)

    def note_throttled(self, *, sent: Sent, now: float, retry_after: float | None) -> None:
        """Take in that the host did not let a request through; all of one burst count once."""
        until = now + max(retry_after or 0.0, _PAUSE_SECONDS)
        if sent.at >= self._pause_ends:
            self.pauses_in_a_row += 1
            self._throttled = now
        if self._throttled is not None:
            first = min(self._rejected.at, sent.at)
            self._rejected = Sent(first, min(self._rejected.under_way, sent.under_way))
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
