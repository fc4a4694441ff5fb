from datetime import UTC, datetime, timedelta

import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus, StartedBy
from helpers.database import queries, transaction
from helpers.monitor import housekeeping
from helpers.monitor.housekeeping import do_housekeeping
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step


@pytest.fixture
def run_id(metastore, workflows) -> int:
    return start_pass()


def start_pass() -> int:
    with transaction() as connection:
        return queries("monitor_runs").start(
            connection,
            host="h",
            pid=1,
            package_version="0",
            started_by="test",
            copy_is_current=None,
        )


@pytest.fixture
def batch(metastore):
    step = add_step(add_cycle("Q1"), stage_num=4, step_num=1)
    jobs = [PreparedJob(JobStatus.RUNNING, "1")]
    return add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE)


def count(sql, query):
    return sql.execute(query).fetchone()[0]


def add_poll(sql, batch, *, days_ago, kept):
    sql.execute(
        "INSERT INTO irp_job_tracking_log (job_id, tracked_ts, moodys_workflow_id, kept) "
        "VALUES (%s, now() - %s, '1', %s)",
        [batch.job_ids[0], timedelta(days=days_ago), kept],
    )


def add_reconciliation(sql, batch, *, days_ago, result, summary='{"reason": "running"}'):
    sql.execute(
        "INSERT INTO irp_batch_recon_log (batch_id, recon_ts, recon_result, recon_summary) "
        "VALUES (%s, now() - %s, %s, %s)",
        [batch.batch_id, timedelta(days=days_ago), result, summary],
    )


def test_polls_past_the_retention_go_and_kept_ones_stay(sql, batch, run_id):
    for days_ago, kept in [(31, False), (29, False), (31, True)]:
        add_poll(sql, batch, days_ago=days_ago, kept=kept)

    assert do_housekeeping(run_id) == []

    rows = sql.execute("SELECT kept FROM irp_job_tracking_log ORDER BY tracked_ts").fetchall()
    assert rows == [(True,), (False,)]


def test_days_past_the_retention_are_dropped_whole(sql, batch, run_id):
    long_ago = datetime.now(UTC).date() - timedelta(days=40)
    sql.execute(
        f"CREATE TABLE irp_job_tracking_log_{long_ago:%Y%m%d} PARTITION OF "
        f"irp_job_tracking_log_polls FOR VALUES FROM ('{long_ago} 00:00Z') "
        f"TO ('{long_ago + timedelta(days=1)} 00:00Z')"
    )

    assert do_housekeeping(run_id) == []

    gone = f"SELECT to_regclass('irp_job_tracking_log_{long_ago:%Y%m%d}') IS NULL"
    assert count(sql, gone)


def test_the_partitions_of_the_coming_week_are_made(sql, run_id):
    ahead = datetime.now(UTC).date() + timedelta(days=7)
    sql.execute(f"DROP TABLE irp_job_tracking_log_{ahead:%Y%m%d}")

    assert do_housekeeping(run_id) == []

    assert count(sql, f"SELECT to_regclass('irp_job_tracking_log_{ahead:%Y%m%d}') IS NOT NULL")


def test_old_reconciliations_that_changed_nothing_go_and_decisions_stay(sql, batch, run_id):
    add_reconciliation(sql, batch, days_ago=31, result="ACTIVE")
    add_reconciliation(sql, batch, days_ago=29, result="ACTIVE")
    add_reconciliation(sql, batch, days_ago=31, result="FAILED")
    add_reconciliation(sql, batch, days_ago=900, result="ACTIVE", summary="{}")  # from before

    assert do_housekeeping(run_id) == []

    rows = sql.execute("SELECT recon_result FROM irp_batch_recon_log ORDER BY recon_ts").fetchall()
    assert [str(row[0]) for row in rows] == ["ACTIVE", "FAILED", "ACTIVE"]


def test_more_than_one_piece_is_removed_at_once(sql, batch, run_id, monkeypatch):
    monkeypatch.setattr(housekeeping, "_PIECE", 2)
    for _ in range(5):
        add_reconciliation(sql, batch, days_ago=31, result="ACTIVE")

    assert do_housekeeping(run_id) == []

    assert count(sql, "SELECT count(*) FROM irp_batch_recon_log") == 0


def test_old_passes_are_forgotten(sql, run_id):
    sql.execute(
        "INSERT INTO irp_monitor_run (started_ts, host, pid, package_version, started_by) "
        "VALUES (now() - interval '31 days', 'h', 1, '0', 'test')"
    )

    assert do_housekeeping(run_id) == []

    assert sql.execute("SELECT id FROM irp_monitor_run").fetchall() == [(run_id,)]


def test_housekeeping_is_done_once_an_hour(sql, batch, run_id):
    assert do_housekeeping(run_id) == []
    add_poll(sql, batch, days_ago=31, kept=False)

    assert do_housekeeping(run_id) == []
    assert count(sql, "SELECT count(*) FROM irp_job_tracking_log") == 1

    sql.execute("UPDATE irp_monitor_run SET tidied_ts = now() - interval '61 minutes'")
    assert do_housekeeping(run_id) == []
    assert count(sql, "SELECT count(*) FROM irp_job_tracking_log") == 0


def test_a_task_that_fails_is_reported_and_the_others_are_done(sql, batch, run_id):
    sql.execute("DROP FUNCTION irp_tracking_log_add_days")
    add_poll(sql, batch, days_ago=31, kept=False)

    [remark] = do_housekeeping(run_id)

    assert remark.about == "Housekeeping"
    assert "irp_tracking_log_add_days" in remark.text
    assert count(sql, "SELECT count(*) FROM irp_job_tracking_log") == 0


@pytest.mark.parametrize(
    ("host", "started_by"),
    [
        ("another", "test"),  # its executed copies and its scheduler are its own
        ("h", StartedBy.SCHEDULED_NOTEBOOK),  # only these prune the schedule that started them
    ],
)
def test_each_host_and_way_of_starting_does_its_own_housekeeping(
    sql, batch, run_id, host, started_by
):
    assert do_housekeeping(run_id) == []
    add_poll(sql, batch, days_ago=31, kept=False)
    sql.execute("UPDATE irp_monitor_run SET host = %s, started_by = %s", [host, started_by])

    assert do_housekeeping(start_pass()) == []
    assert count(sql, "SELECT count(*) FROM irp_job_tracking_log") == 0
