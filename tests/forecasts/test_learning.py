"""What is learned from finished jobs: exact numbers of small histories."""

from __future__ import annotations

import math

import pytest

from helpers.forecasting import PastJob
from helpers.forecasting.learning import Learner, Margin, Promise, learn
from tests.forecasts.histories import KIND

SMALL, LARGE = 2.0**10, 2.0**20


def learner_of(*log_seconds: float, size: float | None = None) -> Learner:
    """Return a learner that has seen these jobs."""
    learner = Learner()
    for each in log_seconds:
        learner.finish(each, size, None)
    return learner


@pytest.mark.parametrize(
    ("log_seconds", "held"),
    [
        (0.5, False),
        (1 - 1e-6, False),
        # its ends are inside, however they were rounded
        (1 - 1e-12, True),
        (1.0, True),
        (1.5, True),
        (2.0, True),
        (2 + 1e-12, True),
        (2 + 1e-6, False),
        (9.0, False),
    ],
)
def test_a_promise_is_held_between_its_ends(log_seconds: float, held: bool) -> None:
    promise = Promise(1.0, 1.0, 1.0, 1.5, 2.0, (), 0)
    assert promise.held(log_seconds) is held


def test_a_promise_is_that_of_its_size_moved_by_its_run_and_by_past_errors() -> None:
    learner = learner_of(*[3.0] * 30, size=SMALL)
    for _ in range(31):
        learner.finish(5.0, LARGE, None)
    for _ in range(20):
        promise = learner.promise(SMALL, [])
        assert promise is not None
        learner.finish(promise.centre + 1.0, None, promise)  # always so much slower
    promise = learner.promise(SMALL, [0.5, 0.5, 0.5])
    assert promise is not None
    assert (promise.base, promise.centre) == (3.0, pytest.approx(3.375))
    assert (promise.low, promise.median, promise.high) == (pytest.approx(4.375),) * 3
    assert (promise.residuals, promise.shown) == ((0.5, 0.5, 0.5), 3)


def test_a_promise_keeps_the_last_100_residuals_of_its_run() -> None:
    promise = learner_of(*[1.0] * 30).promise(None, [0.0] * 50 + [1.0] * 100)
    assert promise is not None
    assert (promise.residuals, promise.shown) == ((1.0,) * 100, 150)


def test_the_last_100_errors_and_effects_and_1000_jobs_beside_them_are_kept() -> None:
    learner = learner_of(*[1.0] * 30)
    for n in range(120):
        learner.finish(float(n), None, Promise(0.0, 0.0, 0.0, 0.0, 0.0, (), 0))
    for n in range(220):
        learner.finish_batch([float(n)] * 5)
    record = learner.history().record
    assert record.errors == (tuple(float(n) for n in range(20, 120)), (), (), ())
    assert record.effects == tuple(float(n) for n in range(120, 220))
    assert record.within == (0.0,) * 1_000


def test_five_jobs_tell_the_effect_of_their_batch() -> None:
    learner = Learner()
    learner.finish_batch([1.0, 1.0, 1.0, 1.0])
    assert learner.history().record.effects == ()
    learner.finish_batch([1.0, 1.0, 1.0, 1.0, 1.0])
    assert learner.history().record.effects == (1.0,)


def test_the_margin_is_on_record_and_shared_by_kinds() -> None:
    margin = Margin()
    assert margin.value == 0.0
    learner, other = Learner(margin), Learner(margin)
    for _ in range(40):
        learner.finish(math.log(60), None, None)
    learner.finish(math.log(6_000), None, learner.promise(None, []))
    assert margin.value == pytest.approx(0.249)
    assert learner.history().record.margin == other.history().record.margin == margin.value


def sized_jobs() -> list[PastJob]:
    """Return six runs of ten jobs, one after another; every other job is large and takes longer.

    Each job starts when the one before it ends.
    """
    jobs: list[PastJob] = []
    now = 0.0
    for n in range(120):
        size, seconds = (LARGE, 1_000.0) if n % 2 else (SMALL, 100.0)
        jobs.append(PastJob(n // 20, now, now := now + seconds, size))
    return jobs


def test_jobs_are_learned_with_their_size_and_run() -> None:
    kind = learn({KIND: sized_jobs()}, log=math.log)[KIND]
    assert list(kind.classes[11]) == pytest.approx([math.log(100)] * 60)
    assert list(kind.classes[21]) == pytest.approx([math.log(1_000)] * 60)
    # The last four runs were forecast by size: nothing was unexpected.
    assert kind.record.effects[-4:] == pytest.approx([0.0] * 4, abs=1e-9)
    last_errors = [error for errors in kind.record.errors for error in errors[-3:]]
    assert last_errors == pytest.approx([0.0] * len(last_errors), abs=1e-9)


def test_a_job_that_starts_when_another_ends_knows_of_it_in_any_order_of_rows() -> None:
    jobs = sized_jobs()
    kind = learn({KIND: jobs}, log=math.log)[KIND]
    assert learn({KIND: jobs[::-1]}, log=math.log)[KIND] == kind
    # Twenty had ended before the first job that is forecast.
    assert sum(len(errors) for errors in kind.record.errors) == 100
