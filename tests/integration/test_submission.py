import threading
import time
import uuid

import pytest
from psycopg.types.json import Jsonb

from helpers.batch import read_batch, recon_batch, reconcile, submit_batch, submitting
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace, locks, transaction
from helpers.errors import BatchError, JobError
from helpers.irp_integration import IRPClient, transport
from helpers.job import complete_job, fail_job, read_job, submit_job, track_job_status
from helpers.records import BatchSubmission
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_jobs
from tests.support.analysis import analysis_batch, job

MODEL_PATH = "/platform/model/v1/jobs"


def request(name: str = "ANL 1") -> dict[str, object]:
    return {
        "method": "POST",
        "path": MODEL_PATH,
        "json": {
            "resourceUri": "/platform/riskdata/v1/exposures/7/portfolios/3",
            "resourceType": "portfolio",
            "type": "DLM",
            "settings": {"name": name, "modelProfileId": 4001},
        },
    }


BAD_REQUEST = {"method": "POST", "path": MODEL_PATH, "json": {}}
SYNCHRONOUS = {
    "method": "POST",
    "path": "/platform/riskdata/v1/exposures/7/portfolios",
    "json": {"portfolioName": "P"},
}


@pytest.fixture
def client(metastore, moodys, monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)
    with IRPClient(connections=8) as irp_client:
        yield irp_client


@pytest.fixture
def prepared(metastore) -> int:
    """A job that is ready to be submitted."""
    return analysis_batch([PreparedJob(request=request())]).job_ids[0]


def submit(job_id: int, client: IRPClient) -> str:
    return submit_job(job_id, "Analysis", client)


def keys_of(moodys) -> list[str]:
    return [received.request_id for received in moodys.submissions]


def test_a_job_is_submitted_with_its_request_and_key_and_then_polled(client, moodys, prepared):
    assert submit(prepared, client) == "SUBMITTED"

    [received] = moodys.submissions
    found = read_job(prepared)
    assert (received.path, received.body) == (MODEL_PATH, request()["json"])
    assert found["moodys_workflow_id"] == str(received.job_id)
    assert uuid.UUID(received.request_id) == found["submission_request_id"]
    assert found["submission_response"]["status"] == 201
    assert found["submitted_ts"] is not None
    assert found["last_error"] is None
    assert track_job_status(prepared, "Analysis", client) != "SUBMITTED"


@pytest.mark.parametrize("relative", [True, False])
def test_the_location_may_be_absolute_or_relative(client, moodys, prepared, relative, monkeypatch):
    monkeypatch.setattr(moodys, "relative_locations", relative)

    assert submit(prepared, client) == "SUBMITTED"
    assert read_job(prepared)["moodys_workflow_id"] == str(moodys.submissions[0].job_id)


def test_a_second_time_submits_nothing(client, moodys, prepared):
    submit(prepared, client)

    assert submit(prepared, client) == "SUBMITTED"
    assert len(moodys.submissions) == 1


def test_the_key_is_stored_before_the_first_try(moodys, prepared, sql):
    seen = []

    class Watched:
        def submit(self, method, path, *, body, request_id):
            stored = sql.execute("SELECT submission_request_id FROM irp_job").fetchone()[0]
            seen.append(str(stored) == request_id)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(prepared, Watched())

    assert seen == [True]
    assert read_job(prepared)["status"] == "INITIATED"


UNKNOWN_OUTCOMES = [
    # the answer was lost, and the job is there
    ({"fault": Fault.RESET, "carried_out": True, "times": 2}, "closed the connection before"),
    ({"fault": Fault.HANG, "carried_out": True, "times": 1}, "did not answer in time"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 504, "carried_out": True, "times": 2}, "504"),
    # it was not accepted, which nobody can know
    ({"fault": Fault.RESET, "times": 2}, "closed the connection before"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 503, "times": 2}, "503"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 500, "times": 2}, "500"),
    # not now
    ({"fault": Fault.HTTP_STATUS, "http_status": 429, "times": 2}, "429"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 401, "times": 1}, "401"),
    # the first try is still processed
    ({"fault": Fault.HTTP_STATUS, "http_status": 409, "times": 1}, "409"),
]


