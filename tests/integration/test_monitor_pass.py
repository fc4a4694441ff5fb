"""One pass: what its sections report, what it survives, and what it leaves on record."""

import json
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import psycopg
import pytest

from helpers.batch import recon_batch
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace
from helpers.display import Remark, clock
from helpers.errors import DatabaseUnavailableError, SchemaOutdatedError, SettingsError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.bodies import MAX_READ_BYTES
from helpers.monitor import Monitor, run_pass
from helpers.notifications.outbox import send_due
from helpers.pass_health import pass_health
from helpers.recording import server_clock
from helpers.schedule.scheduled_copy import STAGING_DIR
from helpers.workflow_paths import MONITOR_NOTEBOOK
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook, write_notebook
from tests.support.passes import (
    FAMILIES,
    active_batch,
    configure,
    finished_batch,
    jobs_of,
    one_pass,
    rows,
    running,
    wait_until,
)

CYCLE = "Analysis-2025-Q1"
QUEUED = JobStatus.QUEUED


@pytest.fixture
def cycle(metastore, workflows) -> int:
    return add_cycle(CYCLE)


def monitor_runs(sql: psycopg.Connection) -> list[tuple]:
    return rows(
        sql,
        "SELECT batches_found, batches_settled, jobs_polled, polls_failed, status_changes, "
        "chains_run, cards_sent, jsonb_array_length(errors) FROM irp_monitor_run "
        "WHERE finished_ts IS NOT NULL ORDER BY id",
    )


def test_an_empty_database_gives_nothing_to_do_and_no_error(metastore, workflows, sql):
    done = one_pass()

    assert str(done.found).startswith("Nothing to do: no batch is active in an active cycle.\n")
    assert str(done.polled) == "No job to ask Moody's about."
    assert str(done.reconciled) == "No batch to reconcile."
    assert str(done.chained) == "No step was due."
    assert done.summary.headline == "Nothing to watch: there is no cycle yet."
    assert done.summary.next_run == "not needed until a batch is submitted"
    assert not done.summary.failed
    assert monitor_runs(sql) == [(0, 0, 0, 0, 0, 0, 0, 0)]


def test_one_pass_polls_all_eight_types_and_leaves_synchronous_ones_alone(
    cycle, moodys, teams, sql, workflows
):
    polled = [
        active_batch(cycle, kind, [running(moodys, family, "FINISHED"), running(moodys, family)])
        for kind, family in FAMILIES.items()
    ]
    synchronous = [
        active_batch(cycle, kind, [PreparedJob(JobStatus.FINISHED, "N/A"), PreparedJob()])
        for kind in sorted(set(BatchType) - BatchType.polled())
    ]

    done = one_pass()

    assert [item["batch_id"] for item in done.found.batches] == [
        batch.batch_id for batch in polled + synchronous
    ]
    assert (done.polled.jobs_due, done.polled.jobs_polled, done.polled.polls_failed) == (16, 16, 0)
    assert done.polled.jobs_moved == 16  # SUBMITTED became FINISHED or RUNNING
    assert done.polled.errors == done.polled.remarks == []
    statuses = jobs_of(sql)
    for batch in polled:
        assert [statuses[i] for i in batch.job_ids] == ["FINISHED", "RUNNING"]
    for batch in synchronous:
        assert [statuses[i] for i in batch.job_ids] == ["FINISHED", "INITIATED"]
    assert set(done.became.values()) == {"ACTIVE"}
    assert rows(
        sql, "SELECT count(*), count(tracking_data), count(error_message) FROM irp_job_tracking_log"
    ) == [(16, 16, 0)]
    assert done.summary.batches_found == done.summary.batches_processed == 12
    assert done.summary.active_batches == 12
    assert monitor_runs(sql) == [(12, 0, 16, 0, 16, 0, 0, 0)]


