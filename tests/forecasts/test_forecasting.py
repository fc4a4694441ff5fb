"""Forecasts name a number only if they have one, and say what it stands on."""

import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from helpers.forecasting import (
    BatchForecast,
    BatchState,
    History,
    Interval,
    Job,
    JobForecast,
    KindHistory,
    Outcome,
    PastJob,
    Record,
    job_size,
    miss,
    quantile_points,
    size_class,
    stage,
)
from helpers.forecasting.batches import find_overruns, forecast_batches, forecast_chain
from helpers.forecasting.jobs import Spread, corrected_level, forecast_jobs, shift
from helpers.forecasting.learning import Learner, Margin, learn
from tests.forecasts.histories import KIND, kind_history, usual_history

RUNNING = BatchState(KIND, running=[Job(60.0)] * 4, queued=[Job(0.0)] * 8)


def test_numpy_is_loaded_only_when_a_forecast_is_made() -> None:
    code = "import sys, helpers.forecasting; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("samples", [0, 1, 19])
def test_under_20_samples_there_is_no_number_and_how_many_there_are(samples: int) -> None:
    history = History({KIND: kind_history([600.0] * samples)})
    [batch] = forecast_batches(history, [RUNNING])
    assert (batch.outcome, batch.samples, batch.remaining) == (Outcome.FEW_SAMPLES, samples, None)
    for job in forecast_jobs(history, RUNNING):
        assert (job.outcome, job.samples, job.remaining) == (Outcome.FEW_SAMPLES, samples, None)
    assert forecast_chain(history, [RUNNING, RUNNING]).outcome is Outcome.FEW_SAMPLES
    assert find_overruns(history, RUNNING, pass_seconds=1.0) == []


def test_with_20_samples_there_is_a_number() -> None:
    history = History({KIND: kind_history([600.0 + n for n in range(20)])})
    [batch] = forecast_batches(history, [RUNNING])
    assert batch.outcome is Outcome.KNOWN
    assert batch.remaining is not None
    # Four run for about 9 minutes more, and eight wait: two more rounds of about ten.
    assert batch.remaining.median == pytest.approx(540 + 2 * 610, rel=0.1)


def test_a_kind_that_nobody_knows_gets_no_number() -> None:
    [batch] = forecast_batches(usual_history(), [BatchState("GeoHaz", running=[Job(1.0)])])
    assert (batch.outcome, batch.samples) == (Outcome.FEW_SAMPLES, 0)


def test_a_batch_whose_jobs_have_all_finished_ends_now() -> None:
    [batch] = forecast_batches(usual_history(), [BatchState(KIND, finished=[Job(500.0)] * 3)])
    assert batch.remaining == Interval(0.0, 0.0, 0.0)
    assert batch.stage == stage(3, 3)


def test_a_size_class_with_few_jobs_counts_as_its_kind() -> None:
    sizes = [2.0**10] * 30 + [2.0**20] * 30 + [2.0**30] * 19
    seconds = [100.0] * 30 + [1_000.0] * 30 + [50_000.0] * 19
    kind = kind_history(seconds, sizes=sizes)
    assert kind.base(2.0**10) == pytest.approx(math.log(100))
    assert kind.base(1.5 * 2.0**20) == pytest.approx(math.log(1_000))
    assert kind.base(2.0**30) == kind.base(None) == pytest.approx(math.log(1_000))
    assert kind.base(2.0**40) == kind.base(None)
    enough = kind_history([100.0] * 20 + [1_000.0] * 30, sizes=[2.0**10] * 20 + [2.0**20] * 30)
    assert enough.base(2.0**10) == pytest.approx(math.log(100))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (1.0, 1),
        (1_024.0, 11),
        (2_047.9, 11),
        (2_048.0, 12),
    ],
)
def test_a_size_class_is_a_power_of_two(size: float | None, expected: int | None) -> None:
    assert size_class(size) == expected