@pytest.mark.parametrize(("how", "words"), UNKNOWN_OUTCOMES)
def test_a_job_that_moodys_may_have_accepted_stays_due_and_is_never_run_twice(
    client, moodys, prepared, monkeypatch, how, words
):
    if how["fault"] is Fault.HANG:
        monkeypatch.setattr(transport, "READ_SECONDS", 0.3)
    moodys.misbehave(kinds={"submit"}, **how)

    with pytest.raises(JobError, match="not known whether the job was accepted") as caught:
        submit(prepared, client)

    assert words in str(caught.value)
    assert caught.value.job_id == prepared
    found = read_job(prepared)
    assert (found["status"], found["moodys_workflow_id"]) == ("INITIATED", None)
    assert words in found["last_error"]
    key = found["submission_request_id"]

    moodys.behave()
    assert submit(prepared, client) == "SUBMITTED"

    jobs_at_moodys = {received.job_id for received in moodys.submissions}
    found = read_job(prepared)
    assert found["moodys_workflow_id"] in {str(job_id) for job_id in jobs_at_moodys}
    assert moodys.statistics()["jobs"] == 1
    assert set(keys_of(moodys)) == {str(key)}
    assert found["last_error"] is None


def test_a_break_is_bridged_at_once_by_a_second_try_with_the_same_key(client, moodys, prepared):
    moodys.misbehave(Fault.RESET, kinds={"submit"}, carried_out=True, times=1)

    assert submit(prepared, client) == "SUBMITTED"
    assert moodys.statistics()["jobs"] == 1


def test_an_answer_without_a_location_leaves_the_job_due(prepared, sql):
    class Mute:
        def submit(self, method, path, *, body, request_id):
            return transport.Raw(201, b"{}", {})

    with pytest.raises(JobError, match="named no job in its Location"):
        submit(prepared, Mute())

    found = read_job(prepared)
    assert found["status"] == "INITIATED"
    assert found["submission_response"] == {"status": 201, "location": None, "body": {}}
    assert found["submission_request_id"] is not None


def test_a_job_of_unknown_outcome_is_shown_with_what_to_do(client, moodys, prepared):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds={"submit"})
    with pytest.raises(JobError):
        submit(prepared, client)

    outcome = reconcile(read_job(prepared)["batch_id"])

    assert (outcome.status, outcome.needs_attention) == ("ACTIVE", True)
    [line] = outcome.attention
    assert line.startswith(f"Job {prepared}: Moody's answered 503")
    assert line.endswith("Submit its batch again.")


# In the order of the blockers: what gateways and proxies answer when a first try was accepted.
NOT_FROM_MOODYS = [
    (302, b"", {"Location": "https://sso.test/login"}),
    (407, b"<html>Proxy login</html>", {}),
    (431, b"", {}),
    (403, b'{"message": "Forbidden"}', {}),
    (400, b"<html>Bad request</html>", {}),
    (200, b"<html>Welcome</html>", {}),
    (201, b'{"code": "INT-999", "message": "odd"}', {"Location": "/platform/model/v1/jobs/1"}),
]


@pytest.mark.parametrize(("http_status", "content", "headers"), NOT_FROM_MOODYS)
def test_a_second_try_that_moodys_did_not_answer_itself_keeps_the_key(
    client, moodys, prepared, http_status, content, headers
):
    class Gateway:
        def submit(self, method, path, *, body, request_id):
            client.submit(method, path, body=body, request_id=request_id)
            return transport.Raw(http_status, content, headers)

    with pytest.raises(JobError, match=f"Moody's answered {http_status}"):
        submit(prepared, Gateway())

    found = read_job(prepared)
    assert (found["status"], found["moodys_workflow_id"]) == ("INITIATED", None)
    assert str(found["submission_request_id"]) == keys_of(moodys)[0]
    assert submit(prepared, client) == "SUBMITTED"
    assert moodys.statistics()["jobs"] == 1