def test_batches_of_archived_cycles_and_batches_that_are_not_active_are_left_alone(
    cycle, moodys, sql
):
    archived = add_cycle("Analysis-2024-Q4", status=CycleStatus.ARCHIVED)
    active_batch(archived, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])
    step = add_step(cycle, stage_num=4, step_num=1)
    for status in set(BatchStatus) - {BatchStatus.ACTIVE}:
        add_batch(step, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")], status=status)

    done = one_pass()

    assert done.found.batches == []
    assert set(jobs_of(sql).values()) == {"SUBMITTED"}
    assert moodys.statistics()["requests_total"] == 0


def test_a_batch_that_is_done_is_completed_chained_and_summed_up_in_one_pass(
    cycle, moodys, teams, sql, workflows
):
    batch = active_batch(cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FINISHED")])
    notebook = step_notebook(workflows, "print('next')", cycle=CYCLE, stage_num=3, step_num=4)

    done = one_pass()

    assert done.became == {batch.batch_id: "COMPLETED"}
    assert done.reconciled.headline == "1 batch: 1 COMPLETED."
    assert (
        done.reconciled.batches[0].outcome.chain
        == "Step 3.4 starts by itself: the batch is COMPLETED."
    )
    [step] = done.chained.steps
    assert (step.error, step.next_step_num, str(step.status)) == (None, 4, "COMPLETED")
    assert step.executed_path.startswith(f"workflows/Active_{CYCLE}/runs/S03-04 ")
    assert done.chained.headline == "1 next step started."
    summary = done.summary
    assert (summary.batches_completed, summary.batches_failed) == (1, 0)
    assert (summary.chains_executed, summary.chains_failed) == (1, 0)
    assert (summary.transitions, summary.cards_sent, summary.errors) == (1, 0, [])
    assert summary.next_run_ts is None
    assert rows(sql, "SELECT status::text, notebook_path FROM irp_chain_run") == [
        ("COMPLETED", str(notebook.resolve()))
    ]
    assert rows(sql, "SELECT status::text, run_num FROM irp_step_run") == [("COMPLETED", 1)]
    assert monitor_runs(sql) == [(1, 1, 1, 0, 1, 1, 0, 0)]

    again = one_pass()

    assert again.chained.steps == []
    assert monitor_runs(sql)[1] == (0, 0, 0, 0, 0, 0, 0, 0)


def test_a_failed_batch_sends_a_card_and_waits_for_people_in_every_summary(
    cycle, moodys, teams, sql
):
    reason = "Vulnerability curve missing: construction class 999."
    batch = active_batch(
        cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FAILED", reason=reason)]
    )

    first, second = one_pass(), one_pass()

    assert first.became == {batch.batch_id: "FAILED"}
    assert (first.summary.cards_sent, first.summary.batches_failed) == (1, 1)
    assert (
        first.summary.headline
        == "1 batch failed just now, 1 thing waits for you; nothing is active."
    )
    [card] = teams.messages
    assert reason in json.dumps(card)
    assert second.summary.cards_sent == 0
    for summary in (first.summary, second.summary):
        [item] = summary.waiting.items
        assert item.about == f"Batch {batch.batch_id} (MRI Import, step 3.3 of {CYCLE})"
        assert item.text.startswith("FAILED since ")
        assert "1 of 1 job failed. Job 1 (Moody's" in item.text
        assert f"): “{reason}”" in item.text
    assert not first.summary.failed  # the pass itself went well


def test_jobs_that_failed_are_reported_while_their_batch_is_active_and_once(
    cycle, moodys, teams, sql
):
    jobs = [
        running(moodys, "model", "FAILED", reason=message) for message in ("No curve.", "No data.")
    ]
    batch = active_batch(cycle, BatchType.ANALYSIS, [*jobs, running(moodys, "model", "RUNNING")])

    first, second = one_pass(), one_pass()

    assert first.became == {batch.batch_id: "ACTIVE"}
    assert first.summary.headline.startswith("2 jobs have failed so far, 1 thing waits for you; ")
    assert first.summary.severity == "error"
    assert not first.summary.failed
    [item] = first.summary.waiting.items
    assert item.about == f"Batch {batch.batch_id} (Analysis, step 4.1 of {CYCLE})"
    assert item.text.startswith("2 of 3 jobs have failed so far; 1 is still open. ")
    assert "“No curve.”" in item.text
    assert [done.summary.cards_sent for done in (first, second)] == [1, 0]
    [card] = map(json.dumps, teams.messages)
    assert "FAILING: Analysis" in card
    assert "2 of 3 jobs have failed so far; 1 is still open." in card
    assert "No data." in card


def test_the_card_of_a_batch_that_has_ended_replaces_the_early_one_that_was_not_sent(
    cycle, moodys, teams, sql
):
    open_job = running(moodys, "model", "RUNNING")
    batch = active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FAILED"), open_job])
    teams.misbehave(Fault.HTTP_STATUS, http_status=503)
    one_pass()
    teams.behave()
    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [batch.job_ids[1]])
    sql.execute("UPDATE irp_notification SET next_attempt_ts = now()")

    one_pass()

    about_batch = (
        "SELECT kind::text, status::text FROM irp_notification"
        " WHERE chain_run_id IS NULL ORDER BY id"
    )
    assert rows(sql, about_batch) == [("JOBS_FAILED", "SUPPRESSED"), ("BATCH_FAILED", "SENT")]
    assert "FAILING" not in json.dumps(teams.messages)


def test_an_early_card_that_teams_accepts_while_its_batch_ends_is_on_record_as_sent(
    cycle, moodys, teams, sql
):
    jobs = [running(moodys, "model", "FAILED"), running(moodys, "model", "RUNNING")]
    batch = active_batch(cycle, BatchType.ANALYSIS, jobs)
    teams.misbehave(Fault.HTTP_STATUS, http_status=503)
    one_pass()
    sql.execute("UPDATE irp_notification SET next_attempt_ts = now()")

    def accept(_card: dict[str, object]) -> None:
        sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [batch.job_ids[1]])
        recon_batch(batch.batch_id)

    assert send_due(send=accept).cards == 1

    [early, *_] = rows(sql, "SELECT kind::text, status::text FROM irp_notification ORDER BY id")
    assert early == ("JOBS_FAILED", "SENT")


