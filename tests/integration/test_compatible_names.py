import pytest

from helpers.batch import (
    activate_batch,
    read_batch,
    resubmit_job,
    resubmit_jobs,
    skip_job,
    skip_job_configuration,
)
from helpers.constants import BatchStatus, JobStatus
from helpers.errors import BatchError, JobError
from helpers.irp_integration import IRPClient
from helpers.job import read_job
from sandbox.seeding import PreparedJob, SeededBatch, add_configurations
from tests.support.analysis import analysis_batch, request

REQUEST = request("A")


@pytest.fixture
def client(metastore, moodys):
    with IRPClient(connections=2) as irp_client:
        yield irp_client


@pytest.fixture
def batch(sql, client) -> SeededBatch:
    """A batch of two failed jobs and a finished one, which ended as FAILED."""
    made = analysis_batch(
        [
            PreparedJob(JobStatus.FAILED, "1", REQUEST, {"analysis": "A"}),
            PreparedJob(JobStatus.ERROR, None, REQUEST, {"analysis": "B"}),
            PreparedJob(JobStatus.FINISHED, "3", REQUEST, {"analysis": "C"}),
        ],
        status=BatchStatus.ACTIVE,
    )
    sql.execute("UPDATE irp_batch SET status = 'FAILED'")
    return made


def audit(sql) -> list[tuple[object, ...]]:
    return sql.execute(
        "SELECT kind, job_id, new_job_id, reason FROM irp_action ORDER BY id"
    ).fetchall()


def test_a_batch_is_known_by_both_names_of_its_id(batch):
    assert read_batch(batch.batch_id)["id"] == read_batch(batch.batch_id)["batch_id"]


def test_a_job_is_resubmitted_and_its_new_id_returned(batch, client, moodys, sql):
    new = resubmit_job(batch.job_ids[0], client, "Analysis")

    assert read_job(new)["parent_job_id"] == batch.job_ids[0]
    assert read_job(new)["status"] == "SUBMITTED"
    assert read_batch(batch.batch_id)["status"] == "ACTIVE"
    assert audit(sql) == [("RESUBMIT", batch.job_ids[0], new, "no reason given")]


def test_a_finished_job_or_one_of_another_type_is_not_resubmitted(batch, client, moodys, sql):
    with pytest.raises(JobError, match="what has a result is not run again"):
        resubmit_job(batch.job_ids[2], client, "Analysis")
    with pytest.raises(JobError, match="not 'Grouping'"):
        resubmit_job(batch.job_ids[0], client, "Grouping")
    with pytest.raises(JobError, match="give the changed request as well"):
        resubmit_job(batch.job_ids[0], client, "Analysis", {"analysis": "A2"})
    assert moodys.submissions == []
    assert audit(sql) == []


def test_resubmitting_twice_makes_one_new_job(batch, client, moodys):
    resubmit_job(batch.job_ids[0], client, "Analysis")
    with pytest.raises(JobError, match="was replaced already"):
        resubmit_job(batch.job_ids[0], client, "Analysis")
    assert len(moodys.submissions) == 1


def test_several_jobs_are_resubmitted_and_those_that_cannot_be_are_named(batch, client, moodys):
    found = resubmit_jobs(batch.job_ids, client, "Analysis", override_reason="EDM was locked")

    assert (found["total"], found["success_count"], found["failure_count"]) == (3, 2, 1)
    assert [item["job_id"] for item in found["successful"]] == batch.job_ids[:2]
    assert found["failed"][0]["job_id"] == batch.job_ids[2]
    assert len(moodys.submissions) == 2


def test_a_skipped_job_leaves_its_configuration_to_another(batch, sql):
    skip_job(batch.job_ids[0])
    skip_job(batch.job_ids[0])

    assert read_job(batch.job_ids[0])["skipped"]
    assert sql.execute("SELECT bool_or(skipped) FROM irp_job_configuration").fetchone() == (False,)
    assert audit(sql) == [("SKIP", batch.job_ids[0], None, "no reason given")]


def test_a_configuration_is_skipped_with_its_jobs_and_points_to_what_replaces_it(batch, sql):
    [other] = add_configurations(batch.batch_id, [{"analysis": "A2"}])

    skip_job_configuration(batch.configuration_ids[0], "wrong peril", other)
    skip_job_configuration(batch.configuration_ids[0], "wrong peril", other)

    assert read_job(batch.job_ids[0])["skipped"]
    assert sql.execute(
        """SELECT skipped, skipped_reason_txt, override_job_configuration_id
           FROM irp_job_configuration WHERE id = %s""",
        [batch.configuration_ids[0]],
    ).fetchone() == (True, "wrong peril", other)
    assert read_batch(batch.batch_id)["status"] == "ACTIVE"
    with pytest.raises(BatchError, match="no job configuration 999"):
        skip_job_configuration(999, "gone")


def test_a_batch_is_activated_once(batch, sql):
    activate_batch(batch.batch_id)
    activate_batch(batch.batch_id)

    assert read_batch(batch.batch_id)["activation_num"] == 2
    assert audit(sql) == [("ACTIVATE", None, None, "no reason given")]
