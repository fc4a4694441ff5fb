"""Nothing is lost, doubled or stuck, wherever a monitor is cut off.

A real monitor is stopped at a named point and killed, told to end, or loses its connections.
Then one normal pass runs, and everything is as if nothing had happened.
"""

import os
import signal
from dataclasses import dataclass
from enum import Enum

import pytest

from helpers.constants import BatchType, JobStatus
from helpers.database import close_pools
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support import faults_checks
from tests.support.faults_points import GO
from tests.support.faults_world import DEADLINE_SECONDS, FOLDER, WORK, wait_until
from tests.support.notebooks import step_notebook

REPETITIONS = int(os.environ.get("FAULTS_REPETITIONS", "1"))
ANALYSES = [JobStatus.FINISHED] * 4 + [JobStatus.FAILED]


class Strike(Enum):
    """What happens to a monitor that has come to a point."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    CONNECTIONS = "connections ended"


@dataclass(frozen=True)
class Case:
    """A point, and after which strikes the notebook, or a card, comes a second time."""

    point: str
    again_after: frozenset[Strike] = frozenset()
    perhaps_again_after: frozenset[Strike] = frozenset()  # it is stopped as it starts
    cards_again_after: frozenset[Strike] = frozenset()


ENDS = frozenset({Strike.KILL, Strike.TERM})
RUNNING = "notebook running"
CASES = [
    Case("nothing found yet"),
    Case("found, not polled"),
    Case("polled, not recorded"),
    Case("one chunk recorded of several"),
    Case("inside a chunk's transaction"),
    Case("recorded, not reconciled"),
    Case("one batch reconciled of several"),
    Case("status written, not committed"),
    Case("all that follows written, not committed"),
    Case("batch ended, step not claimed"),
    Case("step locked, rows not stamped"),
    Case("step claimed, not started"),
    Case("step logged, not started", perhaps_again_after=frozenset({Strike.TERM})),
    Case("notebook about to run", perhaps_again_after=frozenset({Strike.TERM})),
    Case(RUNNING, again_after=ENDS),
    # A polite end is held back until the notebook's end is on record.
    Case("notebook done, not recorded", again_after=frozenset({Strike.KILL})),
    Case("end of the step written, not committed", again_after=frozenset({Strike.KILL})),
    Case("verdict recorded, claim not released"),
    Case("cards due, none sent"),
    Case("attempt counted, card not sent"),
    # Teams has it, and nobody can know: the one case of a second card.
    Case("card sent, not marked", cards_again_after=ENDS),
    Case("one card marked, one due"),
    Case("all done, pass not on record"),
]

# One of most sections, each kind once or more; `make faults` runs all of them, several times.
FAST = {
    ("all that follows written, not committed", Strike.CONNECTIONS),
    (RUNNING, Strike.KILL),
    ("notebook done, not recorded", Strike.TERM),
    ("card sent, not marked", Strike.KILL),
}


def every_case():
    for case in CASES:
        for strike in Strike:
            for repetition in range(REPETITIONS):
                fast = repetition == 0 and (case.point, strike) in FAST
                yield pytest.param(
                    case,
                    strike,
                    id=f"{case.point}-{strike.value}-{repetition}",
                    marks=[] if fast else pytest.mark.faults,
                )


@pytest.fixture
def active(world):
    """A cycle with batches of three kinds, whose jobs have ended at Moody's except for one."""
    cycle = add_cycle("Q1")
    step_notebook(world.workflows, WORK, cycle="Q1", stage_num=4, step_num=2)
    add_step(cycle, stage_num=4, step_num=2)
    world.add_watched(cycle, (4, 1), BatchType.ANALYSIS, "model", ANALYSES)
    world.add_watched(cycle, (5, 1), BatchType.GROUPING, "grouping", [JobStatus.CANCELLED] * 2)
    world.add_watched(cycle, (3, 1), BatchType.EDM_CREATION, "riskdata", [JobStatus.RUNNING])
    close_pools()
    return world


def batch_of(world, batch_type):
    query = "SELECT id FROM irp_batch WHERE batch_type = %s"
    return world.sql.execute(query, [batch_type]).fetchone()[0]


