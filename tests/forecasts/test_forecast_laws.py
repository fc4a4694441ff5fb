"""Laws that every forecast keeps, whatever the batch."""

import heapq
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.forecasting import BatchState, Interval, Job, Outcome, miss, quantile_points
from helpers.forecasting.batches import forecast_batches
from helpers.forecasting.jobs import forecast_jobs
from helpers.forecasting.play import Open, ends
from tests.forecasts.histories import KIND, usual_history

HISTORY = usual_history(misses=[0.1] * 30)
SECONDS = st.floats(0.0, 1e5)
JOBS = st.lists(st.builds(Job, SECONDS), max_size=12)


@st.composite
def batches(draw: st.DrawFn) -> BatchState:
    running = draw(st.lists(st.builds(Job, SECONDS), min_size=1, max_size=12))
    return BatchState(KIND, draw(JOBS), running, draw(JOBS), draw(st.integers(0, 30)))


@given(batches())
def test_low_is_at_most_the_median_and_that_at_most_high(batch: BatchState) -> None:
    [forecast] = forecast_batches(HISTORY, [batch])
    for each in (forecast.remaining, forecast.drawn):
        assert each is not None
        assert 0 <= each.low <= each.median <= each.high < float("inf")
    for job in forecast_jobs(HISTORY, batch):
        if job.remaining:
            assert 0 < job.remaining.low <= job.remaining.median <= job.remaining.high


@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_running_jobs_does_not_matter(batch: BatchState, draw: random.Random) -> None:
    shuffled = draw.sample(batch.running, len(batch.running))
    other = BatchState(batch.kind, batch.finished, shuffled, batch.queued, batch.servers)
    assert forecast_batches(HISTORY, [batch]) == forecast_batches(HISTORY, [other])
    by_age = {
        job.seconds: f for job, f in zip(shuffled, forecast_jobs(HISTORY, other), strict=False)
    }
    for job, forecast in zip(batch.running, forecast_jobs(HISTORY, batch), strict=False):
        assert by_age[job.seconds] == forecast


@given(st.lists(batches(), min_size=2, max_size=4))
def test_no_batch_depends_on_the_others_that_are_asked_about(many: list[BatchState]) -> None:
    alone = [forecast_batches(HISTORY, [batch])[0] for batch in many]
    together = forecast_batches(HISTORY, many)
    for one, other in zip(alone, together, strict=True):
        assert one.remaining == other.remaining


@given(st.lists(SECONDS, min_size=2, max_size=30))
def test_a_job_that_has_run_for_longer_is_never_expected_to_end_earlier(ages: list[float]) -> None:
    """... after its start: median and both ends only move back, until there is no number."""
    ages.sort()
    found = forecast_jobs(HISTORY, BatchState(KIND, running=[Job(age) for age in ages]))
    last = Interval(0.0, 0.0, 0.0)
    known = [f.outcome is Outcome.KNOWN for f in found]
    assert known == sorted(known, reverse=True)
    for age, forecast in zip(ages, found, strict=True):
        if (left := forecast.remaining) is not None:
            end = Interval(*(max(age, 1e-3) + s for s in (left.low, left.median, left.high)))
            assert end.low >= last.low * (1 - 1e-9)
            assert end.median >= last.median * (1 - 1e-9)
            assert end.high >= last.high * (1 - 1e-9)
            last = end


@given(batches(), st.floats(1.0, 100.0))
def test_a_world_that_is_slower_throughout_is_forecast_as_slower(
    batch: BatchState, times: float
) -> None:
    """Nothing in a forecast is a number of seconds that somebody set."""
    batch = _at_least(batch, 1.0)
    slower = BatchState(
        KIND,
        [Job(job.seconds * times) for job in batch.finished],
        [Job(job.seconds * times) for job in batch.running],
        batch.queued,
        batch.servers,
    )
    [usual] = forecast_batches(usual_history(), [batch])
    [slow] = forecast_batches(usual_history(median=600.0 * times), [slower])
    assert usual.remaining
    assert slow.remaining
    for name in ("low", "median", "high"):
        seconds = getattr(usual.remaining, name) * times
        assert getattr(slow.remaining, name) == pytest.approx(seconds, rel=1e-3, abs=1e-3)


def _at_least(batch: BatchState, seconds: float) -> BatchState:
    def longer(jobs: object) -> list[Job]:
        return [Job(max(job.seconds, seconds)) for job in jobs]  # type: ignore[attr-defined]

    return BatchState(
        KIND, longer(batch.finished), longer(batch.running), batch.queued, batch.servers
    )


@example([([0.5], [], 1), ([], [0.5, 0.25], 2), ([], [0.5], 3)])  # of one group, and short
@given(
    st.lists(
        st.tuples(
            st.lists(SECONDS, max_size=6), st.lists(SECONDS, max_size=12), st.integers(1, 40)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_waiting_jobs_go_to_the_server_that_is_free_first(
    given_batches: list[tuple[list[float], list[float], int]],
) -> None:
    opens = [
        Open(_column(running), _column(queued), max(servers, len(running)))
        for running, queued, servers in given_batches
    ]
    for end, (running, queued, servers) in zip(ends(opens), given_batches, strict=True):
        free = running + [0.0] * max(servers - len(running), 0)
        heapq.heapify(free)
        for seconds in queued:
            heapq.heapreplace(free, free[0] + seconds)
        assert end == pytest.approx([max(free, default=0.0)])


def _column(seconds: list[float]) -> np.ndarray:
    return np.array(seconds, dtype=float).reshape(-1, 1)


@given(st.floats(1e-2, 1e6), st.floats(1.0, 10.0), st.floats(1e-3, 1e7))
def test_a_miss_is_positive_exactly_outside(low: float, times: float, actual: float) -> None:
    drawn = Interval(low, low, low * times)
    assert (miss(drawn, actual) <= 0) == (drawn.low <= actual <= drawn.high)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=3_000), st.integers(2, 1_000))
def test_quantile_points_are_rising_values_of_their_own(values: list[float], most: int) -> None:
    points = quantile_points(values, most=most)
    assert list(points) == sorted(points)
    assert len(points) == min(len(values), most)
    assert set(points) <= set(values)
    assert (points[0], points[-1]) == (min(values), max(values))
