"""The pace is learned from hosts that limit requests in the ways that hosts do, simulated."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from helpers.irp_integration.pace import FIRST_WINDOW, Pace, retry_after_seconds

BUDGET_SECONDS = 45.0


def by_the_second(most: int) -> Callable[[float], bool]:
    """Let so many requests through in each second of the clock."""
    seen: dict[int, int] = {}

    def admits(now: float) -> bool:
        seen[int(now)] = seen.get(int(now), 0) + 1
        return seen[int(now)] <= most

    return admits


def by_the_last_second(most: int) -> Callable[[float], bool]:
    """Let so many requests through in any second, those that were not let through included."""
    seen: deque[float] = deque()

    def admits(now: float) -> bool:
        while seen and seen[0] <= now - 1:
            seen.popleft()
        seen.append(now)
        return len(seen) <= most

    return admits


def by_tokens(rate: int) -> Callable[[float], bool]:
    """Let a request through for each token; so many come in each second, and so many are kept."""
    tokens, at = float(rate), 0.0

    def admits(now: float) -> bool:
        nonlocal tokens, at
        tokens, at = min(rate, tokens + (now - at) * rate), now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return admits


@dataclass
class Host:
    """A host and the ways to it: on average ``way`` seconds, in which requests overtake others."""

    admits: Callable[[float], bool]
    latency: float
    most_at_once: float = math.inf
    way: float = 0.0
    _rng: random.Random = field(default_factory=lambda: random.Random(7))
    _ends: list[float] = field(default_factory=list)  # of requests that are being answered

    def way_seconds(self) -> float:
        return self._rng.expovariate(1 / self.way) if self.way else 0.0

    def reply(self, now: float) -> tuple[bool, float]:
        """Return whether a request is let through, and when the reply is back."""
        self._ends = [end for end in self._ends if end > now]
        end = now + self.latency * self._rng.uniform(0.8, 1.2)
        is_let_through = len(self._ends) < self.most_at_once and self.admits(now)
        if is_let_through:
            self._ends.append(end)
        return is_let_through, end + self.way_seconds()


def asked(
    host: Host, jobs: int, *, pace: Pace, retry_after: float | None = None
) -> tuple[int, int, float]:
    """Return how many jobs were answered, how often the host throttled, and the seconds."""
    number = itertools.count()
    # When, which, whether the host let it through (None: it has yet to arrive), when it was sent.
    events: list[tuple[float, int, bool | None, float]] = []
    now, waiting, answered, throttled = 0.0, jobs, 0, 0
    while answered < jobs and now < BUDGET_SECONDS:
        wait = pace.wait_seconds(now)
        if waiting and wait <= 0:
            pace.note_sent(now)
            waiting -= 1
            heapq.heappush(events, (now + host.way_seconds(), next(number), None, now))
            continue
        if waiting and (not events or now + wait < events[0][0]):
            now += wait
            continue
        now, _, is_let_through, sent = heapq.heappop(events)
        if is_let_through is None:
            is_let_through, back = host.reply(now)
            heapq.heappush(events, (back, next(number), is_let_through, sent))
            continue
        pace.note_end()
        if is_let_through:
            pace.note_answer(sent=sent, now=now)
            answered += 1
        else:
            pace.note_throttled(sent=sent, now=now, retry_after=retry_after)
            waiting, throttled = waiting + 1, throttled + 1
    return answered, throttled, now


def remembered(pace: Pace) -> Pace:
    """Return what the next pass begins with."""
    return Pace(
        window=pace.window,
        rate=pace.rate,
        is_limited=pace.is_limited,
        calm_seconds=pace.calm_seconds,
    )


@pytest.mark.parametrize("limit", [by_the_second, by_the_last_second, by_tokens])
@pytest.mark.parametrize("workers", [4, 64, 256])
@pytest.mark.parametrize("latency", [0.002, 0.1])
@pytest.mark.parametrize("retry_after", [None, 1.0, 0.0])
def test_600_jobs_are_answered_in_time_at_20_requests_a_second(
    limit, workers, latency, retry_after
):
    answered, *_ = asked(Host(limit(20), latency), 600, pace=Pace(workers), retry_after=retry_after)

    assert answered == 600


@pytest.mark.parametrize(
    ("limit", "most_at_once", "allowed"),
    [
        (lambda: by_the_second(200), math.inf, 200),
        (lambda: by_the_last_second(200), math.inf, 200),
        (lambda: by_tokens(200), math.inf, 200),
        # so many at once, each answered after a tenth of a second
        (lambda: lambda _: True, 3, 30),
        (lambda: lambda _: True, 20, 200),
        (lambda: lambda _: True, 100, 1_000),
        # both: the one that is reached first counts
        (lambda: by_the_second(200), 30, 200),
        (lambda: by_the_second(200), 15, 150),
    ],
)
@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("way", [pytest.param(0.0, marks=pytest.mark.faults), 0.005])
def test_from_the_third_pass_on_what_a_host_allows_is_used_and_hardly_ever_exceeded(
    limit, most_at_once, allowed, retry_after, way
):
    pace = Pace()
    for number in range(5):
        # What is remembered from pass to pass.
        pace = Pace(window=pace.window, rate=pace.rate, is_limited=pace.is_limited)
        host = Host(limit(), 0.1, most_at_once, way)
        answered, throttled, seconds = asked(host, 20_000, pace=pace, retry_after=retry_after)
        if number >= 2:
            assert answered >= 0.9 * allowed * seconds / (1 + 2 * way / 0.1)
            assert throttled < 0.02 * answered


def test_a_limit_that_is_raised_is_found_again():
    pace = Pace(window=20, is_limited=True)

    answered, throttled, _ = asked(Host(lambda _: True, 0.1), 20_000, pace=pace)

    assert throttled == 0
    assert pace.window > 20 + 0.8
    assert answered > 0.95 * 200 * BUDGET_SECONDS


def test_a_host_that_has_throttled_once_without_a_limit_is_soon_asked_as_before():
    pace = Pace()
    pace.note_sent(0.0)
    pace.note_end()
    pace.note_answer(sent=0.0, now=0.1)
    pace.note_throttled(sent=0.0, now=0.1, retry_after=None)
    passes = 0
    while pace.window < 167:
        asked(Host(lambda _: True, 0.1), 10_000, pace=pace)
        pace = remembered(pace)
        passes += 1

    assert passes <= 5


def test_the_window_grows_to_what_there_are_threads_for():
    pace = Pace(167)

    answered, throttled, seconds = asked(Host(lambda _: True, 0.1), 10_000, pace=pace)

    assert (answered, throttled, pace.window) == (10_000, 0, 167)
    assert seconds < 1.2 * 10_000 / 167 * 0.1


def test_the_window_shrinks_when_answers_come_later_and_grows_again():
    pace = Pace()
    for number in range(1_000):
        latency = 0.01 if number < 20 else 0.5  # the host, or this machine, is busy
        pace.note_sent(number)
        pace.note_end()
        pace.note_answer(sent=number, now=number + latency)

    assert pace.window == FIRST_WINDOW

    for number in range(1_000, 1_100):
        pace.note_sent(number)
        pace.note_end()
        pace.note_answer(sent=number, now=number + 0.01)

    assert pace.window > 60


def test_one_burst_counts_once_and_an_answer_ends_the_count():
    pace = Pace()
    for _ in range(64):
        pace.note_throttled(sent=0.0, now=1.0, retry_after=2.0)
    assert (pace.pauses_in_a_row, pace.wait_seconds(1.0)) == (1, 2.0)

    pace.note_throttled(sent=3.0, now=3.5, retry_after=1.0)
    assert pace.pauses_in_a_row == 2

    pace.note_answer(sent=4.0, now=5.0)
    assert pace.pauses_in_a_row == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00"}, 0.0),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            60.0,
        ),
    ],
)
def test_how_long_to_wait_is_given_in_seconds_or_as_a_date(headers, seconds):
    assert retry_after_seconds(headers) == seconds