def test_each_activation_has_an_early_card_of_its_own(cycle, moodys, teams, sql):
    jobs = [running(moodys, "model", "FAILED"), running(moodys, "model", "RUNNING")]
    active_batch(cycle, BatchType.ANALYSIS, jobs)
    one_pass()

    sql.execute("UPDATE irp_batch SET status = 'FAILED', completed_ts = now()")
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE', completed_ts = NULL")
    one_pass()

    assert rows(sql, "SELECT kind::text, activation_num FROM irp_notification ORDER BY id") == [
        ("JOBS_FAILED", 1),
        ("JOBS_FAILED", 2),
    ]


def test_prepared_jobs_that_nobody_submits_are_reported_as_what_they_are(cycle, moodys, sql):
    step_id = add_step(cycle, stage_num=4, step_num=1)
    later = add_step(cycle, stage_num=5, step_num=1)
    batch = add_batch(step_id, BatchType.ANALYSIS, [PreparedJob()] * 3)
    add_batch(later, BatchType.GROUPING, [PreparedJob()] * 2)

    waits = one_pass().summary
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE' WHERE id = %s", [batch.batch_id])
    watched = one_pass().summary

    [item] = waits.waiting.items
    assert item.about == f"Cycle {CYCLE}"
    assert item.text == "3 prepared jobs of step 4.1 are not submitted. Run the step's notebook."
    assert item.mend == f"plan_rerun({CYCLE!r}, 4, 1)"
    assert waits.headline == "1 thing waits for you; nothing is active."
    assert not [
        item for item in watched.waiting.items if "prepared" in item.text
    ]  # later steps wait


def test_a_cycle_without_batches_and_an_empty_metastore_are_reported_as_what_they_are(
    metastore, workflows, sql
):
    empty = one_pass().summary.headline
    cycle = add_cycle(CYCLE)
    without_batch = one_pass().summary.headline
    step = add_step(cycle, stage_num=4, step_num=1)
    add_batch(step, BatchType.ANALYSIS, [PreparedJob()], status=BatchStatus.COMPLETED)
    sql.execute("UPDATE irp_job SET status = 'FINISHED'")
    done = one_pass().summary.headline
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")

    assert empty == "Nothing to watch: there is no cycle yet."
    assert without_batch == f"Nothing to watch: cycle {CYCLE} has no batch yet."
    assert done == "All is well; nothing is active."
    assert one_pass().summary.headline == "Nothing to watch: no cycle is active."