def test_a_synchronous_job_is_not_finished_by_a_page_of_html(client, moodys, sql):
    [job_id] = analysis_batch(
        [PreparedJob(request=SYNCHRONOUS)], batch_type=BatchType.PORTFOLIO_CREATION
    ).job_ids

    class LoginPage:
        def submit(self, method, path, *, body, request_id):
            return transport.Raw(200, b"<html>Log in</html>", {})

    with pytest.raises(JobError, match="200, with an HTML page"):
        submit_job(job_id, "Portfolio Creation", LoginPage())

    assert read_job(job_id)["status"] == "INITIATED"
    assert read_job(job_id)["submission_request_id"] is not None


def of_unknown_type(*jobs: PreparedJob, status: BatchStatus = BatchStatus.INITIATED):
    return analysis_batch(list(jobs), batch_type="analysis", status=status)


def test_a_job_of_an_unknown_type_is_never_sent_and_its_batch_waits_for_a_person(client, moodys):
    seeded = of_unknown_type(PreparedJob(request=request()))

    done = submit_batch(seeded.batch_id, client)

    [error] = done["errors"]
    outcome = reconcile(seeded.batch_id)
    [line] = outcome.attention
    assert (done["status"], done["submitted"], done["failed"]) == ("ACTIVE", 0, 1)
    assert (outcome.status, outcome.needs_attention) == ("ACTIVE", True)
    for words in (error, line):
        assert "did you mean 'Analysis'?" in words
        assert all(batch_type in words for batch_type in BatchType)
    assert moodys.submissions == []
    found = read_job(seeded.job_ids[0])
    assert (found["status"], found["submission_request_id"]) == ("INITIATED", None)


@pytest.mark.parametrize("given", ["analysis", "Analysis", "Portfolio Creation"])
def test_a_job_is_not_sent_as_what_its_batch_is_not(client, moodys, given):
    [job_id] = of_unknown_type(PreparedJob(request=request())).job_ids

    with pytest.raises(JobError, match="'analysis' is not a known batch type"):
        submit_job(job_id, given, client)

    assert moodys.submissions == []
    assert read_job(job_id)["status"] == "INITIATED"


def test_a_job_that_runs_at_moodys_is_not_sent_as_a_synchronous_one(client, moodys, prepared):
    with pytest.raises(JobError, match="'Analysis', not 'Portfolio Creation'"):
        submit_job(prepared, "Portfolio Creation", client)

    assert moodys.submissions == []
    assert read_job(prepared)["submission_request_id"] is None


def test_own_work_under_a_type_of_the_team_s_own_completes_its_batch(client, moodys):
    seeded = of_unknown_type(PreparedJob(), PreparedJob())

    assert submit_batch(seeded.batch_id, client)["errors"] == []
    for job_id in seeded.job_ids:
        complete_job(job_id)

    assert recon_batch(seeded.batch_id) == "COMPLETED"
    assert moodys.submissions == []


@pytest.mark.parametrize("end", [complete_job, lambda job_id: fail_job(job_id, "No.")])
@pytest.mark.parametrize("batch_type", [BatchType.PORTFOLIO_CREATION, BatchType.ANALYSIS])
def test_a_job_of_unknown_outcome_is_not_ended_by_its_notebook_and_keeps_its_key(
    client, moodys, end, batch_type
):
    [job_id] = analysis_batch([PreparedJob(request=SYNCHRONOUS)], batch_type=batch_type).job_ids
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds={"submit"}, carried_out=True)
    with pytest.raises(JobError):
        submit_job(job_id, batch_type, client)
    before = read_job(job_id)

    with pytest.raises(JobError):
        end(job_id)

    assert read_job(job_id) == before
    assert before["submission_request_id"] is not None


