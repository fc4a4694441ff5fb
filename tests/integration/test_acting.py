"""What people do in a step holds its claim."""

import threading

import pytest

from helpers.batch import hold_step, recon_batch
from helpers.constants import BatchStatus, BatchType
from helpers.errors import BatchError
from helpers.monitor import what_waits
from helpers.notebooks.run import NotebookRun
from helpers.stage import StepNotebook, open_step
from helpers.steps import claims
from helpers.steps.acting import STEP_CLAIM_VARIABLE, acting_on
from helpers.steps.execution import STEP_ID_VARIABLE
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.analysis import CYCLE, analysis_batch, job
from tests.support.chains import finish
from tests.support.notebooks import step_notebook
from tests.support.waiting import wait_until

WORK = BatchType.PORTFOLIO_CREATION


@pytest.fixture
def step(metastore) -> int:
    return add_step(add_cycle("Q1"), stage_num=3, step_num=2)


def held(sql) -> list[tuple[int, bool]]:
    query = "SELECT attempt, owner IS NOT NULL FROM irp_step_claim"
    return sql.execute(query).fetchall()


def opened(step: int, monkeypatch) -> StepNotebook:
    monkeypatch.setenv(STEP_ID_VARIABLE, str(step))
    return open_step()


def test_work_in_a_step_holds_its_claim_and_releases_it(step, sql, monkeypatch):
    batch = add_batch(step, WORK, [PreparedJob()])
    seen = []

    opened(step, monkeypatch).do_work(lambda configuration: seen.append(held(sql)))

    assert seen == [[(1, True)]]
    assert held(sql) == [(1, False)]
    statuses = sql.execute("SELECT status::text FROM irp_job").fetchall()
    assert (batch.batch_id, statuses) == (1, [("FINISHED",)])


def test_work_beside_somebody_who_runs_the_step_is_refused_and_changes_nothing(
    step, sql, monkeypatch
):
    add_batch(step, WORK, [PreparedJob()])
    claims.claim_step(step)
    sql.execute("UPDATE irp_step_claim SET owner = 'ben@server pid 8 #2'")

    with pytest.warns(UserWarning, match="being run by ben@server pid 8 since"):
        notebook = opened(step, monkeypatch)
    with pytest.raises(BatchError, match="being run by ben@server pid 8 since"):
        notebook.do_work(lambda configuration: None)

    assert held(sql) == [(1, True)]
    assert sql.execute("SELECT status::text FROM irp_batch").fetchall() == [("INITIATED",)]


def test_a_person_who_opens_a_held_step_is_warned_and_may_run_it(step, sql, monkeypatch):
    add_batch(step, WORK, [PreparedJob()])
    hold_step("Q1", 3, 2).apply(reason="not tonight")

    with pytest.warns(UserWarning, match=r"held by .* \(not tonight\): no pass starts it"):
        notebook = opened(step, monkeypatch)

    assert notebook.do_work(lambda configuration: None).done == 1


def test_the_kernel_of_a_claim_acts_under_it(step, sql, monkeypatch):
    add_batch(step, WORK, [PreparedJob()])
    claim = claims.claim_step(step)
    monkeypatch.setenv(STEP_CLAIM_VARIABLE, f"{claim.step_id}:{claim.attempt}")

    assert opened(step, monkeypatch).do_work(lambda configuration: None).done == 1

    assert held(sql) == [(1, True)]


def test_the_kernel_of_a_claim_that_was_overtaken_is_refused_with_one_sentence(
    step, sql, monkeypatch
):
    add_batch(step, WORK, [PreparedJob()])
    claim = claims.claim_step(step)
    monkeypatch.setenv(STEP_CLAIM_VARIABLE, f"{claim.step_id}:{claim.attempt}")
    notebook = opened(step, monkeypatch)
    sql.execute("UPDATE irp_step_claim SET owner = 'the heir', attempt = attempt + 1")

    with pytest.raises(BatchError, match="Another run has claimed this step"):
        notebook.do_work(lambda configuration: None)

    assert sql.execute("SELECT status::text FROM irp_batch").fetchall() == [("INITIATED",)]


def test_another_step_than_that_of_the_claim_is_claimed(step, sql, monkeypatch):
    monkeypatch.setenv(STEP_CLAIM_VARIABLE, f"{step + 1}:1")

    with acting_on(step) as is_held:
        assert is_held()
        assert held(sql) == [(1, True)]