def assert_as_if_nothing_had_happened(world):
    analysis, grouping, edm = (
        batch_of(world, kind)
        for kind in (BatchType.ANALYSIS, BatchType.GROUPING, BatchType.EDM_CREATION)
    )
    assert faults_checks.broken(world.sql) == {}
    assert faults_checks.jobs(world.sql, analysis) == ANALYSES
    assert faults_checks.jobs(world.sql, grouping) == [JobStatus.CANCELLED] * 2
    assert faults_checks.jobs(world.sql, edm) == [JobStatus.RUNNING]
    assert faults_checks.batches(world.sql) == {
        analysis: ("FAILED", 1),
        grouping: ("CANCELLED", 1),
        edm: ("ACTIVE", 1),
    }
    assert sorted(faults_checks.cards(world.sql)) == [
        ("BATCH_FAILED", analysis, 1, "SENT"),
        ("BATCH_FAILED", grouping, 1, "SENT"),
    ]
    assert faults_checks.chain_runs(world.sql) == [(analysis, 1, "COMPLETED")]
    runs = faults_checks.step_runs(world.sql)
    assert runs.count("COMPLETED") == 1
    assert runs.count("ACTIVE") == 0


def strike_at(world, strike, monitor, stop=None):
    """Do it to the monitor, let what has stopped go on, and return when the monitor has ended."""
    match strike:
        case Strike.KILL:
            monitor.kill()
        case Strike.TERM:
            monitor.terminate()
        case Strike.CONNECTIONS:
            world.end_connections()
    if stop is not None:
        stop.answer(GO)
    if strike is Strike.CONNECTIONS:
        world.gate.touch()
    monitor.wait(DEADLINE_SECONDS)
    world.gate.touch()
    message = world.output_of(monitor)
    assert "Traceback" not in message, message
    assert monitor.returncode == -signal.SIGKILL or strike is not Strike.KILL


def test_an_uninterrupted_pass_ends_as_these_tests_expect(active):
    active.normal_pass()
    active.wait_until_nothing_is_left()
    assert_as_if_nothing_had_happened(active)
    assert len(active.teams.messages) == 2
    assert len(active.marks("start")) == len(active.marks("end")) == 1


@pytest.mark.parametrize(("case", "strike"), list(every_case()))
def test_whatever_cuts_a_pass_off_the_next_one_completes_it(active, case, strike):
    cut_off(active, case, strike)
    assert faults_checks.broken(active.sql) == {}

    active.wait_until_nothing_is_left()
    active.age_heartbeats()
    active.normal_pass()

    active.wait_until_nothing_is_left()
    assert_as_if_nothing_had_happened(active)
    assert len(active.teams.messages) == 2 + (strike in case.cards_again_after)
    starts = len(active.marks("start"))
    assert starts == 1 + (strike in case.again_after) or strike in case.perhaps_again_after
    assert 1 <= starts <= 2
    assert active.marks("overlap") == []


def cut_off(world, case, strike):
    if case.point != RUNNING:
        monitor = world.start(case.point)
        strike_at(world, strike, monitor, world.meeting.next_stop(monitor))
        return
    world.gate.unlink()
    monitor = world.start()
    wait_until(lambda: world.marks("start"), "the notebook runs")
    strike_at(world, strike, monitor)


def test_a_killed_monitors_step_is_left_alone_until_its_heartbeat_is_old(active):
    cut_off(active, Case(RUNNING), Strike.KILL)
    active.normal_pass()  # at once: the kernel may still be ending
    assert len(active.marks("start")) == 1
    assert faults_checks.chain_runs(active.sql)[0][2] == "RUNNING"


def test_an_interrupted_monitors_step_starts_again_at_once_and_not_beside_the_first(active):
    cut_off(active, Case(RUNNING), Strike.TERM)
    active.normal_pass()
    assert_as_if_nothing_had_happened(active)
    assert len(active.marks("start")) == 2
    assert active.marks("overlap") == []


