"""How fast a family may be asked is remembered from pass to pass, for a day."""

import math

import pytest

from helpers.constants import BatchType, Family, JobStatus
from helpers.irp_integration.health import SearchProblem
from helpers.irp_integration.pace import FIRST_WINDOW, Pace
from helpers.monitor.poll_list import (
    remember_paces,
    remember_search_problems,
    remembered_paces,
    searchable_families,
)
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_cycle
from tests.support.passes import active_batch, one_pass, rows


def learned(*, window: float, rate: float = math.inf, is_limited: bool = False) -> Pace:
    pace = Pace(window=window, rate=rate, is_limited=is_limited)
    pace.note_sent(1.0)
    pace.note_end()
    pace.note_answer(sent=1.0, now=1.1)
    return pace


@pytest.fixture
def remembered(metastore):
    remember_paces(
        {
            Family.MODEL: learned(window=167),
            Family.GEOHAZ: learned(window=2.5, rate=18.0),
            Family.IMPORT: Pace(),  # nobody has answered
        }
    )


def test_what_was_learned_is_known_in_the_next_pass(remembered):
    paces = remembered_paces(most=256)

    assert {family: (round(p.window), round(p.rate, 1)) for family, p in paces.items()} == {
        Family.MODEL: (168, math.inf),
        Family.GEOHAZ: (2, 18.0),
    }


def test_what_is_learned_anew_replaces_it(remembered):
    remember_paces({Family.GEOHAZ: learned(window=30)})

    pace = remembered_paces(most=256)[Family.GEOHAZ]
    assert (pace.window, pace.rate) == (31, math.inf)


def test_a_limit_of_requests_at_once_is_remembered_as_one(remembered):
    remember_paces({Family.EXPORT: learned(window=20, is_limited=True)})

    paces = remembered_paces(most=256)

    assert {family for family, pace in paces.items() if pace.is_limited} == {Family.EXPORT}
    assert paces[Family.EXPORT].window == 20


def test_no_more_is_asked_at_once_than_is_set(remembered):
    assert remembered_paces(most=8)[Family.MODEL].window == 8


@pytest.mark.parametrize("age", ["25 hours", "-5 hours"])  # too old, or of a clock that went back
def test_what_was_learned_long_ago_or_in_the_future_is_learned_anew(remembered, sql, age):
    sql.execute("UPDATE irp_poll_family SET learned_ts = now() - %s::interval", [age])

    assert remembered_paces(most=256) == {}


def test_a_family_that_is_not_known_any_more_is_passed_over(remembered, sql):
    sql.execute("INSERT INTO irp_poll_family (family, at_once) VALUES ('portfolios', 5)")

    assert set(remembered_paces(most=256)) == {Family.MODEL, Family.GEOHAZ}


def geohaz_batch(moodys, jobs: int) -> None:
    ids = moodys.add_jobs("geohaz", jobs, status="RUNNING")
    prepared = [PreparedJob(JobStatus.RUNNING, workflow_id) for workflow_id in ids]
    active_batch(add_cycle("Analysis-2025-Q1"), BatchType.GEOHAZ, prepared)


def test_a_search_that_does_not_exist_is_tried_once_an_hour(moodys, sql, workflows):
    geohaz_batch(moodys, 30)

    passes = [one_pass(), one_pass()]

    assert moodys.statistics()["requests"]["geohaz"] == {"by-id": 60, "search": 1}
    assert [done.polled.all_remarks for done in passes] == [[], []]
    assert Family.GEOHAZ not in searchable_families()
    sql.execute("UPDATE irp_poll_family SET search_problem_ts = now() - interval '61 minutes'")
    one_pass()
    assert moodys.statistics()["requests"]["geohaz"] == {"by-id": 90, "search": 2}


@pytest.mark.parametrize(
    ("family", "is_wrong", "is_tried"),
    [
        # known to work: a failure is forgiven, a wrong answer is not
        (Family.MODEL, False, True),
        (Family.MODEL, True, False),
        # not known to work
        (Family.GEOHAZ, False, False),
        (Family.GEOHAZ, True, False),
    ],
)
def test_a_search_has_to_earn_its_use(metastore, family, is_wrong, is_tried):
    remember_search_problems({family: SearchProblem("It fails.", is_wrong=is_wrong)})

    assert (family in searchable_families()) is is_tried
    assert searchable_families() >= set(Family) - {family}


def test_a_pass_starts_with_few_requests_at_once_and_the_next_with_what_it_has_learned(
    moodys, sql, workflows
):
    geohaz_batch(moodys, 150)
    moodys.misbehave(Fault.LATENCY, seconds=0.1)

    one_pass()

    [(at_once, per_second)] = rows(sql, "SELECT at_once, per_second FROM irp_poll_family")
    assert FIRST_WINDOW < at_once <= 256
    assert per_second is None
    assert remembered_paces(most=256)[Family.GEOHAZ].window == at_once


def test_a_host_that_allows_few_at_once_is_asked_so_many_at_once(moodys, sql, workflows):
    jobs, allowed = 200, 5
    geohaz_batch(moodys, jobs)
    moodys.misbehave(Fault.LATENCY, seconds=0.05)
    busy = moodys.misbehave(Fault.BUSY, at_once=allowed, kinds={"by-id"})
    for _ in range(2):
        one_pass()
    before = busy.hits

    third = one_pass()

    assert (third.polled.jobs_polled, third.polled.polls_failed) == (jobs, 0)
    assert busy.hits - before < 0.02 * jobs
    [(at_once, is_limit)] = rows(sql, "SELECT at_once, at_once_is_limit FROM irp_poll_family")
    assert is_limit
    assert at_once >= allowed - 1
