"""A plan that is cut off anywhere is applied again, and goes on there: all of it once, or none yet.

A person's process is stopped at a named point and killed, or loses its connections. Then the same
plan is applied again, here, and a third time, which changes nothing.
"""

from contextlib import suppress
from dataclasses import dataclass

import pytest

from helpers import batch as hands
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import close_pools
from helpers.errors import BatchError
from helpers.settings import get_settings
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.analysis import request
from tests.support.faults_points import GO
from tests.support.faults_world import DEADLINE_SECONDS

KILL, CONNECTIONS = "killed", "connections ended"
ALWAYS = ["plan locked, nothing compared", "changed, not on record", "on record, not committed"]
SUBMITS = ["committed, nothing submitted", "key stored, not posted", "posted, id not stored"]
ASKS = ["committed, nothing asked", "asked once, not again", "asked, outcome not stored"]


@dataclass(frozen=True)
class Act:
    """A plan, and the points of its applying."""

    call: str
    points: list[str]
    jobs: tuple[str, ...] = ()  # as the plan finds them
    changed: str = ""  # a query that is true exactly after it


STEP = "'Q1', 4, 2"
ONE_NEW_EACH = """
    SELECT count(*) = 2 AND bool_and(status = 'SUBMITTED')
    FROM irp_job WHERE parent_job_id IS NOT NULL"""
ACCEPTED = "SELECT bool_and(outcome LIKE '%accepted%') FROM irp_action"
ACTS = {
    "resubmit": Act("plan_resubmit(1)", ALWAYS + SUBMITS, ("FAILED",) * 2, ONE_NEW_EACH),
    "skip": Act("plan_skip(1)", ALWAYS, ("FAILED",) * 2, "SELECT bool_and(skipped) FROM irp_job"),
    "cancel": Act("plan_cancel(1)", ALWAYS + ASKS, ("QUEUED",) * 2, ACCEPTED),
    "priority": Act("plan_priority(1, 'High')", ALWAYS + ASKS, ("QUEUED",) * 2, ACCEPTED),
    "resolve": Act(
        "plan_resolve(1, not_accepted=True)",
        ALWAYS,
        ("INITIATED",),
        "SELECT status = 'ERROR' FROM irp_job",
    ),
    "hold": Act(
        f"hold_step({STEP})", ALWAYS, (), "SELECT hold_action_id IS NOT NULL FROM irp_step_claim"
    ),
    "release": Act(
        f"release_step({STEP})", ALWAYS, (), "SELECT hold_action_id IS NULL FROM irp_step_claim"
    ),
    "rerun": Act(
        f"plan_rerun({STEP})", ALWAYS, (), "SELECT rerun_action_id IS NOT NULL FROM irp_step_claim"
    ),
}
FAST = {
    ("resubmit", "on record, not committed", KILL),
    ("resubmit", "posted, id not stored", KILL),
    ("cancel", "asked, outcome not stored", KILL),
    ("rerun", "changed, not on record", KILL),
    ("hold", "on record, not committed", CONNECTIONS),
}
EVERY = [
    pytest.param(
        name,
        point,
        strike,
        id=f"{name}-{point}-{strike}",
        marks=[] if (name, point, strike) in FAST else pytest.mark.faults,
    )
    for name, act in ACTS.items()
    for point in act.points
    for strike in (KILL, CONNECTIONS)
]


@pytest.fixture
def scene(world, metastore, monkeypatch):
    """A world whose settings hold in this process too."""
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return world


def prepare(world, name: str, act: Act) -> None:
    """Make what the plan is about: batch 1 of these jobs, or step 4.2."""
    cycle = add_cycle("Q1")
    step = add_step(cycle, stage_num=4, step_num=1)
    add_step(cycle, stage_num=4, step_num=2)
    jobs = [
        PreparedJob(
            JobStatus(status),
            None if status == "INITIATED" else world.moodys.add_job("model", status=status),
            request(f"A{number}"),
        )
        for number, status in enumerate(act.jobs)
    ]
    if jobs:
        add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE)
    if name == "resolve":
        world.sql.execute("UPDATE irp_job SET submission_request_id = gen_random_uuid()")
    if name == "release":
        hands.hold_step("Q1", 4, 2).apply(reason="not tonight")


@pytest.mark.parametrize(("name", "point", "strike"), EVERY)
def test_a_plan_that_is_cut_off_goes_on_when_it_is_applied_again(scene, name, point, strike):
    act = ACTS[name]
    prepare(scene, name, act)
    plan = eval(act.call, vars(hands))
    before = len(actions(scene))
    close_pools()  # so that all sessions are the other process's
    process = scene.apply(plan.plan_id, point, act.call)
    stop = scene.meeting.next_stop(process)
    if strike is KILL:
        process.kill()
    else:
        scene.end_connections()
    stop.answer(GO)
    process.wait(DEADLINE_SECONDS)
    scene.wait_until_nothing_is_left()
    scene.age_heartbeats()  # what the dead process claimed has expired

    outcome = plan.apply(reason="once more")

    found = actions(scene)[before:]
    assert outcome["done"] == max(len(act.jobs), 1)
    assert outcome.get("failed", 0) == 0
    assert [job for job, _ in found] == [n + 1 for n in range(len(act.jobs))] or [None]
    assert {status for _, status in found} <= {"DONE", "PLANNED" if name == "rerun" else "DONE"}
    assert scene.sql.execute(act.changed).fetchone() == (True,)
    assert_nothing_twice_at_moodys(scene, act)

    assert plan.apply(reason="and again") == outcome
    assert actions(scene)[before:] == found
    assert_nothing_twice_at_moodys(scene, act)


def actions(world) -> list[tuple[int | None, str]]:
    return world.sql.execute("SELECT job_id, status::text FROM irp_action ORDER BY id").fetchall()


def assert_nothing_twice_at_moodys(world, act: Act) -> None:
    submitted = sorted(received.name for received in world.moodys.submissions)
    assert submitted == (["A0", "A1"] if act.points[-1] in SUBMITS else [])
    asked = {(change.job_id, change.request_id) for change in world.moodys.changes}
    assert len(asked) == (2 if act.points[-1] in ASKS else 0)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("resubmit", "committed, nothing submitted"),
        ("resubmit", "posted, id not stored"),
        ("cancel", "committed, nothing asked"),
        ("cancel", "asked, outcome not stored"),
    ],
)
def test_a_plan_that_two_processes_apply_at_once_acts_once(scene, name, point):
    act = ACTS[name]
    prepare(scene, name, act)
    plan = eval(act.call, vars(hands))
    process = scene.apply(plan.plan_id, point, act.call)
    stop = scene.meeting.next_stop(process)

    with suppress(BatchError):  # the other one is submitting at this moment
        plan.apply(reason="at once")
    stop.answer(GO)
    process.wait(DEADLINE_SECONDS)

    assert process.returncode == 0, scene.output_of(process)
    assert plan.apply(reason="afterwards")["done"] == len(act.jobs)
    assert actions(scene) == [(1, "DONE"), (2, "DONE")]
    assert_nothing_twice_at_moodys(scene, act)
