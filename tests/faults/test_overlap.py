"""Many monitors at the same moment do the work of one.

Two schedulers and a person who clicks "Run All" are the same case: processes that know nothing
of each other, and share a metastore.
"""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from helpers.batch import reconcile
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import close_pools
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support import faults_checks
from tests.support.faults_points import END, GO
from tests.support.faults_world import DEADLINE_SECONDS, WORK, wait_until
from tests.support.notebooks import step_notebook

MONITORS = 8
MEETINGS = ("locks tried", "ready to claim", "ready to send")
_HELD = re.compile(r"batch (\d+) is polled by another run: monitor \S+ pid (\d+)")


@pytest.fixture
def cycle(world):
    """A cycle in which two steps lead on to notebooks."""
    made = add_cycle("Q1")
    for stage_num in (3, 4):
        step_notebook(world.workflows, WORK, cycle="Q1", stage_num=stage_num, step_num=2)
        add_step(made, stage_num=stage_num, step_num=2)
    return made


class Crew:
    """Monitors that each run a pass whenever they are told to."""

    def __init__(self, world, monitors, points):
        self.world = world
        self.points = points
        self.monitors = [world.start("--crew", *points) for _ in range(monitors)]

    def gather(self, point):
        """Wait until all have come to a point."""
        stops = [self.world.meeting.next_stop(*self.monitors) for _ in self.monitors]
        assert {stop.point for stop in stops} == {point}
        return stops

    def run_passes(self):
        """Let all run a pass at the same moment; return what each displayed, by its pid."""
        for point in ("start", *self.points):
            tell(self.gather(point), GO)
        ended = self.gather("ended")
        tell(ended, GO)
        print(*(stop.facts["shown"] for stop in ended), sep="\n----\n")  # shown where a test fails
        return {stop.facts["pid"]: stop.facts["shown"] for stop in ended}

    def dismiss(self):
        tell(self.gather("start"), END)
        for monitor in self.monitors:
            monitor.wait(DEADLINE_SECONDS)


def tell(stops, word):
    for stop in stops:
        stop.answer(word)


@contextmanager
def a_crew(world, *, points=(), monitors=MONITORS):
    close_pools()
    before = deadlocks(world)
    crew = Crew(world, monitors, points)
    yield crew
    crew.dismiss()
    close_pools()
    world.wait_until_nothing_is_left()
    assert deadlocks(world) == before
    assert faults_checks.broken(world.sql) == {}
    assert world.marks("overlap") == []


def deadlocks(world):
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return world.sql.execute(query).fetchone()[0]


def add_round(world, cycle):
    """Add batches of which two fail and two lead on; return their ids."""
    finished, failed = JobStatus.FINISHED, JobStatus.FAILED
    return {
        world.add_watched(cycle, (4, 1), BatchType.ANALYSIS, "model", [finished, failed]): "FAILED",
        world.add_watched(cycle, (3, 1), BatchType.EDM_CREATION, "riskdata", [finished] * 2): (
            "COMPLETED"
        ),
        world.add_watched(
            cycle, (5, 1), BatchType.GROUPING, "grouping", [JobStatus.CANCELLED] * 2
        ): "CANCELLED",
    }


def polls(world):
    """Return how often each job was polled."""
    query = "SELECT job_id, count(*) FROM irp_job_tracking_log GROUP BY job_id"
    return dict(world.sql.execute(query))


def assert_all_was_done_once(world, made):
    found = faults_checks.batches(world.sql)
    assert {batch: found[batch] for batch in made} == {b: (s, 1) for b, s in made.items()}
    cards = [card for card in faults_checks.cards(world.sql) if card[1] in made]
    bad = [batch for batch, status in made.items() if status != "COMPLETED"]
    assert sorted(cards) == [("BATCH_FAILED", batch, 1, "SENT") for batch in sorted(bad)]
    runs = [run for run in faults_checks.chain_runs(world.sql) if run[0] in made]
    chained = [batch for batch, status in made.items() if status != "CANCELLED"]
    assert sorted(runs) == [(batch, 1, "COMPLETED") for batch in sorted(chained)]


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.faults)])
def test_eight_monitors_in_step_poll_run_and_tell_everything_once(world, cycle, rounds):
    """They meet before each section, so that every claim is fought for."""
    watched = world.add_watched(cycle, (6, 1), BatchType.EXPORT_TO_RDM, "export", ["RUNNING"] * 3)
    with a_crew(world, points=MEETINGS) as crew:
        for number in range(1, rounds + 1):
            made = add_round(world, cycle)
            before = polls(world)
            shown = crew.run_passes()
            now = polls(world)
            assert {now[job] - before.get(job, 0) for job in jobs_of(world, made)} == {1}
            assert [now[job] for job in jobs_of(world, [watched])] == [number] * 3
            assert_all_was_done_once(world, made)
            assert_the_others_say_who_polls(shown, {*made, watched})
            assert len(world.marks("start")) == len(world.marks("end")) == 2 * number
            assert len(world.teams.messages) == 2 * number
    asked = world.moodys.statistics()["requests_by_job"]
    assert [asked[workflow_id] for workflow_id in workflow_ids(world, watched)] == [rounds] * 3


