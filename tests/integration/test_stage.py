"""What stage notebooks call: submitting, doing work, summing up; once, whoever calls."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.errors import BatchError, NotebookError
from helpers.job import read_job
from helpers.monitor import run_pass
from helpers.stage import StepNotebook, open_step
from helpers.steps.execution import NOTEBOOK_PATH_VARIABLE
from sandbox.misbehaviour import Fault
from sandbox.moodys_jobs import Script
from sandbox.seeding import PreparedJob, add_batch, add_configurations, add_cycle, add_jobs
from sandbox.seeding import add_step as seed_step
from tests.support.notebooks import step_notebook
from tests.support.passes import configure, jobs_of, rows

CYCLE = "Analysis-2025-Q1"


@pytest.fixture
def cycle(metastore, workflows) -> int:
    return add_cycle(CYCLE)


@pytest.fixture
def at(cycle, workflows, monkeypatch):
    """Opens a step as its notebook does; returns it with the step's id."""

    def open_at(stage_num: int, step_num: int) -> tuple[StepNotebook, int]:
        step_id = seed_step(cycle, stage_num=stage_num, step_num=step_num)
        path = step_notebook(workflows, cycle=CYCLE, stage_num=stage_num, step_num=step_num)
        monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(path))
        return open_step(), step_id

    return open_at


def analysis(name: str) -> PreparedJob:
    body = {
        "resourceUri": "/platform/riskdata/v1/exposures/1/portfolios/1",
        "resourceType": "portfolio",
        "type": "DLM",
        "settings": {"name": name, "modelProfileId": 1},
    }
    request = {"method": "POST", "path": "/platform/model/v1/jobs", "json": body}
    return PreparedJob(request=request, configuration={"analysis": name})


def work_of(*configurations: dict) -> list[PreparedJob]:
    return [PreparedJob(configuration=configuration) for configuration in configurations]


def test_a_step_that_the_metastore_does_not_know_is_reported(cycle, workflows, monkeypatch):
    path = step_notebook(workflows, cycle=CYCLE, stage_num=4, step_num=1)
    monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(path))

    with pytest.raises(NotebookError, match="has no stage 4, step 1 in cycle Analysis-2025-Q1"):
        open_step()


def row_of(text, first):
    """The cells of the line of a table that begins with this one."""
    [line] = [line for line in text.split("\n") if line.startswith(f"  {first}  ")]
    return re.split("  +", line.strip())


def test_where_nothing_is_prepared_it_says_so_without_asking_for_credentials(at):
    step, step_id = at(4, 1)
    add_batch(step_id, BatchType.ANALYSIS, status=BatchStatus.COMPLETED)

    submitted, done = str(step.submit_batch()), str(step.do_work(dict))
    assert submitted.startswith("Nothing was submitted: this step has no prepared batch.\n")
    assert done.startswith("Nothing was done: this step has no prepared batch.\n")
    assert "One that has ended is not submitted again." in submitted


def test_submitting_twice_submits_nothing_twice(at, moodys, sql):
    step, step_id = at(4, 1)
    batch = add_batch(step_id, BatchType.ANALYSIS, [analysis("A"), analysis("B")])

    first, second = step.submit_batch(), step.submit_batch()

    assert first.headline == "2 jobs submitted."
    assert second.submissions[0] == {
        "batch_id": batch.batch_id,
        "status": "ACTIVE",
        "submitted": 0,
        "failed": 0,
        "untouched": 2,
        "errors": [],
    }
    assert [received.name for received in moodys.submissions].count("A") == 1
    assert len(moodys.submissions) == 2
    assert row_of(repr(step), batch.batch_id) == [
        str(batch.batch_id),
        "Analysis",
        "● ACTIVE",
        "2 SUBMITTED",
    ]


def test_jobs_that_moodys_would_not_take_at_first_are_submitted_in_a_later_round(
    at, moodys, sql, monkeypatch
):
    monkeypatch.setattr("helpers.stage.step_notebook.RETRY_AFTER_SECONDS", (0.0, 0.0))
    step, step_id = at(4, 1)
    add_batch(step_id, BatchType.ANALYSIS, [analysis("A"), analysis("B")])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds={"submit"}, times=6)

    report = step.submit_batch()

    assert report.headline == "2 jobs submitted."
    assert report.submissions[0]["errors"] == []
    assert sorted(received.name for received in moodys.submissions) == ["A", "B"]