def test_a_prepared_request_of_an_unknown_type_is_not_called_done(metastore):
    [job_id] = of_unknown_type(PreparedJob(request=request()), status=BatchStatus.ACTIVE).job_ids

    with pytest.raises(JobError, match="'analysis' is not a known batch type"):
        complete_job(job_id)

    assert read_job(job_id)["status"] == "INITIATED"


@pytest.mark.parametrize("http_status", [400, 403, 404, 422])
def test_a_rejected_job_is_in_error_with_the_reason(client, moodys, prepared, sql, http_status):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=http_status, kinds={"submit"}, times=1)

    assert submit(prepared, client) == "ERROR"

    found = read_job(prepared)
    assert found["last_error"].startswith(f"Moody's rejected the request ({http_status}")
    assert found["moodys_workflow_id"] is None
    assert found["completed_ts"] is not None
    assert found["submission_response"]["status"] == http_status


def test_a_rejected_job_gets_a_new_key_when_a_person_resubmits_it(client, moodys, sql):
    [job_id] = analysis_batch([PreparedJob(request=BAD_REQUEST)]).job_ids
    assert submit(job_id, client) == "ERROR"
    assert read_job(job_id)["submission_request_id"] is None

    corrected = Jsonb({**request(), "method": "post"})
    sql.execute(
        "UPDATE irp_job SET status = 'INITIATED', submission_request = %s WHERE id = %s",
        [corrected, job_id],
    )

    assert submit(job_id, client) == "SUBMITTED"
    assert moodys.statistics()["jobs"] == 1


def test_a_new_job_in_location_of_a_rejected_one_has_a_key_of_its_own(client, moodys):
    seeded = analysis_batch([PreparedJob(request=BAD_REQUEST)])
    assert submit(seeded.job_ids[0], client) == "ERROR"
    [second] = add_jobs(
        seeded.batch_id,
        [PreparedJob(request=request())],
        configuration_ids=seeded.configuration_ids,
    )

    assert submit(second, client) == "SUBMITTED"


def test_a_synchronous_job_is_finished_as_soon_as_it_is_accepted(client, moodys):
    [job_id] = analysis_batch(
        [PreparedJob(request=SYNCHRONOUS)], batch_type=BatchType.PORTFOLIO_CREATION
    ).job_ids

    assert submit_job(job_id, "Portfolio Creation", client) == "FINISHED"

    found = read_job(job_id)
    assert found["completed_ts"] is not None
    assert found["submission_response"]["status"] == 201


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "no prepared request"),
        ({"path": MODEL_PATH}, "needs a method"),
        ({"method": "GET", "path": MODEL_PATH}, "needs a method"),
        ({"method": "DELETE", "path": MODEL_PATH}, "needs a method"),
        ({"method": "POST", "path": "platform/model"}, "starts with a slash"),
        ({"method": "POST", "path": "https://elsewhere/x"}, "starts with a slash"),
        ({"method": "POST"}, "starts with a slash"),
    ],
)
def test_a_request_that_cannot_be_sent_is_an_error_and_nothing_changes(
    client, moodys, sql, wrong, words
):
    [job_id] = analysis_batch([PreparedJob(request=wrong)]).job_ids
    before = sql.execute("SELECT * FROM irp_job").fetchall()

    with pytest.raises(JobError, match=words):
        submit(job_id, client)

    assert moodys.statistics()["requests_total"] == 0
    assert sql.execute("SELECT * FROM irp_job").fetchall() == before


def test_a_skipped_job_is_not_submitted(client, moodys, prepared, sql):
    sql.execute("UPDATE irp_job SET skipped = true")

    with pytest.raises(JobError, match="is skipped"):
        submit(prepared, client)

    assert moodys.submissions == []
    assert read_job(prepared)["submission_request_id"] is None