def test_what_waits_names_the_analysis_whose_reason_it_shows(cycle, moodys, sql):
    active_batch(
        cycle,
        BatchType.ANALYSIS,
        [
            running(moodys, "model", "FAILED", reason=message)
            for message in ("No curve.", "No data.")
        ],
    )
    sql.execute(
        """UPDATE irp_job_configuration SET job_configuration_data = '{"analysis": "CAL"}'"""
    )

    batch, _ = one_pass().summary.waiting.items

    assert batch.text.count("CAL (Moody's ") == 2
    assert "2 of 2 jobs failed. CAL (Moody's " in batch.text
    assert "): “No curve.”; CAL (" in batch.text
    assert "): “No data.”" in batch.text
    assert batch.mend.startswith("plan_resubmit(")


def test_the_next_run_is_recommended_an_interval_after_the_start(cycle, moodys, monkeypatch):
    configure(monkeypatch, monitor_interval_seconds=300)
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model")])

    summary = run_pass()

    assert summary.next_run_ts - summary.started_ts == timedelta(seconds=300)
    assert abs(summary.started_ts - datetime.now(UTC)) < timedelta(minutes=5)
    assert summary.next_run == clock(summary.next_run_ts, summary.started_ts)


def test_a_pass_that_took_longer_than_the_interval_recommends_a_run_at_once(
    cycle, moodys, monkeypatch
):
    configure(monkeypatch, monitor_interval_seconds=0.001)
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model")])

    summary = run_pass()

    assert summary.started_ts + timedelta(seconds=0.001) < summary.next_run_ts
    assert summary.next_run_ts <= server_clock()()


# --- What Moody's may answer, and what may stand in the metastore.

BAD_ANSWERS = [
    (Fault.HTTP_STATUS, {"http_status": 204}, 204, "nothing to say about job"),
    (Fault.HTTP_STATUS, {"http_status": 401}, 401, "refuses the credentials"),
    (Fault.HTTP_STATUS, {"http_status": 404}, 404, "does not know job"),
    (Fault.HTTP_STATUS, {"http_status": 429}, 429, "asks for fewer requests"),
    (Fault.HTTP_STATUS, {"http_status": 500}, 500, "down or overloaded"),
    (Fault.HTTP_STATUS, {"http_status": 503}, 503, "down or overloaded"),
    (Fault.HTML_403, {}, 403, "with an HTML page"),
    (Fault.HANG, {}, None, "did not answer in time"),
    (Fault.RESET, {}, None, "closed the connection"),
    (Fault.TRUNCATED, {}, None, "closed the connection"),
    (Fault.MALFORMED_JSON, {}, 200, "not JSON"),
    (Fault.HUGE, {"size_bytes": 2 * MAX_READ_BYTES}, 200, "more than 32 MB"),
    (Fault.NOT_AN_OBJECT, {}, 200, "JSON that does not describe a job"),
    (Fault.NO_STATUS, {}, 200, "status"),
    (Fault.WRONG_JOB_ID, {}, 200, "not about job"),
]


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=lambda bad: f"{bad[0]}-{bad[2]}")
def test_a_bad_answer_is_a_failed_poll_on_record_and_changes_nothing_else(
    cycle, moodys, sql, monkeypatch, bad
):
    fault, how, http_status, words = bad
    configure(monkeypatch, monitor_poll_budget_seconds=8)
    IRPClient().transport.close()  # what it imports is loaded before a clock runs
    jobs = [PreparedJob(QUEUED, moodys.add_job("geohaz", status="FINISHED")) for _ in range(2)]
    batch = active_batch(cycle, BatchType.GEOHAZ, jobs)
    moodys.misbehave(fault, job_ids={jobs[0].workflow_id}, **how)

    done = one_pass()

    assert list(jobs_of(sql).values()) == ["QUEUED", "FINISHED"]
    [(error, status, recorded)] = rows(
        sql,
        "SELECT error_message, job_status, http_status FROM irp_job_tracking_log WHERE job_id = %s",
        batch.job_ids[0],
    )
    assert words in error
    assert (status, recorded) == (None, http_status)
    assert done.polled.remarks == [Remark(f"Job {batch.job_ids[0]}", error)]
    assert (done.polled.jobs_polled, done.polled.polls_failed) == (2, 1)
    assert done.became == {batch.batch_id: "ACTIVE"}
    assert done.summary.errors == done.polled.remarks
    assert monitor_runs(sql) == [(1, 0, 2, 1, 1, 0, 0, 1)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault.UNKNOWN_STATUS, "ARCHIVED"), (Fault.LOWER_CASE_STATUS, "finished")],
)
def test_a_status_that_nobody_knows_is_kept_word_for_word_and_never_counts_as_done(
    cycle, moodys, sql, fault, message
):
    job = PreparedJob(QUEUED, moodys.add_job("geohaz", status="FINISHED"))
    batch = active_batch(cycle, BatchType.GEOHAZ, [job])
    moodys.misbehave(fault)

    done = one_pass()

    assert list(jobs_of(sql).values()) == ["QUEUED"]
    assert rows(sql, "SELECT job_status, error_message FROM irp_job_tracking_log") == [
        (message, None)
    ]
    assert done.became == {batch.batch_id: "ACTIVE"}
    assert f"Moody's says '{message}', an unrecognised status" in str(done.polled)
    [item] = done.summary.waiting.items
    assert message in item.text


