"""What is forecast of single jobs and of sized ones: exact numbers of small histories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.forecasting import (
    BatchState,
    History,
    Interval,
    Job,
    JobForecast,
    KindHistory,
    Outcome,
    Record,
)
from helpers.forecasting.batches import forecast_batches, forecast_chain
from helpers.forecasting.history import shown_group
from helpers.forecasting.jobs import forecast_jobs, spread
from tests.forecasts.histories import KIND, kind_history, usual_history

SMALL, LARGE = 2.0**10, 2.0**20
# Jobs like them have always taken a tenth longer (on the log) than forecast.
TENTH = Record(errors=((0.1,) * 30,) * 4, within=(0.0,) * 30)


def sized_history(record: Record = TENTH) -> History:
    """Return a history in which small jobs take 100 seconds and large ones 1,000."""
    sizes = [SMALL] * 30 + [LARGE] * 31
    kind = kind_history([100.0] * 30 + [1_000.0] * 31, sizes=sizes, record=record)
    return History({KIND: kind})


def test_a_job_takes_as_long_as_its_size_its_run_and_past_errors_say() -> None:
    twice_as_slow = [Job(200.0, SMALL)] * 10
    running = [Job(50.0, SMALL), Job(500.0, LARGE)]
    batch = BatchState(KIND, twice_as_slow, running, [Job(0.0, LARGE)])
    slower = 2 ** (10 / 11) * math.exp(0.1)
    small, large, queued = forecast_jobs(sized_history(), batch)
    for job, usual, age in ((small, 100 * slower, 50), (large, 1_000 * slower, 500)):
        left = pytest.approx(usual - age)
        assert (job.outcome, job.samples) == (Outcome.KNOWN, 61)
        assert job.usual_seconds == pytest.approx(usual)
        assert job.remaining is not None
        assert [job.remaining.low, job.remaining.median, job.remaining.high] == [left] * 3
    usual = pytest.approx(1_000 * slower)
    assert queued == JobForecast(Outcome.NOT_STARTED, 61, usual_seconds=usual)


def test_the_interval_of_a_job_is_that_of_past_errors() -> None:
    errors = (*tuple((n - 9) / 10 for n in range(19)), 0.9)
    history = sized_history(Record(errors=(errors,) * 4))
    [job] = forecast_jobs(history, BatchState(KIND, running=[Job(1.0, SMALL)]))
    assert job.remaining is not None
    low, median, high = (100 * math.exp(e) - 1 for e in (-0.79, 0.05, 0.89))
    assert job.remaining == Interval(pytest.approx(low), pytest.approx(median), pytest.approx(high))


def test_a_job_that_has_run_longer_than_all_says_what_that_stands_on() -> None:
    [job] = forecast_jobs(sized_history(), BatchState(KIND, running=[Job(9_999.0, SMALL)]))
    usual = pytest.approx(100 * math.exp(0.1))
    assert job == JobForecast(Outcome.LONGER_THAN_ALL, 61, usual_seconds=usual)


@pytest.mark.parametrize(
    ("of_this_group", "of_another", "expected"),
    [
        # enough of its own
        (20, 20, [1.0] * 20),
        # others fill in
        (19, 20, [1.0] * 19 + [2.0] * 20),
        (19, 1, [1.0] * 19 + [2.0]),
        # the kind's jobs fill in as well
        (10, 9, [-0.5, 0.0, 0.5] + [1.0] * 10 + [2.0] * 9),
        (0, 0, [-0.5, 0.0, 0.5]),
    ],
)
def test_errors_are_those_made_after_as_much_was_shown_and_others_while_they_are_few(
    of_this_group: int, of_another: int, expected: list[float]
) -> None:
    record = Record(errors=((), (1.0,) * of_this_group, (2.0,) * of_another, ()))
    kind = KindHistory(3, {None: (6.5, 7.0, 7.5)}, record)
    assert spread(kind, finished=2).errors == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("size", "seconds"), [(SMALL, 100.0), (LARGE, 1_000.0)])
def test_a_batch_of_large_jobs_takes_as_long_as_large_jobs_do(size: float, seconds: float) -> None:
    usual = [Job(seconds, size)] * 40
    [queued] = forecast_batches(
        sized_history(), [BatchState(KIND, usual, queued=[Job(0.0, size)] * 4, servers=4)]
    )
    [running] = forecast_batches(
        sized_history(), [BatchState(KIND, usual, [Job(seconds / 2, size)] * 4)]
    )
    assert queued.remaining is not None
    assert queued.remaining.median == pytest.approx(seconds, rel=0.1)
    assert running.remaining is not None
    assert running.remaining.median == pytest.approx(seconds / 2, rel=0.2)


def test_jobs_of_the_same_age_may_stand_in_any_order() -> None:
    jobs = [Job(60.0, size) for size in (SMALL, LARGE, None, 0.0, SMALL, LARGE)]
    forward, backward = (
        forecast_batches(sized_history(), [BatchState(KIND, [], order)])
        for order in (jobs, jobs[::-1])
    )
    assert forward == backward


@pytest.mark.parametrize(
    ("finished", "group"), [(0, 0), (1, 1), (2, 1), (3, 2), (9, 2), (10, 3), (500, 3)]
)
def test_the_more_of_a_run_has_finished_the_better_errors_apply(finished: int, group: int) -> None:
    assert shown_group(finished) == group


def test_no_job_is_drawn_longer_than_fifteen_years() -> None:
    queued = BatchState(KIND, queued=[Job(0.0)], servers=1)
    [batch] = forecast_batches(usual_history(median=1e15), [queued])
    assert batch.remaining is not None
    assert batch.remaining.median == pytest.approx(math.exp(20))


def test_what_is_left_of_short_jobs_is_short() -> None:
    [batch] = forecast_batches(usual_history(median=0.01), [BatchState(KIND, [], [Job(0.02)])])
    assert batch.remaining is not None
    assert batch.remaining.high < 0.1


@pytest.mark.parametrize(
    ("batch", "stage"),
    [
        (BatchState("nobody knows it", [Job(1.0)], [Job(1.0)] * 3), 2),
        (BatchState(KIND, [Job(600.0)], [Job(1.0)] * 3), 2),
        (BatchState(KIND, [], [Job(1.0)] * 3), 0),
    ],
)
def test_a_forecast_says_at_which_stage_it_was_made_and_on_how_many_samples(
    batch: BatchState, stage: int
) -> None:
    history = usual_history()
    [forecast] = forecast_batches(history, [batch])
    assert (forecast.stage, forecast.samples) == (stage, history.kind(batch.kind).samples)


def test_the_record_of_its_own_stage_widens_a_batch() -> None:
    history = usual_history()
    batch = BatchState(KIND, [Job(600.0)], [Job(1.0)] * 3)
    misses = {0: [0.0] * 200, 2: [0.5] * 30, 5: [0.0] * 200}
    [forecast] = forecast_batches(History(history.kinds, misses=misses), [batch])
    assert forecast.drawn is not None
    assert forecast.remaining == forecast.drawn.widened(0.5)


def test_a_chain_stands_at_the_stage_of_its_first_batch_and_is_drawn_the_same_each_time() -> None:
    first = BatchState(KIND, [Job(600.0)], [Job(1.0)] * 3)
    second = BatchState(KIND, queued=[Job(0.0)] * 30, servers=8)
    chain = forecast_chain(usual_history(), [first, second])
    assert (chain.outcome, chain.stage, chain.samples) == (Outcome.KNOWN, 2, 200)
    assert chain == forecast_chain(usual_history(), [first, second])
    assert chain.remaining is not None
    assert chain.remaining.median > 0