def test_nothing_is_submitted_inside_a_transaction(client, moodys, prepared):
    batch_id = read_job(prepared)["batch_id"]

    with pytest.raises(JobError, match="inside a transaction"), transaction():
        submit(prepared, client)
    with pytest.raises(BatchError, match="inside a transaction"), transaction():
        submit_batch(batch_id, client)

    assert moodys.submissions == []
    assert read_job(prepared)["submission_request_id"] is None


@pytest.fixture
def batch_id(metastore) -> int:
    """A prepared batch of twelve analyses."""
    jobs = [PreparedJob(request=request(f"ANL {i}")) for i in range(12)]
    return analysis_batch(jobs, status=BatchStatus.INITIATED).batch_id


def test_a_batch_is_made_active_and_its_jobs_are_submitted_several_at_a_time(
    client, moodys, batch_id
):
    moodys.misbehave(Fault.LATENCY, seconds=0.05, kinds={"submit"})

    done = submit_batch(batch_id, client)

    assert set(done) == set(BatchSubmission.__annotations__)
    assert done == {
        "batch_id": batch_id,
        "status": "ACTIVE",
        "submitted": 12,
        "failed": 0,
        "untouched": 0,
        "errors": [],
    }
    assert 2 <= moodys.statistics()["most_in_flight"] <= 8
    assert len(set(keys_of(moodys))) == moodys.statistics()["jobs"] == 12
    batch = read_batch(batch_id)
    assert (batch["status"], batch["activation_num"]) == ("ACTIVE", 1)
    assert batch["submitted_ts"] is not None


def test_submitting_again_submits_what_is_left_and_nothing_twice(client, moodys, batch_id):
    submit_batch(batch_id, client)

    again = submit_batch(batch_id, client)

    assert (again["submitted"], again["untouched"]) == (0, 12)
    assert moodys.statistics()["jobs"] == 12
    assert read_batch(batch_id)["activation_num"] == 1


def test_one_job_that_fails_does_not_keep_the_others(client, moodys):
    jobs = [
        PreparedJob(request=request("good")),
        PreparedJob(request=BAD_REQUEST),
        PreparedJob(),
        PreparedJob(request=request("also good")),
    ]
    seeded = analysis_batch(jobs, status=BatchStatus.INITIATED)

    done = submit_batch(seeded.batch_id, client)

    assert (done["submitted"], done["failed"], done["untouched"]) == (2, 2, 0)
    refused, unprepared = done["errors"]
    assert refused.startswith(f"Job {seeded.job_ids[1]}: Moody's rejected the request (400")
    assert unprepared == f"Job {seeded.job_ids[2]} has no prepared request in submission_request."
    statuses = [read_job(job_id)["status"] for job_id in seeded.job_ids]
    assert statuses == ["SUBMITTED", "ERROR", "INITIATED", "SUBMITTED"]


def test_what_was_lost_on_the_way_is_found_by_submitting_again(client, moodys, batch_id):
    moodys.misbehave(
        Fault.HTTP_STATUS, http_status=502, kinds={"submit"}, carried_out=True, times=24
    )
    first = submit_batch(batch_id, client)
    assert (first["submitted"], first["failed"]) == (0, 12)

    moodys.behave()
    second = submit_batch(batch_id, client)

    assert (second["submitted"], second["failed"]) == (12, 0)
    assert moodys.statistics()["jobs"] == 12


def test_skipped_and_ended_jobs_are_left_alone(client, moodys, sql):
    seeded = analysis_batch(
        [PreparedJob(request=request()), job("FINISHED", "1"), job("ERROR"), job("RUNNING", "2")],
        status=BatchStatus.INITIATED,
    )
    add_jobs(
        seeded.batch_id,
        [PreparedJob(request=request("skipped"))],
        configuration_ids=[None],
        skipped=True,
    )

    done = submit_batch(seeded.batch_id, client)

    assert (done["submitted"], done["untouched"]) == (1, 4)
    assert len(moodys.submissions) == 1


