"""A database may have labels, types and states of the team's own: people are told, and no more."""

import psycopg
import pytest

from helpers.batch import get_active_batches, recon_batch, reconcile, submit_batch
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.errors import BatchError
from sandbox.seeding import PreparedJob, add_cycle
from tests.support.passes import active_batch, finished_batch, one_pass, rows, running


@pytest.fixture
def cycle(metastore, workflows) -> int:
    return add_cycle("Q1")


def add_label(sql: psycopg.Connection, enum: str) -> None:
    sql.execute(f"ALTER TYPE {enum} ADD VALUE 'ON_HOLD'")


def test_a_job_of_an_added_status_is_shown_with_its_reason_in_each_pass_and_never_an_error(
    cycle, moodys, sql
):
    add_label(sql, "job_status_enum")
    batch = active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model"), PreparedJob()])
    sql.execute("UPDATE irp_job SET status = 'ON_HOLD' WHERE id = %s", [batch.job_ids[0]])
    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [batch.job_ids[1]])

    for _ in range(2):
        done = one_pass()

        assert done.summary.errors == []
        assert (done.polled.jobs_polled, done.became) == (0, {batch.batch_id: "ACTIVE"})
        [to_do] = done.summary.waiting.items
        assert f"Job {batch.job_ids[0]}: ON_HOLD is an unrecognised status" in to_do.text
        assert "Set it to one of INITIATED, SUBMITTED" in to_do.text
    assert recon_batch(batch.batch_id) == BatchStatus.ACTIVE


def test_a_batch_of_an_added_status_is_shown_and_refused_as_a_batch_error(cycle, moodys, sql):
    add_label(sql, "batch_status_enum")
    batch = active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])
    sql.execute("UPDATE irp_batch SET status = 'ON_HOLD'")

    with pytest.raises(BatchError, match="is ON_HOLD, an unrecognised status; the batch was left"):
        recon_batch(batch.batch_id)
    for _ in range(2):
        done = one_pass()
        assert done.summary.errors == []
        [to_do] = done.summary.waiting.items
        assert to_do.about == f"Batch {batch.batch_id} (Analysis, step 4.1 of Q1)"
        assert "ON_HOLD is an unrecognised status" in to_do.text
    assert rows(sql, "SELECT status::text FROM irp_batch") == [("ON_HOLD",)]


@pytest.mark.parametrize("status", [None, "ON_HOLD"])
def test_a_cycle_that_is_not_active_by_name_is_not_watched_and_shown_once(
    cycle, moodys, sql, status
):
    add_label(sql, "cycle_status_enum")
    batches = [finished_batch(cycle, BatchType.ANALYSIS), finished_batch(cycle, BatchType.GEOHAZ)]
    sql.execute("UPDATE irp_cycle SET status = %s", [status])

    done = one_pass()

    assert get_active_batches() == done.found.batches == []
    [to_do] = done.summary.waiting.items
    assert to_do.about == "Cycle Q1"
    assert f"The cycle is {status or 'without a status'}" in to_do.text
    assert "2 active batches: make it ACTIVE or ARCHIVED" in to_do.text
    assert done.summary.next_run_ts is None
    with pytest.raises(BatchError, match=r"which is (UNSET|ON_HOLD)"):
        submit_batch(batches[0].batch_id, None)


def recon_log(sql: psycopg.Connection) -> list[str]:
    return [status for (status,) in rows(sql, "SELECT recon_result FROM irp_batch_recon_log")]


def test_a_decision_is_put_on_record_when_it_or_its_counts_change_and_once_an_hour(
    cycle, moodys, sql
):
    batch = active_batch(cycle, BatchType.ANALYSIS, [PreparedJob(JobStatus.RUNNING, "1")] * 2)
    first, second = batch.job_ids
    for _ in range(3):
        reconcile(batch.batch_id)
    assert recon_log(sql) == ["ACTIVE"]

    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [first])
    for _ in range(3):
        reconcile(batch.batch_id)
    assert recon_log(sql) == ["ACTIVE"] * 2

    sql.execute("UPDATE irp_batch_recon_log SET recon_ts = recon_ts - interval '61 minutes'")
    reconcile(batch.batch_id)
    assert recon_log(sql) == ["ACTIVE"] * 3

    recon_batch(batch.batch_id)  # by hand
    assert recon_log(sql) == ["ACTIVE"] * 4

    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [second])
    assert reconcile(batch.batch_id).status == "COMPLETED"
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE'")  # an ending is an event of its own
    assert reconcile(batch.batch_id).status == "COMPLETED"
    assert recon_log(sql) == ["ACTIVE"] * 4 + ["COMPLETED"] * 2


def test_after_the_clock_went_back_nothing_waits_for_a_time_in_the_future(cycle, moodys, sql):
    batch = active_batch(cycle, BatchType.ANALYSIS, [PreparedJob(JobStatus.RUNNING, "1")])
    one_pass()
    later = "now() + interval '5 hours'"
    sql.execute(f"UPDATE irp_batch_recon_log SET recon_ts = {later}")
    sql.execute(
        f"UPDATE irp_monitor_run SET started_ts = {later}, finished_ts = {later}, "
        f"tidied_ts = {later}"
    )
    sql.execute(
        f"UPDATE irp_job SET updated_ts = {later}, last_tracked_ts = {later}, "
        "submitted_ts = now() - interval '2 days', created_ts = now() - interval '2 days'"
    )
    logged = len(recon_log(sql))

    stuck = reconcile(batch.batch_id)

    assert len(recon_log(sql)) == logged + 1
    assert "has been RUNNING for over 4 hours" in stuck.attention[0]
    done = one_pass()
    assert done.summary.health.age is None  # no pass of the past was completed
    assert done.summary.health.started_last_hour == 0  # a pass does not count itself
    assert rows(sql, "SELECT count(*) FROM irp_monitor_run WHERE tidied_ts <= now()") == [(1,)]