def test_threads_of_one_process_share_the_claim_until_the_last_has_ended(step, sql):
    first_may_end, second_has_begun = threading.Event(), threading.Event()

    def first() -> None:
        with acting_on(step):
            second_has_begun.wait(20)
        first_may_end.set()

    thread = threading.Thread(target=first)
    thread.start()
    wait_until(lambda: held(sql) == [(1, True)])
    with acting_on(step) as is_held:
        second_has_begun.set()
        first_may_end.wait(20)
        assert is_held()
        assert held(sql) == [(1, True)]
    thread.join(20)

    assert held(sql) == [(1, False)]


def test_whoever_loses_the_claim_learns_it(step, sql):
    with acting_on(step) as is_held:
        sql.execute("UPDATE irp_step_claim SET owner = 'the heir', attempt = attempt + 1")
        wait_until(lambda: not is_held())
    assert held(sql) == [(2, True)]


def test_a_batch_is_left_alone_while_its_step_is_run(step, sql):
    batch = add_batch(step, WORK, [PreparedJob()], status=BatchStatus.ACTIVE)
    claims.claim_step(step)

    with pytest.raises(BatchError, match="being run by"), acting_on(step):
        pass
    assert batch.batch_id == 1


# --- A notebook that a person runs cell by cell.


def step_runs(sql):
    query = "SELECT run_num, status::text, error_message, started_by FROM irp_step_run ORDER BY id"
    return sql.execute(query).fetchall()


@pytest.fixture
def failed_next_step(metastore, workflows, sql) -> int:
    """Step 4.2, which a batch has made due, and whose notebook has failed."""
    assert recon_batch(analysis_batch([job("FINISHED", "1")]).batch_id) == "COMPLETED"
    claim = claims.claim_due()
    finish(claim, error="The template is missing")
    assert "The template is missing" in str(what_waits())
    return claim.step_id


def test_running_a_failed_step_by_hand_is_on_record_and_clears_the_failure(
    failed_next_step, sql, monkeypatch
):
    monkeypatch.setenv("JUPYTERHUB_USER", "ana")
    notebook = opened(failed_next_step, monkeypatch)
    notebook.summary()
    notebook.summary()

    assert step_runs(sql)[1:] == [(2, "COMPLETED", None, "ana")]
    assert "Nothing waits for you" in str(what_waits())


def test_run_all_of_its_own_notebook_is_on_record_and_clears_the_failure(
    failed_next_step, sql, workflows, tmp_path
):
    cells = ["from helpers.stage import open_step", "step = open_step()\nstep", "step.summary()"]
    path = step_notebook(workflows, *cells, cycle=CYCLE, stage_num=4, step_num=2)

    outcome = NotebookRun(path, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert outcome.error is None
    assert [run[:2] for run in step_runs(sql)] == [(1, "FAILED"), (2, "COMPLETED")]
    assert "Nothing waits for you" in str(what_waits())


def test_a_run_by_hand_that_fails_is_on_record_and_clears_nothing(
    failed_next_step, sql, monkeypatch
):
    def fail(_step):
        raise BatchError("No such batch.")

    notebook = opened(failed_next_step, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("helpers.stage.step_notebook.summarise_stage", fail)
        with pytest.raises(BatchError, match="No such batch"):
            notebook.summary()
    assert [run[1:3] for run in step_runs(sql)[1:]] == [("FAILED", "No such batch.")]
    assert "The template is missing" in str(what_waits())

    notebook.summary()
    assert [run[1] for run in step_runs(sql)[1:]] == ["FAILED", "COMPLETED"]
    assert "Nothing waits for you" in str(what_waits())


def test_the_kernel_of_a_claim_and_a_notebook_beside_it_log_no_run_of_their_own(
    failed_next_step, sql, monkeypatch
):
    claim = claims.claim_step(failed_next_step)
    sql.execute("UPDATE irp_step_claim SET owner = 'ben@server pid 8 #2'")
    with pytest.warns(UserWarning, match="being run by"):
        opened(failed_next_step, monkeypatch).summary()
    monkeypatch.setenv(STEP_CLAIM_VARIABLE, f"{claim.step_id}:{claim.attempt}")
    opened(failed_next_step, monkeypatch).summary()

    assert len(step_runs(sql)) == 1
