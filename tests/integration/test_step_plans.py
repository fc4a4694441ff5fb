"""What people do with a step: not tonight, on after all, and once more."""

import threading

import psycopg
import pytest

from helpers import batch as batch_module
from helpers import steps as steps_module
from helpers.batch import history, hold_step, plan_rerun, read_batch, recon_batch, release_step
from helpers.constants import BatchStatus
from helpers.cycle import archive_cycle
from helpers.database import transaction
from helpers.errors import BatchMonitoringError, CycleError, PlanOvertakenError
from helpers.monitor import run_pass, what_waits
from helpers.monitor.chaining_section import ChainReport
from helpers.notebook_executor import execute_next_step
from helpers.step_chain import should_execute_next_step
from helpers.steps import claims
from sandbox.seeding import SeededBatch, add_batch, add_cycle, add_step
from tests.support import faults_points
from tests.support.analysis import CYCLE, analysis_batch, job
from tests.support.chains import begin, finish, rows
from tests.support.notebooks import step_notebook
from tests.support.waiting import wait_until

WHY = "The control totals are not signed off"
NEXT = (CYCLE, 4, 2)


@pytest.fixture
def batch(metastore, workflows) -> SeededBatch:
    """A batch that has ended, and whose next step is due."""
    seeded = analysis_batch([job("FINISHED", "1")])
    assert recon_batch(seeded.batch_id) == "COMPLETED"
    return seeded


@pytest.fixture
def failed(batch, sql) -> SeededBatch:
    """A batch whose next step has run, and failed."""
    claim = claims.claim_due()
    finish(claim, error="The template is missing")
    assert rows(sql, "status::text") == [("FAILED",)]
    return batch


def actions(sql, columns: str = "kind::text, status::text, reason"):
    return sql.execute(f"SELECT {columns} FROM irp_action ORDER BY id").fetchall()


def claim_row(sql):
    query = "SELECT attempt, owner IS NOT NULL, hold_action_id, rerun_action_id FROM irp_step_claim"
    return sql.execute(query).fetchall()


def state_of(report: ChainReport | None = None) -> list[str]:
    return [(report or ChainReport()).state(run) for run in claims.open_runs()]


def in_thread(action) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def work() -> None:
        try:
            results.append(action())
        except BatchMonitoringError as exc:
            results.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, results


def test_they_are_offered_beside_batches_and_beside_steps():
    for name in ("plan_rerun", "hold_step", "release_step"):
        assert getattr(batch_module, name) is getattr(steps_module, name)


# --- not tonight


def test_a_plan_to_hold_shows_itself_and_writes_nothing(batch, sql):
    shown = str(hold_step(*NEXT))

    assert "Plan: hold step 4.2 Step 2 of cycle" in shown
    assert "No pass starts it" in shown
    assert f"release_step('{CYCLE}', 4, 2)" in shown
    assert 'plan.apply(reason="…")' in shown
    assert (claim_row(sql), actions(sql)) == ([], [])


