"""Which jobs are told of, and how many, whatever a batch holds."""

import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.notifications.failures import failing_batches, failures_of, so_far
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step


@pytest.fixture
def step(metastore):
    return add_step(add_cycle("Q1"), stage_num=4, step_num=1)


def batch_of(step, sql, jobs):
    """Add a batch of jobs, each with its status, reason and name."""
    prepared = [
        PreparedJob(status, f"{900 + n}", configuration={"analysis": name} if name else {})
        for n, (status, _, name) in enumerate(jobs)
    ]
    seeded = add_batch(step, BatchType.ANALYSIS, prepared, status=BatchStatus.FAILED)
    for job_id, (_, reason, _) in zip(seeded.job_ids, jobs, strict=True):
        sql.execute("UPDATE irp_job SET last_error = %s WHERE id = %s", [reason, job_id])
    return seeded


FAILED, FINISHED, CANCELLED = JobStatus.FAILED, JobStatus.FINISHED, JobStatus.CANCELLED


def test_each_reason_comes_with_its_first_jobs_and_how_many_there_are(step, sql):
    many = [(FAILED, "no hazard data", f"A{n}") for n in range(40)]
    rare = [(FAILED, "EDM locked", "B"), (CANCELLED, "cancelled by hand", "C")]
    batch = batch_of(step, sql, [rare[1], rare[0], *many, (FINISHED, None, "D")])

    failures = failures_of([batch.batch_id])[batch.batch_id]

    assert failures.total == 42
    assert [(g.reason, g.jobs) for g in failures.groups] == [
        ("no hazard data", 40),
        ("EDM locked", 1),
        ("cancelled by hand", 1),
    ]
    assert failures.groups[0].who.startswith("A0 (Moody's 902), A1 (Moody's 903), ")
    assert failures.groups[0].who.endswith(" and 32 more")
    assert failures.left_out == 0


def test_many_reasons_are_counted(step, sql):
    batch = batch_of(step, sql, [(FAILED, f"reason {n}", None) for n in range(30)])

    failures = failures_of([batch.batch_id])[batch.batch_id]

    assert (len(failures.groups), failures.total, failures.left_out) == (10, 30, 20)


def test_a_batch_in_which_nothing_failed_is_left_out_and_skipped_jobs_do_not_count(step, sql):
    good = batch_of(step, sql, [(FINISHED, None, "A")])
    skipped = batch_of(step, sql, [(FAILED, "reason", "A")])
    sql.execute("UPDATE irp_job SET skipped = 't' WHERE id = ANY (%s)", [skipped.job_ids])

    assert failures_of([good.batch_id, skipped.batch_id]) == {}


def test_no_reason_and_an_empty_one_are_the_same(step, sql):
    batch = batch_of(step, sql, [(FAILED, None, "A"), (FAILED, "", "B")])

    [group] = failures_of([batch.batch_id])[batch.batch_id].groups
    assert (group.reason, group.jobs) == ("No reason was given.", 2)


def test_so_far_counts_every_job_whose_reason_is_given(step, sql):
    """Cancelled jobs stand beside those that failed, and are counted beside them."""
    jobs = [(FAILED, "EDM locked", "A"), *[(CANCELLED, "by hand", f"C{n}") for n in range(2)]]
    batch = batch_of(step, sql, [*jobs, (JobStatus.RUNNING, None, "B")])
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE'")

    [failing] = failing_batches()
    assert so_far(failing) == "1 of 4 jobs has failed so far, 2 were cancelled; 1 is still open."
    assert failures_of([batch.batch_id])[batch.batch_id].total == 3
