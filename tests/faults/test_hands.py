"""People change things while a pass is running: it ends as if one of the two had come first.

The pass runs in this process, and the hand strikes at a named point of it, by SQL as the tools
of a team do: the batch is locked, and all is done in one transaction.
"""

import threading
from dataclasses import dataclass

import psycopg
import pytest

from helpers.constants import BatchType, JobStatus
from helpers.monitor import run_pass
from helpers.settings import get_settings
from sandbox.seeding import add_cycle, add_step
from tests.support import faults_checks, faults_points
from tests.support.faults_world import DEADLINE_SECONDS, WORK, wait_until
from tests.support.notebooks import step_notebook

POINTS = [
    "nothing found yet",
    "found, not polled",
    "polled, not recorded",
    "inside a chunk's transaction",
    "recorded, not reconciled",
    "batch locked, nothing decided",
    "status written, not committed",
    "all that follows written, not committed",
    "batch ended, step not claimed",
    "step locked, rows not stamped",
    "step claimed, not started",
    "notebook about to run",
    "notebook done, not recorded",
    "end of the step written, not committed",
    "verdict recorded, claim not released",
    "cards due, none sent",
    "card sent, not marked",
    "all done, pass not on record",
]
BEFORE_THE_END = POINTS[:6]  # of the batch: a hand may still come first

_LOCK = "SELECT id FROM irp_batch WHERE id = %(batch)s FOR UPDATE"
_RESUBMIT = """
    WITH failed AS (
        UPDATE irp_job SET skipped = true
        WHERE batch_id = %(batch)s AND id = %(failed)s
        RETURNING id, batch_id, job_configuration_id
    )
    INSERT INTO irp_job (batch_id, job_configuration_id, parent_job_id, moodys_workflow_id, status,
                         submitted_ts)
    SELECT batch_id, job_configuration_id, id, %(new)s, 'SUBMITTED', now() FROM failed"""
_ACTIVATE = "UPDATE irp_batch SET status = 'ACTIVE', submitted_ts = NULL, completed_ts = NULL"
_SKIP = """
    WITH skipped AS (
        UPDATE irp_job SET skipped = true WHERE id = %(failed)s RETURNING job_configuration_id
    )
    UPDATE irp_job_configuration SET skipped = true, skipped_reason_txt = 'not needed'
    WHERE id IN (SELECT job_configuration_id FROM skipped)"""
_ARCHIVE = "UPDATE irp_cycle SET status = 'ARCHIVED', archived_ts = now()"

HANDS = {
    "resubmission": [_LOCK, _RESUBMIT, f"{_ACTIVATE} WHERE id = %(batch)s"],
    "skip": [_LOCK, _SKIP],
    "archive": [_ARCHIVE],
    "re-activation": [_LOCK, f"{_ACTIVATE} WHERE id = %(batch)s"],
}


@dataclass
class Scene:
    """An analysis of two jobs, one of which has failed at Moody's."""

    world: object
    url: str
    batch_id: int
    failed_job_id: int

    def act(self, hand):
        """Do what a person's tool does, in one transaction on a connection of its own."""
        new = self.world.moodys.add_job("model", status="FINISHED")
        facts = {"batch": self.batch_id, "failed": self.failed_job_id, "new": new}
        with psycopg.connect(self.url, application_name="hand") as connection:
            for statement in HANDS[hand]:
                connection.execute(statement, facts)


@pytest.fixture
def scene(world, metastore, monkeypatch):
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    cycle = add_cycle("Q1")
    step_notebook(world.workflows, WORK, cycle="Q1", stage_num=4, step_num=2)
    add_step(cycle, stage_num=4, step_num=2)
    at_moodys = [JobStatus.FINISHED, JobStatus.FAILED]
    batch_id = world.add_watched(cycle, (4, 1), BatchType.ANALYSIS, "model", at_moodys)
    [(failed,)] = world.sql.execute("SELECT max(id) FROM irp_job")
    return Scene(world, metastore, batch_id, failed)


class Hand:
    """A person's act that begins at a point of the pass and ends when the pass lets it."""

    def __init__(self, scene, hand):
        self._scene = scene
        self._thread = threading.Thread(target=scene.act, args=[hand])
        self._acted = False

    def strike(self):
        """Act, and return when that is done or waits for the pass."""
        if self._acted:
            return
        self._acted = True
        self._thread.start()
        wait_until(lambda: not self._thread.is_alive() or self._waits(), "the hand acts")

    def _waits(self):
        query = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'hand' AND wait_event_type = 'Lock'"
        )
        return self._scene.world.sql.execute(query).fetchone() is not None

    def wait(self):
        assert self._acted
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()