def test_a_size_of_zero_is_a_class_of_its_own() -> None:
    assert size_class(0) == size_class(-1)
    assert size_class(0) not in {None, *(size_class(2.0**n) for n in range(-1_074, 1_024))}


def test_durations_of_zero_count_as_the_finest_that_the_data_can_show() -> None:
    history = History(resolution_seconds=0.01)
    assert history.log(0.0) == history.log(-5.0) == history.log(math.nan) == math.log(0.01)
    assert history.log(0.02) == math.log(0.02)


def test_the_record_widens_both_sides_by_the_80_percent_quantile_of_its_misses() -> None:
    misses = [n / 100 for n in range(1, 51)]
    plain = forecast_batches(usual_history(), [RUNNING])[0]
    widened = forecast_batches(usual_history(misses=misses), [RUNNING])[0]
    assert plain.remaining == plain.drawn == widened.drawn
    assert plain.drawn is not None
    assert widened.remaining is not None
    assert widened.remaining.low == pytest.approx(plain.drawn.low * math.exp(-0.41))
    assert widened.remaining.high == pytest.approx(plain.drawn.high * math.exp(0.41))
    assert widened.remaining.median == plain.drawn.median


def test_a_stage_with_few_outcomes_is_widened_by_those_of_all_stages() -> None:
    history = History(misses={0: [0.1] * 15, 1: [0.2] * 15})
    assert history.widening(0) == history.widening(5) == 0.2
    assert History(misses={0: [0.1] * 19}).widening(0) == 0.0
    assert History(misses={0: [0.1] * 20, 1: [0.2] * 90}).widening(0) == 0.1


def test_an_interval_narrowed_by_its_record_still_holds_its_median() -> None:
    assert Interval(90.0, 100.0, 110.0).widened(-1.0) == Interval(100.0, 100.0, 100.0)


def test_an_interval_says_when_by_the_clock() -> None:
    now = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)
    low, median, high = Interval(60.0, 120.0, 3_600.0).at(now)
    assert [each - now for each in (low, median, high)] == [
        timedelta(minutes=1),
        timedelta(minutes=2),
        timedelta(hours=1),
    ]


def test_a_miss_is_negative_inside_and_grows_with_the_distance() -> None:
    drawn = Interval(100.0, 150.0, 200.0)
    assert miss(drawn, 400.0) == pytest.approx(math.log(2))
    assert miss(drawn, 50.0) == pytest.approx(math.log(2))
    assert miss(drawn, 150.0) < 0
    assert miss(drawn, 200.0) == 0
    assert miss(Interval(0.0, 0.0, 0.0), 0.0) == 0
    assert miss(Interval(0.0, 0.0, 0.0), 1.0) == pytest.approx(math.log(1_000))


def test_no_interval_ends_later_than_in_three_centuries() -> None:
    assert Interval(1.0, 2.0, 3.0).widened(50.0).high == 1e10


def test_a_forecast_without_a_number_has_none() -> None:
    job = JobForecast(Outcome.FEW_SAMPLES, 3)
    assert (job.remaining, job.usual_seconds) == (None, None)
    batch = BatchForecast(Outcome.FEW_SAMPLES, 3, 0)
    assert (batch.remaining, batch.drawn) == (None, None)


def test_all_jobs_of_a_batch_count() -> None:
    assert BatchState(KIND, [Job(1.0)], [Job(1.0)] * 2, [Job(1.0)] * 4).jobs == 7


def test_an_outcome_says_why_there_is_no_number() -> None:
    labels = ["known", "few samples", "longer than all like it", "not started"]
    assert [outcome.value for outcome in Outcome] == labels


def test_a_job_that_has_run_longer_than_all_like_it_gets_no_number() -> None:
    batch = BatchState(KIND, running=[Job(60.0), Job(1e6)])
    usual, long = forecast_jobs(usual_history(), batch)
    assert usual.outcome is Outcome.KNOWN
    assert (long.outcome, long.remaining) == (Outcome.LONGER_THAN_ALL, None)
    assert long.usual_seconds == usual.usual_seconds == pytest.approx(600, rel=0.2)