def jobs_of(world, batches):
    query = "SELECT id FROM irp_job WHERE batch_id = ANY (%s)"
    return [row[0] for row in world.sql.execute(query, [list(batches)])]


def workflow_ids(world, batch):
    query = "SELECT moodys_workflow_id FROM irp_job WHERE batch_id = %s"
    return [row[0] for row in world.sql.execute(query, [batch])]


def assert_the_others_say_who_polls(shown, batches):
    message = {pid: dict(_HELD.findall(text)) for pid, text in shown.items()}
    for batch in batches:
        holders = {held[str(batch)] for held in message.values() if str(batch) in held}
        silent = [str(pid) for pid, held in message.items() if str(batch) not in held]
        assert holders == set(silent)
        assert len(silent) == 1


@pytest.mark.faults
def test_eight_monitors_at_their_own_pace_lose_nothing_and_double_nothing(world, cycle):
    """One that comes when another has just polled polls again; nothing else happens twice."""
    made, rounds = {}, 12
    watched = world.add_watched(cycle, (6, 1), BatchType.EXPORT_TO_RDM, "export", ["RUNNING"] * 3)
    with a_crew(world) as crew:
        for number in range(1, rounds + 1):
            made |= add_round(world, cycle)
            crew.run_passes()
            # A card that became due while another pass was sending is left to the next one.
            assert len(world.teams.messages) <= 2 * number
    world.normal_pass()
    assert_all_was_done_once(world, made)
    assert len(world.teams.messages) == 2 * rounds
    assert len(world.marks("start")) == len(world.marks("end")) == 2 * rounds
    polled = polls(world)
    ended = [polled[job] for job in jobs_of(world, made)]
    running = [polled[job] for job in jobs_of(world, [watched])]
    print(f"{rounds} rounds: each job that ended was polled {min(ended)} to {max(ended)} times,")
    print(f"each running one {max(running) / rounds:.1f} times a round")


def test_eight_reconciliations_of_one_batch_end_it_once(world, cycle):
    step = add_step(cycle, stage_num=4, step_num=1)
    together = threading.Barrier(MONITORS)

    def reconcile_together(batch_id):
        together.wait(DEADLINE_SECONDS)
        return reconcile(batch_id)

    with ThreadPoolExecutor(MONITORS) as pool:
        for _ in range(25):
            jobs = [PreparedJob(JobStatus.FINISHED, "1"), PreparedJob(JobStatus.FAILED, "2")]
            batch = add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE).batch_id
            outcomes = list(pool.map(reconcile_together, [batch] * MONITORS))
            assert [outcome.finished for outcome in outcomes].count(True) == 1
            assert {outcome.status for outcome in outcomes} == {BatchStatus.FAILED}
    world.sql.execute("UPDATE irp_job SET completed_ts = now()")  # seeded without
    assert faults_checks.broken(world.sql) == {}


def test_a_notebook_that_runs_long_stops_no_other_pass(world, cycle):
    analysis = world.add_watched(cycle, (4, 1), BatchType.ANALYSIS, "model", [JobStatus.FINISHED])
    world.gate.unlink()
    first = world.start()
    wait_until(lambda: world.marks("start"), "the notebook runs")
    monitor_and_notebook = len(world.processes())

    with a_crew(world, monitors=1) as crew:
        for _ in range(2):
            batch = world.add_watched(cycle, (5, 1), BatchType.GROUPING, "grouping", ["FINISHED"])
            [shown] = crew.run_passes().values()
            assert faults_checks.batches(world.sql)[batch] == ("COMPLETED", 1)
            assert re.search(rf"Step 4\.2 of Q1: run by \S+@\S+ pid {first.pid} since", shown)
            # a pass beside it adds itself, and leaves nothing
            assert len(world.processes()) == monitor_and_notebook + 1
        assert world.marks("end") == []
        assert first.poll() is None
        world.gate.touch()
        assert first.wait(DEADLINE_SECONDS) in {0, 1}
    assert faults_checks.chain_runs(world.sql)[0] == (analysis, 1, "COMPLETED")
    assert len(world.marks("start")) == len(world.marks("end")) == 1
