"""How jobs lie around their base: what a law says of shares, tails and effects."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.forecasting import BatchState, Job, KindHistory, Record
from helpers.forecasting.batches import find_overruns
from helpers.forecasting.law import Belief, Law, believe, law
from tests.forecasts.histories import KIND, kind_history, usual_history

ERRORS = st.lists(st.floats(-5, 5), min_size=20, max_size=60)


def law_of(errors: list[float], *, effects: tuple[float, ...] = ()) -> Law:
    """Return the law of a kind whose record has these errors of jobs."""
    record = Record(within=tuple(sorted(errors)), effects=effects)
    return law(KindHistory(len(errors), {None: (0.0,)}, record))


@given(ERRORS)
def test_quantiles_rise_strictly_and_shares_are_found_again(errors: list[float]) -> None:
    found = law_of(errors)
    assert (np.diff(found.quantiles) > 0).all()
    shares = np.array([0.0, 0.1, 0.5, 0.9, 0.99, 0.999])
    assert found.share_below(found.at(shares)) == pytest.approx(shares)


@given(ERRORS, st.floats(-10, 10), st.floats(0, 0.999))
def test_what_lies_beyond_an_error_is_never_below_it(
    errors: list[float], error: float, share: float
) -> None:
    [beyond] = law_of(errors).beyond(np.array([error]), share)
    assert beyond >= error


def test_half_of_the_jobs_that_lie_beyond_the_median_lie_beyond_the_third_quarter() -> None:
    found = law_of([float(n) for n in range(101)])
    assert found.beyond(np.array([50.0]), 0.5) == pytest.approx([75.0], abs=0.01)


def test_jobs_that_all_took_the_same_are_expected_to_take_the_same() -> None:
    found = law(kind_history([600.0] * 30))
    assert found.at(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert (np.diff(found.quantiles) > 0).all()
    assert found.sd == 0.02  # still no two jobs take the same to the second


def test_beyond_the_last_job_the_tail_goes_on_like_the_one_that_is_seen() -> None:
    """That of durations which fall like a power: of logs which fall exponentially."""
    shares = (np.arange(4_000) + 0.5) / 4_000
    found = law_of((-np.log(1 - shares)).tolist())
    for share in (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999):
        assert found.at(np.array(share)) == pytest.approx(-math.log(1 - share), abs=0.1)


def test_the_tail_is_as_steep_as_the_mean_of_the_jobs_above_nine_tenths() -> None:
    found = law_of([float(n) for n in range(21)])  # the 90 percent quantile is 18
    share = 1 - 0.01 * 0.5**5
    assert found.at(np.array(share)) == pytest.approx(18 + 1.5 * math.log(0.1 / (1 - share)))
    longest = 18 + 1.5 * math.log(0.1 * 204_800)  # than one in so many, no job is drawn longer
    assert found.at(np.array(1.0)) == pytest.approx(longest)


def test_with_20_jobs_the_record_is_the_law_and_with_fewer_the_history() -> None:
    kind = kind_history([600.0] * 30)
    for count, spread in ((19, 0.0), (20, 1.0)):
        record = Record(within=(-1.0,) * (count // 2) + (1.0,) * (count - count // 2))
        found = law(replace(kind, record=record))
        assert found.at(np.array([0.1, 0.9])) == pytest.approx([-spread, spread], abs=1e-6)


def test_effects_of_batches_count_beside_two_usual_ones() -> None:
    none = law_of([0.0] * 20)
    assert (none.effect, none.effect_sd) == (0.0, pytest.approx(0.4))
    some = law_of([0.0] * 20, effects=(1.0, 1.0, 1.0))
    assert some.effect == pytest.approx(0.75)
    variance = (3 * 0.25**2 + 2 * 0.4**2) / 5
    assert some.effect_sd == pytest.approx(math.sqrt(variance))


def test_the_own_jobs_of_a_batch_change_its_law_and_not_what_is_known_of_effects() -> None:
    usual = law_of([0.0] * 20, effects=(0.5,) * 10)
    own = usual.shown_by(np.array([1.0] * 20), np.empty(0))
    assert (own.effect, own.effect_sd) == (usual.effect, usual.effect_sd)
    # As much as its own 20 does the history weigh.
    assert own.at(np.array([0.3, 0.7])) == pytest.approx([0.0, 1.0], abs=0.05)


def test_a_belief_has_the_mean_and_the_spread_of_its_weights() -> None:
    belief = Belief(np.array([0.0, 1.0, 3.0]), np.log([1.0, 2.0, 1.0]) + 700)
    assert belief.weights == pytest.approx([0.25, 0.5, 0.25])
    assert belief.mean == pytest.approx(1.25)
    assert belief.sd == pytest.approx(math.sqrt((1.25**2 + 2 * 0.25**2 + 1.75**2) / 4))
    assert belief.at(np.array([0.125, 0.5, 0.875])) == pytest.approx([0.0, 1.0, 3.0])


@given(st.floats(-1, 1))
def test_a_batch_is_believed_to_be_as_slow_as_most_of_its_jobs(effect: float) -> None:
    usual = law_of([n / 10 - 1 for n in range(21)])
    belief = believe(usual, np.full(200, effect))
    assert belief.mean == pytest.approx(effect, abs=0.1)
    with_straggler = believe(usual, np.append(np.full(200, effect), 30.0))
    assert with_straggler.mean == pytest.approx(belief.mean, abs=0.05)


def test_an_overrun_is_as_improbable_by_the_belief_as_by_the_jobs() -> None:
    belief = Belief(np.array([1.0, 3.0]), np.zeros(2))
    normal = NormalDist(mu=2.0, sigma=1.0).inv_cdf(0.995)
    certain = law(kind_history([600.0] * 30))
    found = belief.overrun_from(certain, margin=0.5)
    assert found == pytest.approx(normal + math.log(1.25) + 0.5, abs=0.03)


def named_from(batch: BatchState, **history: float) -> float:
    """Return how many times the usual a job has to take before it is named, to a percent."""
    ages = [600 * 1.01**n for n in range(700)]
    running = replace(batch, running=[Job(age) for age in ages])
    first = find_overruns(usual_history(**history), running, pass_seconds=1.0)[0]
    return ages[first] / 600


class TestOverruns:
    """From when on a job takes far longer than any of its batch does."""

    SHOWN = BatchState(KIND, [Job(600.0)] * 200)

    def test_where_jobs_hardly_differ_a_quarter_more_is_far_longer(self) -> None:
        assert named_from(self.SHOWN, spread=0.001) == pytest.approx(1.27, abs=0.05)

    def test_jobs_that_differ_more_are_given_longer(self) -> None:
        assert named_from(self.SHOWN, spread=0.5) > 2 * named_from(self.SHOWN, spread=0.05)

    def test_the_less_a_batch_has_shown_the_longer_is_waited(self) -> None:
        little = BatchState(KIND, [Job(600.0)])
        assert named_from(little, spread=0.1) > 1.1 * named_from(self.SHOWN, spread=0.1)

    def test_the_running_jobs_are_not_asked_unless_so_many_times_as_long_is_meant(self) -> None:
        history = usual_history()
        running = [Job(600 * 1.01**n) for n in range(700)]
        batch = replace(self.SHOWN, running=running)
        once = find_overruns(history, batch, pass_seconds=1.0)
        assert once == find_overruns(history, batch, pass_seconds=1.0, times=1.0)
        thrice = find_overruns(history, batch, pass_seconds=1.0, times=3.0)
        ratio = running[thrice[0]].seconds / running[once[0]].seconds
        assert ratio == pytest.approx(3, rel=0.011)