def run_struck_pass(scene, monkeypatch, point, hand):
    act = Hand(scene, hand)
    with monkeypatch.context() as patch:
        faults_points.install(point, act.strike, replace=patch.setattr)
        run_pass()
    act.wait()
    assert faults_checks.broken(scene.world.sql) == {}


FAST = {
    ("status written, not committed", "resubmission"),
    ("notebook about to run", "resubmission"),
    ("batch locked, nothing decided", "skip"),
    ("batch ended, step not claimed", "archive"),
    ("cards due, none sent", "re-activation"),
}
EVERY = [
    pytest.param(
        point,
        hand,
        id=f"{hand}-{point}",
        marks=[] if (point, hand) in FAST else pytest.mark.faults,
    )
    for hand in HANDS
    for point in POINTS
]


@pytest.mark.parametrize(("point", "hand"), EVERY)
def test_a_hand_and_a_pass_end_as_if_one_had_come_first(scene, monkeypatch, point, hand):
    run_struck_pass(scene, monkeypatch, point, hand)
    run_pass()
    run_pass()

    world = scene.world
    [(status, activations)] = faults_checks.batches(world.sql).values()
    pass_came_first = (activations, status) != hand_came_first(hand)
    if point not in BEFORE_THE_END:
        assert pass_came_first
    assert (activations, status) == after(hand) or not pass_came_first
    assert_reported_once_of_each_end(world, hand, pass_came_first)
    assert_led_on_once_from_each_end(world, activations)
    if point == "batch ended, step not claimed" and activations == 2:
        assert faults_checks.chain_runs(world.sql)[0][2] == "CANCELLED"
    if (point, hand) == ("batch ended, step not claimed", "archive"):
        assert faults_checks.chain_runs(world.sql)[0][2] == "PENDING"
    assert faults_checks.broken(world.sql) == {}
    assert world.marks("overlap") == []


def hand_came_first(hand):
    """Return how often the batch was ACTIVE, and what it is, where the hand came first."""
    return {
        "resubmission": (1, "COMPLETED"),
        "skip": (1, "COMPLETED"),
        "archive": (1, "ACTIVE"),
        "re-activation": (1, "FAILED"),  # it was ACTIVE already
    }[hand]


def after(hand):
    """Return the same where the pass came first: the batch had FAILED."""
    return {
        "resubmission": (2, "COMPLETED"),
        "skip": (1, "FAILED"),
        "archive": (1, "FAILED"),
        "re-activation": (2, "FAILED"),
    }[hand]


def assert_reported_once_of_each_end(world, hand, pass_came_first):
    message = [(kind, number) for kind, _, number, _ in faults_checks.cards(world.sql)]
    assert {status for *_, status in faults_checks.cards(world.sql)} <= {"SENT"}
    assert len(world.teams.messages) == len(message)
    first = [("BATCH_FAILED", 1)]
    if not pass_came_first:
        assert message == (first if hand == "re-activation" else [])
    elif hand == "resubmission":
        assert message == [*first, ("BATCH_RECOVERED", 2)]
    elif hand == "re-activation":
        assert message == [*first, ("BATCH_FAILED", 2)]
    else:
        assert message == first


def assert_led_on_once_from_each_end(world, activations):
    """A chain run that a hand overtook is cancelled; before it was claimed, nothing is started."""
    runs = faults_checks.chain_runs(world.sql)
    [(cycle,)] = world.sql.execute("SELECT status::text FROM irp_cycle")
    # One that was overtaken while its notebook ran is cancelled as well: the run served no ending.
    [(served,)] = world.sql.execute("SELECT sum(attempt) FROM irp_chain_run")
    assert len(world.marks("start")) == len(world.marks("end")) == (served or 0)
    states = {number: status for _, number, status in runs}
    if cycle == "ARCHIVED":
        assert set(states.values()) <= {"COMPLETED", "PENDING"}
        return
    assert set(states) == set(range(1, activations + 1))
    assert states.pop(activations) == "COMPLETED"
    assert set(states.values()) <= {"COMPLETED", "CANCELLED"}