def test_only_errors_beyond_a_jobs_age_count_and_at_least_five_of_them() -> None:
    spread = Spread(np.arange(11.0), level=0.8)
    assert spread.quantiles(np.array([5.0]))[:, 0] == pytest.approx([6.0, 8.0, 10.0])
    assert np.isnan(spread.quantiles(np.array([6.0]))).all()


def test_the_ranks_are_those_of_a_sample() -> None:
    spread = Spread(np.arange(19.0), level=0.8)
    assert spread.quantiles(np.array([-np.inf]))[:, 0] == pytest.approx([1.0, 9.0, 17.0])


def test_the_own_run_moves_a_job_by_the_last_ten_residuals() -> None:
    assert shift([]) == 0
    assert shift([1.0]) == 0.5
    assert shift([0.0, 1.0, 5.0]) == 0.75
    assert shift([9.0] * 50 + [1.0] * 10) == pytest.approx(10 / 11)


def test_the_level_rises_after_a_miss_and_falls_after_a_hit() -> None:
    assert corrected_level(0.8, held=False) == pytest.approx(0.816)
    assert corrected_level(0.8, held=True) == pytest.approx(0.796)
    assert corrected_level(0.99, held=False) == 0.995
    assert corrected_level(0.3, held=True) == 0.3


def test_a_queued_job_is_forecast_by_what_is_usual_only() -> None:
    job = forecast_jobs(usual_history(), BatchState(KIND, queued=[Job(10.0)]))[0]
    assert (job.outcome, job.remaining) == (Outcome.NOT_STARTED, None)
    assert job.usual_seconds == pytest.approx(600, rel=0.2)


class TestNothingRuns:
    """All jobs of a batch wait."""

    WAITING = BatchState(KIND, queued=[Job(30.0)] * 5)

    def test_without_a_history_of_waiting_there_is_no_number(self) -> None:
        [batch] = forecast_batches(usual_history(), [self.WAITING])
        assert (batch.outcome, batch.remaining) == (Outcome.NOT_STARTED, None)

    def test_usual_waits_come_before_usual_durations(self) -> None:
        waits = kind_history([7_200.0] * 40)
        [batch] = forecast_batches(usual_history(waits=waits), [self.WAITING])
        assert batch.outcome is Outcome.KNOWN
        assert batch.remaining is not None
        assert batch.remaining.low > 7_100

    def test_known_servers_are_played_on(self) -> None:
        state = BatchState(KIND, queued=[Job(30.0)] * 5, servers=5)
        [batch] = forecast_batches(usual_history(), [state])
        assert batch.remaining is not None
        assert batch.remaining.median < 3_000


