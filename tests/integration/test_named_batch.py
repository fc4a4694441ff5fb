import pytest

from helpers.batch import choose_batch, history, plan_skip
from helpers.constants import BatchStatus, JobStatus
from helpers.errors import BatchError
from helpers.identity import person
from helpers.monitor import what_waits
from helpers.stage.step_notebook import StepNotebook
from sandbox.seeding import PreparedJob, SeededBatch, add_batch
from tests.support.analysis import analysis_batch


def job(name: str, status: JobStatus = JobStatus.FAILED, moodys_id: str | None = None):
    request = {"method": "POST", "path": "/platform/model/v1/jobs", "json": {}}
    return PreparedJob(status, moodys_id, request, {"Analysis Name": name, "edm_name": "EDM 1"})


@pytest.fixture
def batch(sql) -> SeededBatch:
    made = analysis_batch(
        [
            job("CAL EQ - Commercial", JobStatus.FINISHED, "1"),
            job("CAL EQ - Industrial", JobStatus.FAILED, "2"),
            job("CAL EQ - Residential", JobStatus.ERROR),
            job("CAL EQ - Energy", JobStatus.RUNNING, "4"),
        ],
        status=BatchStatus.ACTIVE,
    )
    sql.execute("UPDATE irp_batch SET status = 'FAILED', completed_ts = now()")
    return made


def test_a_batch_shows_its_jobs_by_name_those_that_need_a_person_first(batch):
    shown = str(choose_batch(batch.batch_id))

    order = ["Industrial", "Residential", "Energy", "Commercial"]
    assert sorted(order, key=lambda name: shown.index(f"CAL EQ - {name}")) == order
    assert "FAILED, 1 FINISHED, 1 FAILED, 1 ERROR, 1 RUNNING" in shown
    assert "batch.plan_resubmit()" in shown


def test_without_an_id_it_is_the_batch_that_ended_badly_last(batch):
    assert choose_batch().batch_id == batch.batch_id


def test_if_none_ended_badly_one_has_to_be_named(metastore):
    with pytest.raises(BatchError, match=r"choose_batch\(8\)"):
        choose_batch()


def test_jobs_are_named_as_people_write_them_or_by_id(batch):
    chosen = choose_batch(batch.batch_id)
    plan = chosen.plan_resubmit("cal eq -  industrial", batch.job_ids[2])
    assert [seen.job_id for seen in plan.jobs] == batch.job_ids[1:3]
    assert [seen.job_id for seen in chosen.plan_skip().jobs] == batch.job_ids[1:3]
    assert [seen.job_id for seen in chosen.plan_cancel().jobs] == [batch.job_ids[3]]
    assert [seen.job_id for seen in chosen.plan_priority("High").jobs] == [batch.job_ids[3]]


def test_a_name_that_no_job_has_is_reported_with_the_nearest_one(batch):
    with pytest.raises(BatchError, match="Did you mean 'CAL EQ - Industrial'"):
        choose_batch(batch.batch_id).plan_skip("CAL EQ - Industrail")


def test_a_name_that_two_jobs_have_is_recognised_by_ids(batch, sql):
    sql.execute("UPDATE irp_job SET job_configuration_id = %s", [batch.configuration_ids[1]])
    with pytest.raises(BatchError, match="several jobs called"):
        choose_batch(batch.batch_id).plan_skip("CAL EQ - Industrial")


def step_of(sql, batch: SeededBatch) -> StepNotebook:
    [(step_id,)] = sql.execute(
        "SELECT step_id FROM irp_batch WHERE id = %s", [batch.batch_id]
    ).fetchall()
    return StepNotebook({"step_id": step_id})  # type: ignore[typeddict-item]


def test_a_stage_notebook_mends_its_jobs_by_name(batch, sql):
    step = step_of(sql, batch)
    assert step.failed().failed_names() == ["CAL EQ - Industrial", "CAL EQ - Residential"]
    assert [seen.job_id for seen in step.skip("CAL EQ - Industrial").jobs] == [batch.job_ids[1]]
    assert [seen.job_id for seen in step.cancel("CAL EQ - Energy").jobs] == [batch.job_ids[3]]
    assert len(step.resubmit().jobs) == 2
    with pytest.raises(BatchError, match="No batch of this step has jobs called 'Marine'"):
        step.resubmit("Marine")


def test_a_step_with_several_batches_wants_to_know_which(batch, sql):
    step = step_of(sql, batch)
    other = add_batch(step.step["step_id"], "Analysis", [job("CAL EQ - Industrial")])
    with pytest.raises(BatchError, match=rf"{batch.batch_id}, {other.batch_id}"):
        step.resubmit("CAL EQ - Industrial")


def test_the_history_tells_who_did_what_when_and_why(batch, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ana")
    plan_skip(batch.batch_id, [batch.job_ids[1]]).apply(reason="Not needed")

    shown = str(history(batch.batch_id))

    assert f"1 action by hand in batch {batch.batch_id}" in shown
    for part in ("ana", "skip", f"job {batch.job_ids[1]}", "Not needed", "DONE"):
        assert part in shown
    assert "0 actions" in str(history(cycle_name="another"))


def test_people_are_named_by_jupyterhub_else_by_a_setting_else_by_their_account(monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert "@" in person()
    monkeypatch.setenv("MONITOR_USER", "bob")
    assert person() == "bob"
    monkeypatch.setenv("JUPYTERHUB_USER", "ana\x1b[31m")
    assert person() == "ana"


def test_what_waits_is_reported_without_a_pass_and_with_the_call_that_mends_it(batch, sql):
    shown = str(what_waits())
    assert "1 thing waits for you" in shown
    assert (
        f"Mend it, in the notebook Manage Batches: plan_resubmit({batch.batch_id})\n"
        in f"{shown}\n"
    )
    assert sql.execute("SELECT count(*) FROM irp_monitor_run").fetchone() == (0,)

    sql.execute("UPDATE irp_batch SET status = 'COMPLETED'")
    assert "Nothing waits for you." in str(what_waits())