def test_jobs_that_cannot_be_polled_are_named_and_the_others_polled(cycle, moodys, sql):
    never_submitted = active_batch(cycle, BatchType.GEOHAZ, [PreparedJob(JobStatus.INITIATED)])
    no_number = active_batch(cycle, BatchType.MRI_IMPORT, [PreparedJob(QUEUED, "12a/../34")])
    no_type = active_batch(cycle, "Windstorm <Magic>", [PreparedJob(QUEUED, "31")])
    fine = active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])

    done = one_pass()

    assert done.polled.not_submitted == never_submitted.job_ids
    assert done.polled.errors == []
    [remark] = done.polled.remarks
    assert remark.about == f"Job {no_number.job_ids[0]}"
    assert remark.text == "'12a/../34' is not a valid job id (a positive integer)."
    assert list(jobs_of(sql).values()) == ["INITIATED", "QUEUED", "QUEUED", "FINISHED"]
    assert rows(
        sql,
        "SELECT job_id, error_message FROM irp_job_tracking_log WHERE error_message IS NOT NULL",
    ) == [(no_number.job_ids[0], remark.text)]
    assert done.became[fine.batch_id] == "COMPLETED"
    assert {done.became[b.batch_id] for b in (never_submitted, no_number, no_type)} == {"ACTIVE"}
    about = " ".join(item.about for item in done.summary.waiting.items)
    assert f"Batch {never_submitted.batch_id} " in about
    assert f"Batch {no_number.batch_id} " in about
    [waits] = [
        item for item in done.summary.waiting.items if f"Batch {no_type.batch_id} " in item.about
    ]
    assert "'Windstorm <Magic>' is not a known batch type" in waits.text


@pytest.mark.parametrize("http_status", [302, 407])
def test_what_stands_in_the_way_of_all_jobs_is_listed_once(cycle, moodys, http_status):
    active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz") for _ in range(12)])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=http_status)

    done = one_pass()

    [error] = done.summary.errors
    assert f"Moody's answered {http_status}" in error.text


def test_a_batch_of_an_unknown_type_waits_for_a_person_and_is_not_an_error(cycle, moodys, sql):
    running_job = running(moodys, "model", "FINISHED")
    prepared = PreparedJob(request={"method": "POST", "path": "/platform/model/v1/jobs"})
    batch = active_batch(cycle, "analysis", [running_job, prepared])

    for done in (one_pass(), one_pass()):
        assert done.became == {batch.batch_id: "ACTIVE"}
        assert done.summary.errors == []
        [waits] = done.summary.waiting.items
        assert f"Batch {batch.batch_id}" in waits.about
        assert "did you mean 'Analysis'?" in waits.text
        assert all(batch_type in waits.text for batch_type in BatchType)
    assert list(jobs_of(sql).values()) == ["SUBMITTED", "INITIATED"]
    assert moodys.statistics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("kind", "family"), [(BatchType.ANALYSIS, "model"), (BatchType.GEOHAZ, "geohaz")]
)
def test_an_id_that_another_tool_wrote_with_zeros_is_the_same_id(cycle, moodys, sql, kind, family):
    jobs = [running(moodys, family) for _ in range(2)]
    written = [f"000{job.workflow_id}" for job in jobs]
    active_batch(cycle, kind, [PreparedJob(JobStatus.SUBMITTED, i) for i in written])
    assert one_pass().polled.errors == []
    moodys.set_status(jobs[0].workflow_id, "FINISHED")

    done = one_pass()

    assert done.polled.remarks == done.polled.errors == []
    assert sorted(jobs_of(sql).values()) == ["FINISHED", "RUNNING"]