def test_a_step_whose_jobs_nobody_took_fails_visibly_and_may_be_run_again(
    at, moodys, sql, monkeypatch
):
    monkeypatch.setattr("helpers.stage.step_notebook.RETRY_AFTER_SECONDS", (0.0,))
    step, step_id = at(4, 1)
    add_batch(step_id, BatchType.ANALYSIS, [analysis(name) for name in "ABCDE"])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds={"submit"})

    with pytest.raises(BatchError, match=r"^5 jobs could not be submitted: Job 1: .* and 2 more"):
        step.submit_batch()
    moodys.behave()

    assert step.submit_batch().headline == "5 jobs submitted."
    assert len(moodys.submissions) == 5


def test_a_job_that_moodys_refuses_does_not_fail_the_step(at, moodys, sql):
    step, step_id = at(4, 1)
    add_batch(step_id, BatchType.ANALYSIS, [analysis("A"), analysis("B")])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=400, kinds={"submit"}, times=1)

    assert step.submit_batch().headline == "1 job submitted, 1 failed."


def test_work_completes_jobs_and_fails_them_with_their_reason(at, sql, monkeypatch):
    configure(monkeypatch, risk_modeler_api_key="s3cret-key-4711")
    step, step_id = at(2, 1)
    configurations = [{"n": n} for n in range(6)]
    batch = add_batch(step_id, BatchType.DATA_EXTRACTION, work_of(*configurations))

    def work(configuration: dict) -> object:
        match configuration["n"]:
            case 1:
                raise LookupError("no file \x1b[31mfor\x00 s3cret-key-4711")
            case 2:
                return {"itself": configurations[0].setdefault("itself", configurations[0])}
            case 3:
                return 7
            case 4:
                return None
            case number:
                return {"rows": 10 + number, "nul": "\x00"}

    report = step.do_work(work)

    assert list(jobs_of(sql).values()) == [
        "FINISHED",
        "FAILED",
        "FAILED",
        "FAILED",
        "FINISHED",
        "FINISHED",
    ]
    reasons = [error for (error,) in rows(sql, "SELECT last_error FROM irp_job ORDER BY id")]
    assert reasons[1] == "LookupError: no file for ***"
    assert reasons[2].startswith("ValueError: ")
    assert reasons[3].startswith("TypeError: ")
    assert report.headline == "3 jobs done, 3 failed."
    assert "s3cret" not in str(report) + report._repr_html_()
    assert f"Job {batch.job_ids[1]}: LookupError: no file for ***" in str(report)
    assert rows(sql, "SELECT status::text FROM irp_batch") == [("ACTIVE",)]  # the monitor decides
    summary = step.summary()
    assert summary.headline == "3 of 6 jobs finished, 3 did not succeed."
    assert summary.batches[0].totals == {"rows": 25}


def test_work_leaves_skipped_and_ended_jobs_alone_and_fails_those_without_configuration(at, sql):
    step, step_id = at(2, 1)
    batch = add_batch(step_id, BatchType.DATA_EXTRACTION, [PreparedJob(JobStatus.FINISHED)])
    [configuration] = add_configurations(batch.batch_id, [{"n": 1}])
    add_jobs(batch.batch_id, [PreparedJob()], configuration_ids=[configuration], skipped=True)
    [bare] = add_jobs(batch.batch_id, [PreparedJob()], configuration_ids=[None])
    done: list[dict] = []

    report = step.do_work(done.append)

    assert done == []
    assert list(jobs_of(sql).values()) == ["FINISHED", "INITIATED", "FAILED"]
    assert report.submissions[0]["errors"] == [f"Job {bare} was made without a configuration."]