class TestOverruns:
    """A job far beyond all of its batch, named without a threshold set by hand."""

    @staticmethod
    def _batch(*ages: float) -> BatchState:
        return BatchState(KIND, [Job(600.0)] * 30, [Job(age) for age in ages])

    def test_names_the_hanging_job_by_its_position(self) -> None:
        batch = self._batch(300.0, 60_000.0, 500.0)
        assert find_overruns(usual_history(), batch, pass_seconds=60.0) == [1]

    def test_says_nothing_of_usual_jobs(self) -> None:
        batch = self._batch(300.0, 600.0, 1_500.0)
        assert find_overruns(usual_history(), batch, pass_seconds=60.0) == []

    def test_a_job_is_two_passes_old_before_it_is_named(self) -> None:
        history = usual_history(median=1.0)
        batch = BatchState(KIND, [Job(1.0)] * 30, [Job(119.0), Job(120.0)])
        assert find_overruns(history, batch, pass_seconds=60.0) == [1]

    def test_jobs_that_all_hang_do_not_excuse_each_other(self) -> None:
        batch = BatchState(KIND, running=[Job(60_000.0)] * 30)
        assert len(find_overruns(usual_history(), batch, pass_seconds=60.0)) == 30

    def test_a_record_of_false_warnings_names_them_later(self) -> None:
        history = usual_history()
        kind = history.kind(KIND)
        record = replace(kind.record, margin=math.log(100))
        patient = replace(history, kinds={KIND: replace(kind, record=record)})
        batch = self._batch(60_000.0)
        assert find_overruns(history, batch, pass_seconds=60.0) == [0]
        assert find_overruns(patient, batch, pass_seconds=60.0) == []

    def test_a_slow_batch_is_given_longer(self) -> None:
        slow = BatchState(KIND, [Job(1_800.0)] * 30, [Job(4_000.0)])
        fast = BatchState(KIND, [Job(300.0)] * 30, [Job(4_000.0)])
        assert find_overruns(usual_history(), slow, pass_seconds=60.0) == []
        assert find_overruns(usual_history(), fast, pass_seconds=60.0) == [0]


def test_a_slow_batch_is_expected_to_stay_slow() -> None:
    def median(seconds: float) -> float:
        state = BatchState(KIND, [Job(seconds)] * 20, [Job(10.0)] * 8, [Job(0.0)] * 30)
        remaining = forecast_batches(usual_history(), [state])[0].remaining
        assert remaining is not None
        return remaining.median

    assert median(300.0) < 0.8 * median(600.0) < 0.8 * 0.8 * median(1_200.0)


def test_survivors_count() -> None:
    """Jobs that run for long say that the batch is slow, before any has finished."""

    def ends(age: float) -> float:
        state = BatchState(KIND, running=[Job(age)] * 10, queued=[Job(0.0)] * 40)
        remaining = forecast_batches(usual_history(), [state])[0].remaining
        assert remaining is not None
        return remaining.median

    assert ends(1_000.0) > 1.2 * ends(10.0)


def test_a_chain_ends_after_each_of_its_batches_alone() -> None:
    following = BatchState(KIND, queued=[Job(0.0)] * 30, servers=8)
    history = usual_history()
    first, second = forecast_batches(history, [RUNNING, following])
    chain = forecast_chain(history, [RUNNING, following])
    assert first.remaining
    assert second.remaining
    assert chain.remaining
    together = first.remaining.median + second.remaining.median
    assert chain.remaining.median == pytest.approx(together, rel=0.15)
    assert chain.remaining.low > first.remaining.low + second.remaining.low
    assert chain.remaining.high < first.remaining.high + second.remaining.high


@pytest.mark.parametrize(
    ("finished", "jobs", "expected"),
    [(0, 40, 0), (1, 40, 0), (3, 40, 1), (10, 40, 2), (20, 40, 3), (30, 40, 4), (40, 40, 5)],
)
def test_a_batch_belongs_to_the_nearest_stage(finished: int, jobs: int, expected: int) -> None:
    assert stage(finished, jobs) == expected


def test_a_batch_without_jobs_is_at_the_last_stage() -> None:
    assert stage(0, 0) == 5


