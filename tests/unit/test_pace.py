"""The pace is learned from hosts that limit requests in the ways that hosts do, simulated."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

import pytest

from helpers.irp_integration.pace import FIRST_WINDOW, Pace, Sent, retry_after_seconds

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


def asked(
    admits: Callable[[float], bool],
    jobs: int,
    *,
    workers: int,
    latency: float,
    retry_after: float | None,
    pace: Pace | None = None,
    most_at_once: float = float("inf"),
) -> tuple[int, int, float]:
    """Return how many jobs were answered, how often the host throttled, and the seconds."""
    pace, rng, number = pace or Pace(workers), random.Random(7), itertools.count()
    under_way: list[tuple[float, int, bool, Sent]] = []
    now, waiting, answered, throttled = 0.0, jobs, 0, 0
    while answered < jobs and now < BUDGET_SECONDS:
        wait = pace.wait_seconds(now)
        if waiting and wait <= 0:
            sent = pace.note_sent(now)
            waiting -= 1
            end = now + latency * rng.uniform(0.8, 1.2)
            is_let_through = sum(item[2] for item in under_way) < most_at_once and admits(now)
            heapq.heappush(under_way, (end, next(number), is_let_through, sent))
            continue
        if waiting and (not under_way or now + wait < under_way[0][0]):
            now += wait
            continue
        now, _, is_answer, sent = heapq.heappop(under_way)
        pace.note_end()
        if is_answer:
            pace.note_answer(sent=sent, now=now)
            answered += 1
        else:
            pace.note_throttled(sent=sent, now=now, retry_after=retry_after)
            waiting, throttled = waiting + 1, throttled + 1
    return answered, throttled, now


@pytest.mark.parametrize("limit", [by_the_second, by_the_last_second, by_tokens])
@pytest.mark.parametrize("workers", [4, 64, 256])
@pytest.mark.parametrize("latency", [0.002, 0.1])
@pytest.mark.parametrize("retry_after", [None, 1.0, 0.0])
def test_600_jobs_are_answered_in_time_at_20_requests_a_second(
    limit, workers, latency, retry_after
):
    answered, *_ = asked(limit(20), 600, workers=workers, latency=latency, retry_after=retry_after)

    assert answered == 600


@pytest.mark.parametrize(
    ("limit", "most_at_once", "allowed"),
    [
        (lambda: by_the_second(200), float("inf"), 200),
        (lambda: by_the_last_second(200), float("inf"), 200),
        (lambda: by_tokens(200), float("inf"), 200),
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
def test_from_the_third_pass_on_what_a_host_allows_is_used_and_hardly_ever_exceeded(
    limit, most_at_once, allowed, retry_after
):
    pace = Pace()
    for number in range(6):
        # What is remembered from pass to pass.
        pace = Pace(window=pace.window, rate=pace.rate, is_limited=pace.is_limited)
        answered, throttled, seconds = asked(
            limit(),
            20_000,
            workers=256,
            latency=0.1,
            retry_after=retry_after,
            pace=pace,
            most_at_once=most_at_once,
        )
        if number >= 2:
            assert answered >= 0.9 * allowed * seconds
            assert throttled < 0.02 * answered


def test_a_limit_that_is_raised_is_found_again():
    pace = Pace(window=20, is_limited=True)

    answered, throttled, _ = asked(
        lambda _: True, 20_000, workers=256, latency=0.1, retry_after=None, pace=pace
    )

    assert throttled == 0
    assert pace.window > 20 + 0.8
    assert answered > 0.95 * 200 * BUDGET_SECONDS


def test_the_window_grows_to_what_there_are_threads_for():
    pace = Pace(167)

    answered, throttled, seconds = asked(
        lambda _: True, 10_000, workers=167, latency=0.1, retry_after=None, pace=pace
    )

    assert (answered, throttled, pace.window) == (10_000, 0, 167)
    assert seconds < 1.2 * 10_000 / 167 * 0.1


def test_the_window_shrinks_when_answers_come_later_and_grows_again():
    pace = Pace()
    for number in range(1_000):
        latency = 0.01 if number < 20 else 0.5  # the host, or this machine, is busy
        sent = pace.note_sent(number)
        pace.note_end()
        pace.note_answer(sent=sent, now=number + latency)

    assert pace.window == FIRST_WINDOW

    for number in range(1_000, 1_100):
        sent = pace.note_sent(number)
        pace.note_end()
        pace.note_answer(sent=sent, now=number + 0.01)

    assert pace.window > 60


def test_one_burst_counts_once_and_an_answer_ends_the_count():
    pace = Pace()
    for _ in range(64):
        pace.note_throttled(sent=Sent(0.0, 1), now=1.0, retry_after=2.0)
    assert (pace.pauses_in_a_row, pace.wait_seconds(1.0)) == (1, 2.0)

    pace.note_throttled(sent=Sent(3.0, 1), now=3.5, retry_after=1.0)
    assert pace.pauses_in_a_row == 2

    pace.note_answer(sent=Sent(4.0, 1), now=5.0)
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
