from helpers.batch import get_active_batches, get_batch_jobs
from helpers.constants import BatchStatus, BatchType, JobStatus
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step


def test_a_seeded_batch_is_found_as_active(metastore):
    step = add_step(add_cycle("Analysis-2025-Q1"), stage_num=4, step_num=1)
    jobs = [PreparedJob(JobStatus.RUNNING, "12345678"), PreparedJob()]
    seeded = add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE)

    [batch] = get_active_batches()

    assert (batch["batch_id"], batch["activation_num"]) == (seeded.batch_id, 1)
    assert [job["id"] for job in get_batch_jobs(seeded.batch_id)] == seeded.job_ids