def test_a_host_that_is_down_is_reported_once_and_the_other_families_are_polled(
    cycle, moodys, sql, monkeypatch
):
    configure(monkeypatch, monitor_poll_workers=2)
    jobs = [running(moodys, "geohaz") for _ in range(40)]
    active_batch(cycle, BatchType.GEOHAZ, jobs)
    active_batch(cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FINISHED")])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, families={"geohaz"}, retry_after="1")

    done = one_pass()

    [remark] = done.polled.errors
    assert remark.about == "Moody's geohaz jobs"
    assert f"{done.polled.not_asked} jobs not asked, first in the next pass." in remark.text
    assert done.polled.not_asked + done.polled.polls_failed == 40
    assert done.polled.polls_failed < 10
    assert list(jobs_of(sql).values()) == ["SUBMITTED"] * 40 + ["FINISHED"]


def test_with_too_little_time_nobody_is_asked_twice_before_everybody_is_asked_once(
    cycle, moodys, sql, monkeypatch
):
    configure(monkeypatch, monitor_poll_workers=1, monitor_poll_budget_seconds=0.5)
    IRPClient().transport.close()  # what it imports is loaded before a clock runs
    read = active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz") for _ in range(12)])
    searched = active_batch(
        cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED") for _ in range(5)]
    )
    moodys.misbehave(Fault.LATENCY, seconds=0.1, families={"geohaz"})
    polls = (
        "SELECT count(*) FROM irp_job_tracking_log JOIN irp_job AS job ON job.id = job_id "
        "WHERE job.batch_id = %s GROUP BY job.id"
    )

    wait_until(lambda: one_pass() and (2,) in rows(sql, polls, read.batch_id))

    assert len(rows(sql, polls, searched.batch_id)) == 5


# --- What makes a pass pointless: one message that says what to do.


def test_missing_settings_are_one_message_and_block_chaining_but_not_reconciling(
    cycle, sql, workflows, monkeypatch
):
    active_batch(cycle, BatchType.ANALYSIS, [PreparedJob(QUEUED, "31")])
    finished_batch(cycle, BatchType.MRI_IMPORT)

    done = one_pass()

    assert done.polled.refused.startswith(
        "Moody's cannot be asked: RISK_MODELER_BASE_URL, RISK_MODELER_RESOURCE_GROUP_ID, "
        "RISK_MODELER_API_KEY are not set. Set them in the environment or in .env"
    )
    assert done.polled.not_asked == 1
    assert done.summary.errors == [Remark("Moody's", done.polled.refused)]
    assert done.chained.headline.startswith("No step was started, because it would fail as well")
    assert list(jobs_of(sql).values()) == ["QUEUED", "FINISHED"]
    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("PENDING", 0)]


def test_refused_credentials_end_the_polling_at_once_without_showing_them(
    cycle, moodys, sql, monkeypatch
):
    secret = "wrong-key-4711-abcdef"
    configure(monkeypatch, risk_modeler_api_key=secret, monitor_poll_workers=2)
    active_batch(
        cycle, BatchType.GEOHAZ, [running(moodys, "geohaz", "FINISHED") for _ in range(30)]
    )

    done = one_pass()

    assert "refuses the credentials (401)" in done.polled.refused
    assert "RISK_MODELER_API_KEY" in done.polled.refused
    assert moodys.statistics()["requests_total"] <= 5 + 2  # five in a row, and what was under way
    assert set(jobs_of(sql).values()) == {"SUBMITTED"}
    assert [error.about for error in done.summary.errors].count("Moody's") == 1
    for report in (done.polled, done.summary):
        assert secret not in str(report) + report._repr_html_()


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        (None, SettingsError, "Set DATABASE_URL"),
        ("postgresql://u:s3cret-word@127.0.0.1:1/x", DatabaseUnavailableError, "DATABASE_URL"),
        ("postgresql://u:s3cret-word@[half/y", SettingsError, "DATABASE_URL cannot be read"),
    ],
)
def test_a_database_that_cannot_be_used_ends_the_pass_with_one_message(
    monkeypatch, url, error, words
):
    configure(monkeypatch, database_url=url)

    with pytest.raises(error) as caught:
        Monitor()

    assert words in str(caught.value)
    shown = "".join(caught.value._render_traceback_())
    assert shown == f"{error.__name__}: {caught.value}"
    assert "s3cret" not in shown