def test_a_synchronous_job_without_a_request_is_left_to_its_notebook(client, moodys):
    seeded = analysis_batch(
        [PreparedJob(), PreparedJob(request=SYNCHRONOUS)],
        batch_type=BatchType.PORTFOLIO_CREATION,
        status=BatchStatus.INITIATED,
    )

    done = submit_batch(seeded.batch_id, client)

    assert (done["submitted"], done["failed"], done["untouched"]) == (1, 0, 1)
    assert [read_job(i)["status"] for i in seeded.job_ids] == ["INITIATED", "FINISHED"]


def test_an_empty_batch_is_active_and_then_complete(client, metastore):
    batch_id = analysis_batch(status=BatchStatus.INITIATED).batch_id

    assert submit_batch(batch_id, client)["status"] == "ACTIVE"
    assert recon_batch(batch_id) == "COMPLETED"


@pytest.mark.parametrize("status", sorted(BatchStatus.terminal()))
def test_a_batch_that_has_ended_is_not_submitted(client, moodys, sql, status):
    seeded = analysis_batch([PreparedJob(request=request())], status=status)

    with pytest.raises(BatchError, match=f"is {status}: only a prepared batch"):
        submit_batch(seeded.batch_id, client)

    assert moodys.submissions == []
    assert read_batch(seeded.batch_id)["status"] == status


def test_a_batch_that_nobody_would_watch_is_not_submitted(client, moodys):
    seeded = analysis_batch(
        [PreparedJob(request=request())],
        status=BatchStatus.INITIATED,
        cycle_status=CycleStatus.ARCHIVED,
    )

    with pytest.raises(BatchError, match="which is ARCHIVED"):
        submit_batch(seeded.batch_id, client)

    assert moodys.submissions == []
    assert read_batch(seeded.batch_id)["status"] == "INITIATED"


def test_two_do_not_submit_a_batch_at_the_same_time(client, moodys, batch_id):
    with AdvisoryLocks(owner="somebody else") as locks:
        locks.try_acquire(LockSpace.SUBMIT_BATCH, [batch_id])
        with pytest.raises(BatchError, match="is being submitted by somebody else"):
            submit_batch(batch_id, client)

    assert moodys.submissions == []
    assert read_batch(batch_id)["status"] == "INITIATED"


def test_two_that_submit_one_job_at_the_same_time_send_one_key(client, moodys, prepared):
    moodys.misbehave(Fault.LATENCY, seconds=0.1, kinds={"submit"})
    ends: list[str] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        try:
            ends.append(submit(prepared, client))
        except JobError as exc:  # 409: the other one's try is still processed
            ends.append(str(exc))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert "SUBMITTED" in ends
    assert moodys.statistics()["jobs"] == 1
    assert read_job(prepared)["status"] == JobStatus.SUBMITTED


def test_a_run_that_lost_its_batch_submits_nothing_more(client, moodys, sql, batch_id, monkeypatch):
    monkeypatch.setattr(submitting, "_SUBMIT_WORKERS", 1)
    monkeypatch.setattr(submitting, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(locks, "IDLE_SECONDS", 60.0)
    moodys.misbehave(Fault.LATENCY, seconds=0.2)

    def lose_the_lock() -> None:
        while moodys.statistics()["jobs"] < 2:
            time.sleep(0.01)
        monkeypatch.setattr(locks, "IDLE_SECONDS", 0.0)  # as if the process had been frozen

    thread = threading.Thread(target=lose_the_lock)
    thread.start()
    done = submit_batch(batch_id, client)
    thread.join()

    assert done["submitted"] == moodys.statistics()["jobs"] < 12
    assert done["failed"] == 12 - done["submitted"]
    assert "lost the batch. Submit the batch again." in done["errors"][-1]
    monkeypatch.setattr(locks, "IDLE_SECONDS", 60.0)
    moodys.behave()
    assert submit_batch(batch_id, client)["submitted"] == done["failed"]
    assert len(set(keys_of(moodys))) == moodys.statistics()["jobs"] == 12
