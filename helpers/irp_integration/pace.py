"""How fast Moody's lets us ask, learned while we ask. Pure: the clock is an argument.

No limit is published; a host may limit how many requests are under way at once, how many it gets
in a second, or both. So there is a window of requests at once: it starts small, grows with each
answer, and shrinks a little when answers come later. When the host throttles for the first time,
the window becomes what the host has carried at once. If it soon throttles again, and again, though
it has let through more than that, its limit is the rate: requests go out at the rate at which it
has answered. From then on the limit that holds requests back grows a little with time, and shrinks
a little when the host throttles (additive increase, multiplicative decrease). How long the host
wants us to wait is obeyed.

Which of several requests at once a host has throttled says nothing: they arrive in no order.
"""

import itertools
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
_LOOK_BACK_SECONDS = 5.0  # for how many it has let through at once
_DECREASE = 0.95
_SOON_DECREASE = 0.9  # if it throttles again soon after
_SOON_SECONDS = 1.5  # a span that begins late, and an answer
_MORE = 1.2  # times the window: so many were not let through at once
_CONTRADICTIONS = 2  # in a row, until it is the rate that is limited
_SHARPEST = 0.75  # of the rate that was known before
# In each second by so much, or by this part of it if that is more; twice as fast after so many
# seconds of asking in which the host has not throttled, and so on.
_INCREASE = 0.02, 0.001
_INCREASE_DOUBLES_SECONDS = 14.0
_CALM_SECONDS = 140.0  # longer counts as so long: a thousand times as fast is enough
_LEAST = 0.5  # requests a second
_STEEP_BELOW = 0.95  # of the rate at which the host last throttled: there the rate doubles a second
_LATE_TIMES, _LATE_SECONDS = 2.0, 0.1  # later than what was usual at its quickest: too late
_LATE_DECREASE = 0.15  # with each answer: a window full of them makes it 0.85 of what it was


@dataclass
class Pace:
    """Says when the next request may go out; its caller holds a lock. Times are monotonic."""

    most: int = 256
    window: float = FIRST_WINDOW  # requests at once
    rate: float = math.inf  # requests a second
    is_limited: bool = False  # the window: the host has throttled when there were more
    calm_seconds: float = 0.0  # of asking since the host last throttled
    pauses_in_a_row: int = 0  # without an answer in between
    under_way: int = field(default=0, init=False)
    _ceiling: float = field(default=math.inf, init=False)  # the rate at which it throttled last
    _next: float = field(default=-math.inf, init=False)  # when the next request may go out
    _pause_ends: float = field(default=-math.inf, init=False)
    _throttled: float | None = field(default=None, init=False)  # until a limit reflects it
    _lowered: float = field(default=-math.inf, init=False)  # when a limit was lowered last
    _contradictions: int = field(default=0, init=False)  # in a row, to what the window says
    _raised: float | None = field(default=None, init=False)  # when a limit was raised last
    # When requests went out that were let through lately, and when their answers came.
    _answered: deque[tuple[float, float]] = field(default_factory=deque, init=False)
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

    def note_sent(self, now: float) -> None:
        """Take in that a request goes out."""
        self.under_way += 1
        if self._throttled is not None:
            self._slow_down(self._throttled, now)
        self._speed_up(now)
        if math.isfinite(self.rate):
            self._next = max(self._next, now) + 1 / self.rate

    def _slow_down(self, throttled: float, now: float) -> None:
        """Lower the limit that the host has shown."""
        let_through = sum(sent >= self._lowered for sent, _ in self._answered)
        is_soon = throttled - self._lowered < _SOON_SECONDS and let_through > _MORE * self.window
        self._contradictions = self._contradictions + 1 if is_soon else 0
        if not self.is_throttled:
            carried = self._carried_at_once()
            self.window, self.is_limited = max(carried, 1), carried > 0
        elif math.isinf(self.rate) and self._contradictions < _CONTRADICTIONS:
            less = self.window * (_SOON_DECREASE if is_soon else _DECREASE)
            self.window = max(min(less, int(self.window) - 1), 1)
        else:
            seen = sum(at > throttled - _SPAN_SECONDS for _, at in self._answered) / _SPAN_SECONDS
            if math.isfinite(self.rate):  # at the beginning of a pass little has been seen
                seen = max(seen, self.rate * _SHARPEST)
                self._ceiling = min(self.rate, seen)
            self.rate = max(min(self.rate, seen) * _DECREASE, _LEAST)
        self._lowered = self._raised = now
        self._throttled = None
        self.calm_seconds = 0.0

    def _carried_at_once(self) -> int:
        """Return how many requests that were let through lately were under way at once."""
        ends = [(sent, 1) for sent, _ in self._answered] + [(at, -1) for _, at in self._answered]
        return max(itertools.accumulate(step for _, step in sorted(ends)), default=0)

    def _speed_up(self, now: float) -> None:
        """Raise the limit that holds requests back."""
        least, part = _INCREASE
        seconds = min(now - (now if self._raised is None else self._raised), _SPAN_SECONDS)
        self.calm_seconds = min(self.calm_seconds + seconds, _CALM_SECONDS)
        boost = 2 ** (self.calm_seconds / _INCREASE_DOUBLES_SECONDS)
        if self.is_limited and not self.has_room:
            self.window += max(least, part * self.window) * boost * seconds
            self.window = min(self.window, self.most)
        elif self.rate < self._ceiling * _STEEP_BELOW:
            self.rate = min(self.rate * 2**seconds, self._ceiling * _STEEP_BELOW)
        elif math.isfinite(self.rate):
            self.rate += max(least, part * self.rate) * boost * seconds
        self._raised = now

    def note_answer(self, *, sent: float, now: float) -> None:
        """Take in that the host let a request through."""
        self.pauses_in_a_row = 0
        self._answered.append((sent, now))
        while self._answered[0][1] < min(self._throttled or now, now) - _LOOK_BACK_SECONDS:
            self._answered.popleft()
        self._usual += (now - sent - self._usual) / min(len(self._answered), 20)
        self._quickest = min(self._quickest, self._usual)
        is_late = self._usual > _LATE_TIMES * self._quickest + _LATE_SECONDS
        if self.is_throttled:
            return
        if is_late:
            self.window = max(self.window - _LATE_DECREASE, min(self.window, FIRST_WINDOW))
        else:
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