def test_a_database_behind_on_migrations_is_informed_and_nothing_is_written(empty_database):
    with pytest.raises(
        SchemaOutdatedError, match=r"Apply them with `python -m helpers\.database mig"
    ):
        Monitor()

    with psycopg.connect(empty_database) as connection:
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        assert connection.execute(tables).fetchone() == (0,)


# --- One item's trouble is one item's trouble.

RAISE_FOR = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'this row is broken'; END $$;
"""


def test_a_batch_that_cannot_be_reconciled_does_not_stop_the_others(cycle, sql):
    first = finished_batch(cycle, BatchType.GROUPING_ROLLUP)
    broken = finished_batch(cycle, BatchType.ANALYSIS)
    last = finished_batch(cycle, BatchType.EXPORT_TO_RDM)
    sql.execute(
        RAISE_FOR + "CREATE TRIGGER refuse BEFORE UPDATE ON irp_batch FOR EACH ROW "
        f"WHEN (OLD.id = {broken.batch_id}) EXECUTE FUNCTION refuse()"
    )

    done = one_pass()

    assert done.became == {first.batch_id: "COMPLETED", last.batch_id: "COMPLETED"}
    assert done.reconciled.errors == [Remark(f"Batch {broken.batch_id}", "this row is broken")]
    assert done.summary.failed
    assert rows(sql, "SELECT errors FROM irp_monitor_run") == [
        (
            [
                {"about": f"Batch {broken.batch_id}", "text": "this row is broken"},
                *({"about": error.about, "text": error.text} for error in done.summary.errors[1:]),
            ],
        )
    ]
    assert rows(
        sql, "SELECT count(*) FROM irp_batch_recon_log WHERE batch_id = %s", broken.batch_id
    ) == [(0,)]


def test_a_job_whose_answer_cannot_be_recorded_does_not_stop_the_others(cycle, moodys, sql):
    jobs = [running(moodys, "model", "FINISHED") for _ in range(9)]
    batch = active_batch(cycle, BatchType.ANALYSIS, jobs)
    broken = batch.job_ids[4]
    sql.execute(
        RAISE_FOR + "CREATE TRIGGER refuse BEFORE UPDATE ON irp_job FOR EACH ROW "
        f"WHEN (OLD.id = {broken}) EXECUTE FUNCTION refuse()"
    )

    done = one_pass()

    statuses = jobs_of(sql)
    assert statuses.pop(broken) == "SUBMITTED"
    assert set(statuses.values()) == {"FINISHED"}
    text = "The answer could not be recorded: this row is broken"
    assert done.polled.remarks == [Remark(f"Job {broken}", text)]
    assert done.became == {batch.batch_id: "ACTIVE"}


def test_a_section_that_breaks_is_an_error_and_the_pass_goes_on(cycle, moodys, sql):
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])
    done_already = finished_batch(cycle, BatchType.GROUPING_ROLLUP)
    secret = moodys.access.api_key

    def break_down():
        raise LookupError(f"nothing under {secret}")

    monitor = Monitor(client=break_down)
    monitor.find_batches()
    polled = monitor.poll_jobs()
    reconciled = monitor.reconcile_batches()
    monitor.execute_next_steps()
    summary = monitor.summarise()

    assert polled.errors == [Remark("Polling", "LookupError: nothing under ***")]
    assert [item.outcome.status for item in reconciled.batches] == ["ACTIVE", "COMPLETED"]
    assert reconciled.batches[1].batch["batch_id"] == done_already.batch_id
    assert summary.errors[0] == polled.errors[0]
    assert len(monitor_runs(sql)) == 1


def test_a_batch_that_another_pass_holds_is_shown_with_its_holder_and_left_alone(
    cycle, moodys, sql
):
    held = active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])
    free = active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz", "FINISHED")])

    with AdvisoryLocks(owner="monitor far.away pid 4711") as locks:
        assert locks.try_acquire(LockSpace.POLL_BATCH, [held.batch_id])
        done = one_pass()

    assert done.polled.held_elsewhere == {held.batch_id: "monitor far.away pid 4711"}
    shown = f"batch {held.batch_id} is polled by another run: monitor far.away pid 4711"
    assert shown in str(done.polled)
    assert done.became == {free.batch_id: "COMPLETED"}
    assert done.reconciled.left_to_others == 1
    assert jobs_of(sql)[held.job_ids[0]] == "SUBMITTED"
    assert done.summary.batches_found == 2
    assert done.summary.batches_processed == 1

    assert one_pass().became == {held.batch_id: "COMPLETED"}


def test_a_scheduled_pass_of_an_older_copy_is_reported_everywhere(
    metastore, workflows, tmp_path, monkeypatch
):
    source = workflows / MONITOR_NOTEBOOK
    write_notebook(source, "import helpers.monitor")
    staged = tmp_path / STAGING_DIR / "a run" / source.name
    write_notebook(staged, "import helpers.monitor  # as it was")
    monkeypatch.chdir(staged.parent)
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", ModuleType("kernelapp"))

    [warning] = run_pass().warnings

    assert "not the one of the installed package" in warning
    assert pass_health().warnings() == [warning]


def test_a_pass_leaves_no_lock_and_no_open_transaction(cycle, moodys, sql):
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model")])

    run_pass()

    assert rows(sql, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == []
    assert rows(
        sql,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%%'",
    ) == [(0,)]


def test_a_row_per_pass_stays_small_however_much_goes_wrong(cycle, moodys, sql):
    jobs = [PreparedJob(QUEUED, f"no number {n}") for n in range(250)]
    active_batch(cycle, BatchType.GEOHAZ, jobs)

    done = one_pass()

    assert len(done.summary.errors) == 250
    [(errors,)] = rows(sql, "SELECT errors FROM irp_monitor_run")
    assert len(errors) == 101
    assert errors[-1] == {"about": "…", "text": "and 150 more errors."}


# --- Teams.


def test_a_card_that_teams_does_not_take_stays_with_its_error_and_goes_out_in_a_later_pass(
    cycle, moodys, teams, sql
):
    active_batch(cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FAILED")])
    teams.misbehave(Fault.HTTP_STATUS, http_status=500)

    first = run_pass()

    assert (first.cards_sent, first.cards_waiting) == (0, 1)
    assert first.cards_problem
    assert first.cards_problem in str(first)
    assert rows(
        sql, "SELECT status::text, attempts, last_error IS NOT NULL FROM irp_notification"
    ) == [("PENDING", 1, True)]
    assert first.next_run_ts is not None
    assert teams.webhook_url not in str(first)

    teams.behave()
    sql.execute("UPDATE irp_notification SET next_attempt_ts = now()")
    second = run_pass()

    assert (second.cards_sent, second.cards_waiting) == (1, 0)
    assert len(teams.messages) == 1
    assert rows(sql, "SELECT status::text, attempts FROM irp_notification") == [("SENT", 2)]


# --- Names.

NAMES = [
    'O\'Brien "Q1"',
    "<script>alert(1)</script>",
    "spaces  and [brackets] {{ report }}",
    "x" * 255,
    "-- ; DROP TABLE irp_job; %s :name",
]


@pytest.mark.usefixtures("workflows")
@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_and_stored_exactly_and_escaped_in_html(moodys, teams, sql, name):
    cycle = add_cycle(name)
    job = running(moodys, "import", "FAILED", reason=f"no {name[:50]}")
    step = add_step(cycle, stage_num=3, step_num=3, stage_name=name, step_name=name)
    batch = add_batch(step, BatchType.MRI_IMPORT, [job], status=BatchStatus.ACTIVE)

    done = one_pass()

    assert rows(sql, "SELECT cycle_name FROM irp_cycle") == [(name,)]
    assert done.became == {batch.batch_id: "FAILED"}
    assert name in str(done.found)
    assert name in str(done.summary)
    html = done.found._repr_html_() + done.reconciled._repr_html_() + done.summary._repr_html_()
    assert "<script" not in html
    if "<" in name:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert len(teams.messages) == 1
    assert jobs_of(sql) == {batch.job_ids[0]: "FAILED"}