@pytest.mark.faults
def test_a_step_whose_monitors_all_die_is_given_up_after_three_attempts_with_one_card(active):
    for _ in range(3):
        cut_off(active, Case(RUNNING), Strike.KILL)
        active.wait_until_nothing_is_left()
        active.age_heartbeats()
        active.marks_file.rename(active.folder / f"marks {active.marks_file.stat().st_mtime_ns}")
    active.normal_pass()
    active.normal_pass()
    assert active.marks("start") == []
    assert faults_checks.chain_runs(active.sql)[0][2] == "FAILED"
    assert faults_checks.step_runs(active.sql) == ["FAILED"] * 3
    kinds = [card[0] for card in faults_checks.cards(active.sql)]
    assert kinds.count("CHAIN_FAILED") == 1
    assert len(active.teams.messages) == 3
    assert faults_checks.broken(active.sql) == {}


SUBMIT = f"""
import os, sys
sys.path.insert(0, os.environ["{FOLDER}"])
import faults_points

if point := os.environ.get("FAULTS_POINT"):
    faults_points.stop_at(point)
from helpers.stage import open_step

open_step().submit_batch()
"""


SUBMITTED = 3


@pytest.fixture
def chained(world):
    """A grouping that is done; the step after it submits three jobs to Moody's."""
    cycle = add_cycle("Q1")
    world.add_watched(cycle, (5, 1), BatchType.GROUPING, "grouping", [JobStatus.FINISHED])
    step = add_step(cycle, stage_num=5, step_num=2)
    add_step(cycle, stage_num=5, step_num=3)
    prepared = [PreparedJob(request=grouping_request(number)) for number in range(SUBMITTED)]
    add_batch(step, BatchType.GROUPING_ROLLUP, prepared)
    step_notebook(world.workflows, SUBMIT, cycle="Q1", stage_num=5, step_num=2)
    step_notebook(world.workflows, WORK, cycle="Q1", stage_num=5, step_num=3)
    close_pools()
    return world


def grouping_request(number):
    body = {
        "resourceType": "analyses",
        "resourceUris": [f"/platform/riskdata/v1/analyses/{number}"],
        "settings": {"analysisName": f"Rollup {number}"},
    }
    return {"method": "POST", "path": "/platform/grouping/v1/jobs", "json": body}


def every_submission():
    for point in ("key stored, not posted", "posted, id not stored"):
        for strike in Strike:
            for repetition in range(REPETITIONS):
                fast = repetition == 0 and point.startswith("posted") and strike is Strike.KILL
                yield pytest.param(
                    point,
                    strike,
                    id=f"{point}-{strike.value}-{repetition}",
                    marks=[] if fast else pytest.mark.faults,
                )


@pytest.mark.parametrize(("point", "strike"), list(every_submission()))
def test_a_job_is_at_moodys_once_whatever_cuts_its_submission_off(chained, point, strike):
    monitor = chained.start(FAULTS_POINT=point)
    stop = chained.meeting.next_stop(monitor)  # the notebook's kernel, which ends with the monitor
    strike_at(chained, strike, monitor, stop if strike is Strike.CONNECTIONS else None)
    assert faults_checks.broken(chained.sql) == {}

    chained.wait_until_nothing_is_left()
    stop.answer(GO)  # nobody is there to hear it
    chained.age_heartbeats()
    chained.normal_pass()
    chained.moodys.advance(3600)
    chained.normal_pass()

    chained.wait_until_nothing_is_left()
    rollup = batch_of(chained, BatchType.GROUPING_ROLLUP)
    assert len(chained.moodys.submissions) == SUBMITTED
    assert faults_checks.jobs(chained.sql, rollup) == [JobStatus.FINISHED] * SUBMITTED
    assert faults_checks.batches(chained.sql)[rollup] == ("COMPLETED", 1)
    at_moodys = {submission.job_id for submission in chained.moodys.submissions}
    assert at_moodys == workflow_ids(chained, rollup)
    assert [status for *_, status in faults_checks.chain_runs(chained.sql)] == ["COMPLETED"] * 2
    assert len(chained.marks("end")) == 1
    assert chained.teams.messages == []
    assert faults_checks.broken(chained.sql) == {}


def workflow_ids(world, batch_id):
    query = "SELECT moodys_workflow_id FROM irp_job WHERE batch_id = %s"
    return {row[0] for row in world.sql.execute(query, [batch_id])}