def test_quantile_points_are_thinned_evenly_and_keep_the_ends() -> None:
    assert quantile_points([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    assert quantile_points([3.0], most=1) == (3.0,)
    points = quantile_points([float(n) for n in range(10_000)])
    assert len(points) == 1_000
    assert (points[0], points[-1]) == (0.0, 9_999.0)
    assert points[500] == pytest.approx(5_000, rel=0.01)


class TestLearner:
    """What the history of a kind becomes while its jobs finish."""

    def test_keeps_the_last_1000_jobs(self) -> None:
        learner = Learner()
        for n in range(1_500):
            learner.finish(float(n), 2.0 ** (n % 2), None)
        history = learner.history()
        assert history.samples == 1_000
        assert list(history.classes[None]) == [float(n) for n in range(500, 1_500)]
        assert list(history.classes[1]) == [float(n) for n in range(500, 1_500, 2)]

    def test_promises_nothing_before_20_jobs(self) -> None:
        learner = Learner()
        for _ in range(19):
            assert learner.promise(None, []) is None
            learner.finish(1.0, None, None)
        learner.finish(1.0, None, None)
        assert learner.promise(None, []) is not None

    def test_learns_from_the_outcome_of_a_promise(self) -> None:
        learner = Learner()
        for n in range(30):
            learner.finish(1.0 + n / 100, None, None)
        promise = learner.promise(None, [0.2])
        assert promise is not None
        learner.finish(9.0, None, promise)
        record = learner.history().record
        assert record.errors[1] == (9.0 - promise.centre,)
        assert record.level == corrected_level(0.8, held=False)

    def test_a_promise_for_a_job_that_has_run_longer_than_all_is_none(self) -> None:
        learner = Learner()
        for n in range(30):
            learner.finish(n / 100, None, None)
        assert learner.promise(None, [], log_age=0.2) is not None
        assert learner.promise(None, [], log_age=5.0) is None

    def test_tells_a_batchs_effect_from_its_jobs(self) -> None:
        learner = Learner()
        learner.finish_batch([1.0, 1.1, 0.9, 1.2, 0.8])
        learner.finish_batch([5.0, 5.0])  # too few to know
        record = learner.history().record
        assert record.effects == (1.0,)
        assert record.within == pytest.approx([-0.2, -0.1, 0.0, 0.1, 0.2, 5.0, 5.0])

    def test_a_copy_grows_on_its_own(self) -> None:
        learner = Learner()
        other = learner.copy()
        other.finish(1.0, None, None)
        assert (learner.history().samples, other.history().samples) == (0, 1)


def test_an_empty_history_suffices_for_nothing() -> None:
    assert not KindHistory().suffices
    assert KindHistory() == KindHistory(0, {}, Record())
    assert History() == History({}, {}, {}, {}, resolution_seconds=0.001)
    assert not KindHistory(500, {}, Record()).suffices
    assert forecast_batches(History(), []) == []


def test_the_margin_grows_with_each_job_that_would_have_been_named_and_shrinks_with_others() -> (
    None
):
    margin = Margin()
    margin.note(was_named=False)
    assert margin.value == 0
    margin.note(was_named=True)
    assert margin.value == pytest.approx(0.249)
    for _ in range(249):
        margin.note(was_named=False)
    assert margin.value == pytest.approx(0)


def test_only_a_finished_job_of_two_passes_that_took_far_too_long_counts_for_the_margin() -> None:
    for usual, taken, grows in (
        (1.0, 119.5, False),
        (1.0, 120.5, True),
        (2.0, 130.0, True),
        (100.0, 130.0, False),
    ):
        learner = Learner()
        for n in range(40):
            learner.finish(math.log(usual) + n % 5 / 100, None, None)
        learner.finish(math.log(taken), None, learner.promise(None, []))
        assert (learner.margin.value > 0) is grows


class TestLearn:
    """Histories from finished jobs, in whatever order they are given."""

    JOBS = tuple(PastJob(n // 10, 100.0 * n, 100.0 * n + 50 + n % 7) for n in range(60))

    def test_each_job_is_forecast_from_what_had_ended_before_it(self) -> None:
        history = learn({KIND: self.JOBS}, log=math.log)[KIND]
        assert history.samples == 60
        assert sum(len(errors) for errors in history.record.errors) == 40
        # Four runs of ten: of each one job that saw none of its own, two that saw one or two, …
        assert [len(errors) for errors in history.record.errors] == [4, 8, 28, 0]
        assert len(history.record.effects) == 4
        assert len(history.record.within) == 40

    def test_jobs_that_run_side_by_side_know_nothing_of_each_other(self) -> None:
        jobs = [PastJob(1, 0.0, 50.0 + n) for n in range(60)]
        history = learn({KIND: jobs}, log=math.log)[KIND]
        assert history.samples == 60
        assert history.record == Record()

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        assert learn({KIND: self.JOBS[::-1]}, log=math.log) == learn(
            {KIND: self.JOBS}, log=math.log
        )

    def test_a_job_without_a_duration_is_learned_and_not_forecast(self) -> None:
        jobs = [PastJob(1, float(n), float(n)) for n in range(30)]
        history = learn({KIND: jobs}, log=History().log)[KIND]
        assert (history.samples, history.record) == (30, Record())

    def test_kinds_are_apart(self) -> None:
        both = learn({"a": self.JOBS, "b": []}, log=math.log)
        assert both["a"].record.errors == learn({"a": self.JOBS}, log=math.log)["a"].record.errors
        assert both["b"].samples == 0


@pytest.mark.parametrize(
    ("configuration", "members", "expected"),
    [
        ({}, None, None),
        (None, None, None),
        ("text", 3, 3.0),
        ({"Location Count": 1_200}, None, 1_200.0),
        ({"locationCount": "1200"}, 3, 1_200.0),
        ({"Number of Locations": 7}, None, 7.0),
        ({"location_count": None, "rows": 5}, None, 5.0),
        ({"risk_count": 6}, None, 6.0),
        ({"No of Risks": 8}, None, 8.0),
        ({"rowCount": 9}, None, 9.0),
        ({"num_rows": 10}, None, 10.0),
        ({"File Size": 11}, None, 11.0),
        ({"locations": ["a", "b"]}, None, None),  # names, perhaps of something else
        ({"location_count": 0}, 3, 0.0),
        ({"location_count": True}, None, None),
        ({"location_count": -1}, None, None),
        ({"location_count": float("nan")}, None, None),
        ({"location_count": 10**40}, None, None),
        ({"location_count": 10**15}, None, None),
        ({"location_count": 10**15 - 1}, None, 10.0**15 - 1),
        ({"location_count": "12 or so"}, None, None),
        ({"portfolio": "rows"}, 12, 12.0),
    ],
)
def test_a_size_is_what_a_configuration_names_or_how_many_members_a_request_has(
    configuration: object, members: object, expected: float | None
) -> None:
    assert job_size(configuration, members) == expected


def _jobs(*seconds: float) -> list[Job]:
    return [Job(each) for each in seconds]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        # nothing has finished
        (BatchState(KIND, [], _jobs(30, 60, 300), _jobs(*[0] * 9)), (1208.492, 3439.942, 8756.913)),
        # a slow one, with a straggler and a server that is free
        (
            BatchState(
                KIND,
                _jobs(900, 1000, 1100, 950, 1200, 5000, 800, 1050),
                _jobs(100, 400, 2500),
                _jobs(*[0] * 6),
                servers=4,
            ),
            (1763.213, 4142.900, 9883.650),
        ),
        # a fast one, of which the last two still run
        (
            BatchState(KIND, _jobs(*range(300, 500, 10)), _jobs(350, 900)),
            (60.650, 275.123, 1158.240),
        ),
        # nothing runs
        (BatchState(KIND, queued=_jobs(10, 20)), (315.161, 888.573, 3343.003)),
    ],
)
def test_the_same_state_gives_the_same_forecast(
    batch: BatchState, expected: tuple[float, float, float]
) -> None:
    """What these numbers are is recorded, not derived: a change of them has to be meant."""
    waits = kind_history([60.0 + n for n in range(40)])
    history = usual_history(misses=[n / 100 for n in range(1, 51)], waits=waits)
    [forecast] = forecast_batches(history, [batch])
    assert forecast.remaining is not None
    assert (
        forecast.remaining.low,
        forecast.remaining.median,
        forecast.remaining.high,
    ) == pytest.approx(expected, rel=1e-5)