def test_work_is_done_once_where_two_do_it_at_the_same_time(at, sql):
    step, step_id = at(2, 1)
    batch = add_batch(step_id, BatchType.DATA_EXTRACTION, work_of({"n": 1}, {"n": 2}))
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def work(configuration: dict) -> None:
        begun.set()
        assert go_on.wait(60)
        done.append(configuration["n"])

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(step.do_work, work)
        try:
            assert begun.wait(60)
            with pytest.raises(BatchError, match=f"Batch {batch.batch_id} is being submitted by"):
                step.do_work(work)
        finally:
            go_on.set()
        assert first.result(60).headline == "2 jobs done."

    assert done == [1, 2]
    assert step.do_work(work).submissions[0]["untouched"] == 2
    assert done == [1, 2]


def test_a_person_who_ends_a_job_during_its_work_wins(at, sql):
    step, step_id = at(2, 1)
    batch = add_batch(step_id, BatchType.DATA_EXTRACTION, work_of({"n": 1}, {"n": 2}))

    def work(configuration: dict) -> None:
        if configuration["n"] == 1:
            sql.execute("UPDATE irp_job SET status = 'CANCELLED' WHERE id = %s", [batch.job_ids[0]])

    report = step.do_work(work)

    assert list(jobs_of(sql).values()) == ["CANCELLED", "FINISHED"]
    assert report.submissions[0]["errors"] == [
        f"Job {batch.job_ids[0]} is CANCELLED: only a job that is INITIATED ends here."
    ]


def test_an_archived_cycle_is_not_worked_on(at, cycle, moodys, sql):
    step, step_id = at(4, 1)
    add_batch(step_id, BatchType.ANALYSIS, [analysis("A")])
    sql.execute("UPDATE irp_cycle SET status = %s", [CycleStatus.ARCHIVED])

    for action in (step.submit_batch, lambda: step.do_work(dict)):
        with pytest.raises(BatchError, match="ARCHIVED"):
            action()

    assert (list(jobs_of(sql).values()), moodys.submissions) == (["INITIATED"], [])


def test_a_summary_shows_what_was_submitted_finished_and_failed_and_why_and_how_long(
    at, cycle, moodys, sql
):
    step, step_id = at(4, 1)
    moodys.script(Script((), end="FINISHED"))
    moodys.script(Script((), end="FAILED", reason="no <b>hazard</b> data"), name="B*")
    batch = add_batch(
        step_id, BatchType.ANALYSIS, [analysis("A"), analysis("B [1]"), analysis("C")]
    )
    step.submit_batch()
    run_pass()
    sql.execute("UPDATE irp_batch SET completed_ts = submitted_ts + interval '95 s'")

    summary = step.summary()

    assert summary.headline == "2 of 3 jobs finished, 1 did not succeed."
    text = str(summary)
    assert row_of(text, "1 Step 1")[1:4] == [
        f"{batch.batch_id} Analysis",
        "✖ FAILED",
        "1 FAILED, 2 FINISHED",
    ]
    assert row_of(text, "1 Step 1")[5] == "1 min 35 s"
    assert row_of(text, f"{batch.batch_id} Analysis")[1:3] == ["1", "✖ FAILED"]
    assert row_of(text, f"{batch.batch_id} Analysis")[3].startswith("B [1] (Moody's ")
    assert "      no <b>hazard</b> data\n" in text
    html = summary._repr_html_()
    assert "no &lt;b&gt;hazard&lt;/b&gt; data" in html


def test_a_stage_without_a_batch_says_so(at):
    step, _ = at(4, 2)

    assert "This stage has no batch." in str(step.summary())
    assert repr(step) == f"{CYCLE}: stage 4 Stage 4, step 2 Step 2"


@pytest.mark.parametrize(
    ("batch_type", "job"),
    [
        (BatchType.ANALYSIS, PreparedJob(configuration={"n": 1})),
        ("analysis", PreparedJob(configuration={"n": 1}, request={"method": "POST", "path": "/x"})),
    ],
)
def test_work_that_is_not_the_notebook_s_own_is_not_done(at, batch_type, job):
    step, step_id = at(4, 1)
    batch = add_batch(step_id, batch_type, [job])
    done: list[object] = []

    report = step.do_work(done.append)

    assert (done, report.failed) == ([], 1)
    assert read_job(batch.job_ids[0])["status"] == "INITIATED"