def test_no_pass_starts_a_step_that_is_held_and_what_holds_it_is_shown(batch, sql, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ana")

    outcome = hold_step(*NEXT).apply(reason=WHY)

    assert {**outcome, "plan_id": None} == {
        "plan_id": None,
        "kind": "HOLD",
        "cycle_name": CYCLE,
        "stage_num": 4,
        "step_num": 2,
        "done": 1,
    }
    assert actions(sql) == [("HOLD", "DONE", WHY)]
    assert claims.claim_due() is None
    assert not should_execute_next_step(batch.batch_id)
    assert rows(sql) == [("PENDING", 0, None)]
    [state] = state_of()
    assert state.startswith("held by ana since ")
    assert state.endswith(f"({WHY}), release with release_step('{CYCLE}', 4, 2)")
    [item] = what_waits().items
    assert item.text == f"{state.partition(',')[0]}."
    assert item.mend == f"release_step('{CYCLE}', 4, 2)"


def test_on_after_all_a_pass_starts_it_once(batch, sql):
    hold_step(*NEXT).apply(reason=WHY)
    plan = release_step(*NEXT)
    assert "It is due: the next pass starts it." in str(plan)

    plan.apply(reason="Signed off")
    assert str(plan) == f"Applied: release step 4.2 Step 2 of cycle {CYCLE}"

    assert [kind for kind, *_ in actions(sql)] == ["HOLD", "RELEASE"]
    assert should_execute_next_step(batch.batch_id)
    assert claims.claim_due() is not None
    assert claims.claim_due() is None
    assert "hold" not in str(what_waits())


def test_a_hold_outlives_runs_by_hand_which_it_does_not_keep_from_running(batch, sql):
    hold_step(*NEXT).apply(reason=WHY)
    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 2")

    claim = claims.claim_step(step)
    assert [run["batch_id"] for run in claim.served] == [batch.batch_id]
    finish(claim)

    assert rows(sql, "status::text") == [("COMPLETED",)]
    assert claim_row(sql)[0][2] is not None


def test_what_runs_when_a_step_is_held_runs_on(batch, sql):
    claim = claims.claim_due()
    plan = hold_step(*NEXT)
    assert "runs it at this moment, and that run goes on" in str(plan)

    plan.apply(reason=WHY)

    assert finish(claim)
    assert rows(sql, "status::text") == [("COMPLETED",)]


def test_a_hold_is_refused_if_a_pass_has_claimed_the_step_meanwhile(batch, sql):
    plan = hold_step(*NEXT)
    claims.claim_due()
    before = claim_row(sql)

    with pytest.raises(PlanOvertakenError, match="who runs the step was nobody and is"):
        plan.apply(reason=WHY)

    assert (claim_row(sql), actions(sql)) == (before, [])


def test_a_hold_that_meets_a_claim_being_taken_waits_for_it_and_is_overtaken(
    batch, sql, monkeypatch
):
    plan, held = hold_step(*NEXT), []

    def hold() -> None:
        held.append(in_thread(lambda: plan.apply(reason=WHY)))
        wait_until(lambda: _waits_for_a_lock(sql))

    with monkeypatch.context() as patch:
        faults_points.install("step locked, rows not stamped", hold, replace=patch.setattr)
        claim = claims.claim_due()
    [(thread, results)] = held
    thread.join(30)

    assert claim is not None
    assert isinstance(results[0], PlanOvertakenError)
    assert actions(sql) == []


def test_a_claim_that_meets_a_hold_being_written_waits_for_it_and_gets_nothing(
    batch, sql, metastore
):
    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 2")
    plan = hold_step(*NEXT)
    with psycopg.connect(metastore) as other:
        other.execute("INSERT INTO irp_step_claim (step_id, attempt) VALUES (%s, 0)", [step])
        other.commit()
        other.execute("SELECT FROM irp_step_claim FOR UPDATE")
        holder, held = in_thread(lambda: plan.apply(reason=WHY))
        wait_until(lambda: _waits_for_a_lock(sql))
        claimer, claimed = in_thread(claims.claim_due)
        wait_until(lambda: _waits_for_a_lock(sql, 2))
        other.rollback()
    holder.join(30)
    claimer.join(30)

    # Which of the two gets the row first is PostgreSQL's affair; both never act.
    [claim], [outcome] = claimed, held
    assert (claim is None) == (not isinstance(outcome, PlanOvertakenError))
    assert (claim is None) == (actions(sql) == [("HOLD", "DONE", WHY)])


def _waits_for_a_lock(sql, number: int = 1) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return sql.execute(query).fetchone()[0] >= number


@pytest.mark.parametrize("make", [hold_step, plan_rerun, release_step])
def test_of_two_people_who_apply_at_once_the_second_is_overtaken(batch, sql, make):
    if make is release_step:
        hold_step(*NEXT).apply(reason=WHY)
    before = len(actions(sql))
    plans = [make(*NEXT) for _ in range(4)]
    barrier = threading.Barrier(4)

    def apply(plan):
        barrier.wait()
        return plan.apply(reason=WHY)

    started = [in_thread(lambda plan=plan: apply(plan)) for plan in plans]
    for thread, _ in started:
        thread.join(30)

    outcomes = [result for _, results in started for result in results]
    assert sum(isinstance(outcome, PlanOvertakenError) for outcome in outcomes) == 3
    assert len(actions(sql)) == before + 1


@pytest.mark.parametrize("make", [hold_step, plan_rerun, release_step])
def test_a_second_apply_does_nothing_again_and_returns_the_same(batch, sql, make):
    if make is release_step:
        hold_step(*NEXT).apply(reason=WHY)
    plan = make(*NEXT)
    first = plan.apply(reason=WHY)
    before = (claim_row(sql), actions(sql))

    assert plan.apply(reason="a second click") == first
    assert (claim_row(sql), actions(sql)) == before


def test_a_second_hold_and_a_release_of_nothing_are_refused(batch, sql):
    with pytest.raises(CycleError, match="neither held, nor does it wait"):
        release_step(*NEXT).apply(reason=WHY)
    hold_step(*NEXT).apply(reason=WHY)
    with pytest.raises(CycleError, match=r"(?s)nothing to do.*held by"):
        hold_step(*NEXT).apply(reason=WHY)
    assert len(actions(sql)) == 1


@pytest.mark.parametrize("make", [hold_step, plan_rerun, release_step])
def test_what_is_asked_for_has_to_make_sense(batch, sql, make):
    for cycle, stage, step in [
        ("another", 4, 2),
        (CYCLE, 9, 2),
        (CYCLE, 4, 9),
        (CYCLE, "four", 2),
        (CYCLE, 4, -1),
        (CYCLE, True, None),
        ("O'Brien; --", 4, 2),
    ]:
        with pytest.raises(CycleError, match="has no step"):
            make(cycle, stage, step)
    plan = make(*NEXT)
    with pytest.raises(BatchMonitoringError, match="Say why"):
        plan.apply(reason=" \x00 ")
    with transaction(), pytest.raises(CycleError, match="inside a transaction"):
        plan.apply(reason=WHY)
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(CycleError, match="is ARCHIVED"):
        make(*NEXT)
    assert actions(sql) == []


def test_a_cycle_that_was_archived_meanwhile_overtakes_a_plan(batch, sql):
    plan = hold_step(*NEXT)
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(PlanOvertakenError, match="the cycle was ACTIVE and is ARCHIVED"):
        plan.apply(reason=WHY)
    assert actions(sql) == []


def test_a_name_with_quotes_is_shown_as_a_call_that_can_be_copied(metastore, sql):
    name = "Q1 'late' \"x\""
    add_step(add_cycle(name), stage_num=3, step_num=1)
    hold_step(name, 3, 1).apply(reason=WHY)
    [item] = what_waits().items
    eval(item.mend).apply(reason="it is copied")
    assert actions(sql, "kind::text") == [("HOLD",), ("RELEASE",)]


# --- on without the others


@pytest.fixture
def waiting(metastore, workflows, sql) -> SeededBatch:
    """A batch that has ended, and whose next step waits for another one that failed."""
    done = analysis_batch([job("FINISHED", "1")])
    step = read_batch(done.batch_id)["step_id"]
    other = add_batch(step, "Analysis", [job("ERROR")], status=BatchStatus.ACTIVE)
    assert recon_batch(other.batch_id) == "ERROR"
    assert recon_batch(done.batch_id) == "COMPLETED"
    assert claims.claim_due() is None
    return done


def test_a_step_that_waits_for_another_batch_is_started_without_it(waiting, sql):
    assert f"release_step('{CYCLE}', 4, 2)" in str(what_waits())
    plan = release_step(*NEXT)
    assert "although it waits for batch" in str(plan)

    plan.apply(reason="We go on without them")

    assert should_execute_next_step(waiting.batch_id)
    claim = claims.claim_due()
    assert [run["batch_id"] for run in claim.served] == [waiting.batch_id]


def test_a_release_is_overtaken_if_the_step_waits_for_something_else_by_now(waiting, sql):
    plan = release_step(*NEXT)
    sql.execute("UPDATE irp_batch SET status = 'FAILED' WHERE status = 'ERROR'")
    with pytest.raises(PlanOvertakenError, match="what the step waits for was waits for batch"):
        plan.apply(reason=WHY)
    assert rows(sql, "released") == [(False,)]


def test_a_held_step_that_waits_as_well_needs_two_releases(waiting, sql):
    hold_step(*NEXT).apply(reason=WHY)
    plan = release_step(*NEXT)
    assert "a second release starts it all the same" in str(plan)
    plan.apply(reason=WHY)
    assert claims.claim_due() is None

    release_step(*NEXT).apply(reason=WHY)

    assert claims.claim_due() is not None


def test_a_hold_keeps_a_released_step_from_being_started(waiting):
    release_step(*NEXT).apply(reason=WHY)
    hold_step(*NEXT).apply(reason=WHY)
    assert claims.claim_due() is None


# --- once more


def test_a_failed_step_is_due_again_with_the_chain_runs_that_led_to_it(failed, sql):
    assert f"plan_rerun('{CYCLE}', 4, 2)" in str(what_waits())
    plan = plan_rerun(*NEXT)
    assert f"serves what is due after batch {failed.batch_id} (FAILED)" in str(plan)

    plan.apply(reason="The template is there now")

    assert "failed" not in str(what_waits())
    assert actions(sql) == [("RERUN", "PLANNED", "The template is there now")]
    assert rows(sql) == [("PENDING", 0, None)]
    claim = claims.claim_due()
    assert [run["batch_id"] for run in claim.served] == [failed.batch_id]
    finish(claim)
    assert rows(sql, "status::text") == [("COMPLETED",)]
    assert actions(sql, "status::text, outcome") == [("DONE", "The step is COMPLETED.")]
    assert claims.claim_due() is None
    started = sql.execute("SELECT started_by FROM irp_step_run ORDER BY id DESC").fetchone()
    assert started[0].startswith("rerun for ")


def test_a_rerun_that_fails_waits_for_a_person_again_and_is_not_tried_again(failed, sql):
    plan_rerun(*NEXT).apply(reason=WHY)
    finish(claims.claim_due(), error="It is missing still")

    assert claims.claim_due() is None
    assert actions(sql, "status::text, outcome") == [("FAILED", "It is missing still")]
    shown = str(what_waits())
    assert shown.count("It is missing still") == 1
    assert "The template is missing" not in shown


def test_a_step_that_no_batch_leads_to_is_run_and_its_failure_is_shown(metastore, workflows, sql):
    step = add_step(add_cycle(CYCLE), stage_num=3, step_num=1)
    plan_rerun(CYCLE, 3, 1).apply(reason=WHY)

    claim = claims.claim_due()
    assert (claim.step_id, claim.served) == (step, ())
    finish(claim, error="No such file")

    assert "Next step" in str(what_waits())
    assert (
        f"No such file. Correct the cause, and run it. Mend it, in the notebook Manage Batches: "
        f"plan_rerun('{CYCLE}', 3, 1)" in str(what_waits())
    )
    plan_rerun(CYCLE, 3, 1).apply(reason=WHY)
    finish(claims.claim_due())
    assert "Nothing waits for you" in str(what_waits())


def test_a_rerun_is_refused_while_the_step_runs_and_overtaken_by_a_run_in_between(batch, sql):
    plan = plan_rerun(*NEXT)
    claim = claims.claim_due()
    with pytest.raises(CycleError, match="being run by"):
        plan_rerun(*NEXT).apply(reason=WHY)
    with pytest.raises(PlanOvertakenError, match="who runs the step was nobody"):
        plan.apply(reason=WHY)
    finish(claim)
    with pytest.raises(PlanOvertakenError, match="number of the step's claims was 0 and is 1"):
        plan.apply(reason=WHY)
    assert (actions(sql), claim_row(sql)[0][3]) == ([], None)


def test_a_held_step_is_not_made_due_and_a_due_one_not_twice(batch, sql):
    hold_step(*NEXT).apply(reason=WHY)
    with pytest.raises(CycleError, match="held by"):
        plan_rerun(*NEXT).apply(reason=WHY)
    release_step(*NEXT).apply(reason=WHY)
    plan_rerun(*NEXT).apply(reason=WHY)
    with pytest.raises(CycleError, match="due already"):
        plan_rerun(*NEXT).apply(reason=WHY)
    assert len(actions(sql)) == 3


def test_a_step_that_is_held_after_it_was_made_due_again_is_not_started(failed):
    plan_rerun(*NEXT).apply(reason=WHY)
    hold_step(*NEXT).apply(reason=WHY)
    assert claims.claim_due() is None
    release_step(*NEXT).apply(reason=WHY)
    assert claims.claim_due() is not None


def test_a_rerun_that_is_cut_off_is_tried_again_and_given_up_after_three_tries(failed, sql):
    plan_rerun(*NEXT).apply(reason=WHY)
    for _ in range(3):
        claim = claims.claim_due()
        begin(claim)
        claims.release(claim, reason="The monitor died")

    assert claims.claim_due() is None
    claims.give_up()

    assert actions(sql, "status::text") == [("FAILED",)]
    assert claim_row(sql)[0][3] is None
    assert f"plan_rerun('{CYCLE}', 4, 2)" in str(what_waits())


def test_a_rerun_without_a_try_left_is_not_tried_again_by_a_claim_for_another_batch(waiting, sql):
    plan_rerun(*NEXT).apply(reason=WHY)
    for _ in range(3):
        claims.release(claims.claim_due())
    step = read_batch(waiting.batch_id)["step_id"]
    third = add_batch(step, "Analysis", [job("FINISHED")], status=BatchStatus.ACTIVE)
    assert recon_batch(third.batch_id) == "COMPLETED"
    release_step(*NEXT).apply(reason=WHY)

    claim = claims.claim_due()

    assert [run["batch_id"] for run in claim.served] == [third.batch_id]
    assert claim.rerun_by is None


def test_a_claim_that_has_expired_overtakes_a_plan_once_and_not_for_ever(batch, sql):
    assert claims.claim_due() is not None
    sql.execute("UPDATE irp_step_claim SET claim_expires_ts = now() - interval '1 second'")
    with pytest.raises(PlanOvertakenError, match=r"\(RUNNING\) and is batch \d+ \(PENDING\)"):
        plan_rerun(*NEXT).apply(reason=WHY)

    plan_rerun(*NEXT).apply(reason=WHY)

    assert [run["batch_id"] for run in claims.claim_due().served] == [batch.batch_id]


def test_work_by_hand_in_between_does_not_use_up_a_rerun(failed, sql):
    plan_rerun(*NEXT).apply(reason=WHY)
    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 2")
    for _ in range(4):
        claims.release(claims.claim_for_work(step))
    assert claims.claim_due() is not None


def test_a_cycle_is_not_archived_while_a_rerun_is_due(metastore, workflows):
    add_step(add_cycle(CYCLE), stage_num=3, step_num=1)
    plan_rerun(CYCLE, 3, 1).apply(reason=WHY)
    with pytest.raises(CycleError, match=r"rerun \d+ of step 3.1"):
        archive_cycle(CYCLE, WHY)


def test_a_pass_runs_what_a_person_wants_run_again_and_a_run_by_hand_serves_it_too(
    metastore, moodys, workflows, sql
):
    add_step(add_cycle(CYCLE), stage_num=3, step_num=1)
    notebook = step_notebook(workflows, "print('done')", cycle=CYCLE, stage_num=3, step_num=1)
    plan_rerun(CYCLE, 3, 1).apply(reason=WHY)

    run_pass()
    assert actions(sql, "status::text, outcome") == [("DONE", "The step is COMPLETED.")]

    plan_rerun(CYCLE, 3, 1).apply(reason=WHY)
    assert execute_next_step(notebook)["success"]
    assert actions(sql, "status::text") == [("DONE",), ("DONE",)]
    run_pass()
    assert sql.execute("SELECT count(*) FROM irp_step_run").fetchone() == (2,)


def test_the_history_names_the_step(batch):
    hold_step(*NEXT).apply(reason=WHY)
    assert f"step 4.2 of {CYCLE}" in str(history())


def test_the_rows_of_a_plan_are_the_plans_own(batch, sql):
    plan = hold_step(*NEXT)
    plan.apply(reason=WHY)
    [(plan_id, step_id, person)] = actions(sql, "plan_id, step_id, person")
    assert plan_id == plan.plan_id
    assert step_id == plan.step["step_id"]
    assert person
    assert read_batch(batch.batch_id)["status"] == "COMPLETED"
