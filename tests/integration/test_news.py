"""What ``--quiet`` prints: what is new, once, and all that waits once a day."""

import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.monitor.__main__ import main
from helpers.steps import hold_step, release_step
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step


@pytest.fixture
def step(metastore, moodys):
    return add_step(add_cycle("Q1"), stage_num=4, step_num=1)


@pytest.fixture
def printed(capsys):
    """Run a quiet pass, and return what it printed."""

    def run() -> str:
        main(["--quiet"])
        return capsys.readouterr().out

    return run


def failing_batch(step, moodys):
    running = str(moodys.add_job("model", status="RUNNING"))
    jobs = [PreparedJob(JobStatus.FAILED, "900"), PreparedJob(JobStatus.RUNNING, running)]
    jobs += [PreparedJob(JobStatus.RUNNING, running)]
    return add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE)


def test_a_thing_is_printed_when_it_appears_changes_and_is_over(step, moodys, printed, sql):
    assert printed() == ""  # nothing waits

    batch = failing_batch(step, moodys)
    assert "Batch 1 (Analysis, step 4.1 of Q1): 1 of 3 jobs has failed so far" in printed()
    assert printed() == ""
    assert printed() == ""

    sql.execute("UPDATE irp_job SET status = 'FAILED' WHERE id = %s", [batch.job_ids[1]])
    changed = printed()
    assert changed.startswith("1 thing has changed.")
    assert "2 of 3 jobs have failed so far" in changed
    assert printed() == ""

    sql.execute("UPDATE irp_job SET skipped = true WHERE status = 'FAILED'")
    assert printed().splitlines() == [
        "1 thing no longer waits.",
        "",
        "No longer waiting",
        "  ✔ Batch 1 (Analysis, step 4.1 of Q1): had jobs that failed, is ACTIVE",
    ]
    assert printed() == ""


def test_a_batch_that_is_mended_is_named_with_what_it_was_and_is(step, moodys, printed, sql):
    batches = [
        add_batch(step, BatchType.ANALYSIS, [PreparedJob(status, "900")], status=status)
        for status in (BatchStatus.FAILED, BatchStatus.CANCELLED)
    ]
    sql.execute("UPDATE irp_batch SET activation_num = 1, completed_ts = now()")
    printed()
    sql.execute("UPDATE irp_batch SET status = 'COMPLETED' WHERE id = %s", [batches[0].batch_id])
    sql.execute("UPDATE irp_batch SET activation_num = 0 WHERE id = %s", [batches[1].batch_id])

    over = printed()

    assert over.startswith("2 things no longer wait.")
    assert "✔ Batch 1 (Analysis, step 4.1 of Q1): was FAILED, is COMPLETED\n" in over
    assert "✔ Batch 2 (Analysis, step 4.1 of Q1): was CANCELLED, and no longer waits\n" in over


def test_a_batch_that_had_failing_jobs_and_has_failed_still_waits(step, moodys, printed, sql):
    batch = failing_batch(step, moodys)
    printed()
    sql.execute(
        "UPDATE irp_batch SET status = 'FAILED', activation_num = 1, completed_ts = now() "
        "WHERE id = %s",
        [batch.batch_id],
    )

    news = printed()

    assert news.startswith("1 thing is new.")
    assert "✔" not in news
    assert printed() == ""


def test_a_step_that_is_released_is_named_whole(step, printed):
    hold_step("Q1", 4, 1).apply(reason="a check")
    printed()
    release_step("Q1", 4, 1).apply(reason="done")

    assert "✔ Step 4.1 of Q1: was held, and no longer waits\n" in printed()


def test_once_a_day_all_that_waits_is_printed(step, moodys, printed, sql):
    failing_batch(step, moodys)
    printed()
    sql.execute("UPDATE irp_quiet_report SET printed_ts = now() - interval '23 h 50 min'")
    assert printed() == ""
    sql.execute("UPDATE irp_quiet_report SET printed_ts = now() - interval '24 h'")
    reminder = printed()
    assert "What waits for you" in reminder
    assert "Batch 1" in reminder
    assert printed() == ""


def test_a_host_that_is_new_hears_everything(step, moodys, printed, sql):
    failing_batch(step, moodys)
    printed()
    sql.execute("UPDATE irp_quiet_report SET host = 'another'")
    assert "What waits for you" in printed()


def test_monitoring_that_is_broken_is_printed_once_whatever_its_numbers(
    step, moodys, printed, monkeypatch
):
    failing_batch(step, moodys)
    printed()
    monkeypatch.setenv("RISK_MODELER_BASE_URL", "http://127.0.0.1:9")
    from helpers.settings import get_settings  # noqa: PLC0415

    get_settings.cache_clear()
    broken = printed()
    assert "new" in broken
    assert "Moody's" in broken
    assert printed() == ""

    monkeypatch.setenv("RISK_MODELER_BASE_URL", moodys.environment()["RISK_MODELER_BASE_URL"])
    get_settings.cache_clear()
    over = printed()
    assert "no longer reported: Moody's cannot be reached: the connection was refused.\n" in over
    assert over.startswith("1 thing no longer waits")
