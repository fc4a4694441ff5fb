"""A monitor that is frozen (Ctrl-Z, a laptop that sleeps) keeps nobody from the work it holds."""

import os
import re
import signal

import pytest

from helpers.constants import BatchType
from sandbox.misbehaviour import Fault
from sandbox.seeding import add_cycle
from tests.support import faults_checks
from tests.support.faults_points import GO
from tests.support.faults_world import DEADLINE_SECONDS, wait_until
from tests.support.passes import configure, one_pass

STATES = "SELECT status::text, last_tracked_ts IS NOT NULL FROM irp_job ORDER BY id"


@pytest.mark.faults
def test_others_poll_again_after_a_monitor_froze_while_it_polled(world, monkeypatch):
    configure(monkeypatch, **world.environment())
    made = world.add_watched(add_cycle("Q1"), (3, 6), BatchType.GEOHAZ, "geohaz", ["RUNNING"] * 12)
    world.moodys.misbehave(Fault.LATENCY, seconds=0.5)  # with one worker, a question at a time
    frozen = world.start("polled, not recorded", FAULTS_IDLE_SECONDS="8", MONITOR_POLL_WORKERS="1")
    stop = world.meeting.next_stop(frozen)
    os.kill(frozen.pid, signal.SIGSTOP)
    world.moodys.behave()
    asked_before = world.moodys.statistics()["requests_total"]

    first = one_pass()
    assert list(first.polled.held_elsewhere) == [made]
    wait_until(lambda: one_pass().polled.jobs_polled == 12, "another pass polls the batch")

    moved = world.sql.execute(STATES).fetchall()
    assert moved == [("RUNNING", True)] * 12
    asked_by_others = world.moodys.statistics()["requests_total"]
    os.kill(frozen.pid, signal.SIGCONT)
    stop.answer(GO)
    frozen.wait(DEADLINE_SECONDS)

    message = world.output_of(frozen)
    assert "Traceback" not in message, message
    assert "The database ended the connection that held this pass's batches" in message
    assert "All is well" not in message
    # what it had in its hands when it froze, and one question that a thread was about to ask
    assert world.moodys.statistics()["requests_total"] <= asked_by_others + 2
    assert asked_before < 12
    assert world.sql.execute(STATES).fetchall() == moved
    assert faults_checks.broken(world.sql) == {}


def test_a_batch_that_a_frozen_monitor_holds_is_a_warning_with_its_name(world, monkeypatch):
    configure(monkeypatch, **world.environment())
    made = world.add_watched(add_cycle("Q1"), (3, 6), BatchType.GEOHAZ, "geohaz", ["RUNNING"])
    frozen = world.start("polled, not recorded", FAULTS_IDLE_SECONDS="600")
    stop = world.meeting.next_stop(frozen)
    os.kill(frozen.pid, signal.SIGSTOP)
    assert one_pass().summary.warnings == []  # it may be polling just now

    world.sql.execute("UPDATE irp_job SET submitted_ts = now() - interval '4 minutes'")

    [warning] = one_pass().summary.warnings
    assert re.match(
        rf"Not polled for over 3 min: batch {made} \(GeoHaz; never, held by monitor .*"
        rf"{frozen.pid}\)\. A process that holds one may be frozen: end it",
        warning,
    )
    os.kill(frozen.pid, signal.SIGCONT)
    stop.answer(GO)
    frozen.wait(DEADLINE_SECONDS)
    assert one_pass().summary.warnings == []
