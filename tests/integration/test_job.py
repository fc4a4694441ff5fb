import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import transaction
from helpers.errors import JobError
from helpers.irp_integration import IRPClient, transport
from helpers.irp_integration.bodies import MAX_READ_BYTES
from helpers.job import complete_job, fail_job, get_job_config, read_job, track_job_status
from helpers.records import JobConfiguration, JobDetails
from helpers.settings import get_settings
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob
from tests.support.analysis import analysis_batch, job

NO_IDS = [999, 2**31 - 1, 0, -1, 2**31, True, None, "1", 1.0]


@pytest.fixture
def client(metastore, moodys, monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)
    with IRPClient(connections=4) as irp_client:
        yield irp_client


def log_of(sql, job_id):
    return sql.execute(
        "SELECT moodys_workflow_id, job_status, tracking_data ->> 'status', error_message, "
        "http_status, kept FROM irp_job_tracking_log WHERE job_id = %s ORDER BY id",
        [job_id],
    ).fetchall()


def row_of(sql, job_id):
    return sql.execute("SELECT * FROM irp_job WHERE id = %s", [job_id]).fetchone()


def test_a_job_is_read_with_everything_about_it(metastore):
    seeded = analysis_batch([PreparedJob(configuration={"name": "EQ"}, request={"method": "POST"})])

    found = read_job(seeded.job_ids[0])

    assert set(found) == set(JobDetails.__annotations__)
    assert found["status"] == "INITIATED"
    assert found["batch_type"] == "Analysis"
    assert found["submission_request"] == {"method": "POST"}


def test_the_configuration_of_a_job_is_read_with_its_data(metastore):
    seeded = analysis_batch([PreparedJob(configuration={"name": "EQ"})])

    found = get_job_config(seeded.job_ids[0])

    assert set(found) == set(JobConfiguration.__annotations__)
    assert found["id"] == seeded.configuration_ids[0]
    assert found["job_configuration_data"] == {"name": "EQ"}


def test_a_job_without_a_configuration_says_so(metastore, sql):
    seeded = analysis_batch([job("RUNNING", "1")])
    sql.execute("UPDATE irp_job SET job_configuration_id = NULL")

    with pytest.raises(JobError, match=f"Job {seeded.job_ids[0]} was made without"):
        get_job_config(seeded.job_ids[0])


@pytest.mark.parametrize("job_id", NO_IDS)
@pytest.mark.parametrize(
    "call",
    [read_job, get_job_config, complete_job, lambda job_id: fail_job(job_id, "x")],
)
def test_an_id_without_a_job_is_named(metastore, call, job_id):
    with pytest.raises(JobError) as caught:
        call(job_id)

    assert repr(job_id) in str(caught.value)
    assert caught.value.job_id is job_id


@pytest.mark.parametrize("job_id", NO_IDS)
def test_an_id_without_a_job_is_not_asked_about(client, moodys, job_id):
    with pytest.raises(JobError, match="job"):
        track_job_status(job_id, "Analysis", client)

    assert moodys.statistics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("batch_type", "family"),
    [
        (BatchType.EDM_CREATION, "riskdata"),
        (BatchType.MRI_IMPORT, "import"),
        (BatchType.EDM_DB_UPGRADE, "riskdata"),
        (BatchType.GEOHAZ, "geohaz"),
        (BatchType.ANALYSIS, "model"),
        (BatchType.GROUPING, "grouping"),
        (BatchType.GROUPING_ROLLUP, "grouping"),
        (BatchType.EXPORT_TO_RDM, "export"),
    ],
)
def test_each_polled_type_is_asked_about_in_its_family(client, moodys, sql, batch_type, family):
    workflow_id = str(moodys.add_job(family, status="RUNNING"))
    [job_id] = analysis_batch([job("SUBMITTED", workflow_id)], batch_type=batch_type).job_ids

    assert track_job_status(job_id, batch_type, client) == "RUNNING"

    assert moodys.statistics()["requests"] == {family: {"by-id": 1}}
    assert log_of(sql, job_id) == [(workflow_id, "RUNNING", "RUNNING", None, 200, True)]
    assert read_job(job_id)["status"] == "RUNNING"
    assert read_job(job_id)["last_tracked_ts"] is not None


def test_a_failed_job_keeps_moodys_own_reason(client, moodys):
    workflow_id = str(moodys.add_job("model", status="FAILED", reason="No exposure in portfolio"))
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids

    assert track_job_status(job_id, "Analysis", client) == "FAILED"

    found = read_job(job_id)
    assert (found["status"], found["last_error"]) == ("FAILED", "No exposure in portfolio")
    assert found["completed_ts"] == found["last_tracked_ts"]


def test_only_first_polls_and_changes_are_kept_for_good(client, moodys, sql):
    workflow_id = str(moodys.add_job("model", status="QUEUED"))
    [job_id] = analysis_batch([job("QUEUED", workflow_id)]).job_ids
    for status in ("QUEUED", "QUEUED", "RUNNING", "RUNNING", "FINISHED"):
        moodys.set_status(workflow_id, status)
        track_job_status(job_id, "Analysis", client)

    assert [(row[1], row[5]) for row in log_of(sql, job_id)] == [
        ("QUEUED", True),
        ("QUEUED", False),
        ("RUNNING", True),
        ("RUNNING", False),
        ("FINISHED", True),
    ]


ODD = [
    # not ready
    ({"fault": Fault.HTTP_STATUS, "http_status": 204}, 204, "nothing to say"),
    # wrong family, invisible, gone
    ({"fault": Fault.HTTP_STATUS, "http_status": 404}, 404, "does not know job"),
    # the gateway's own shape
    ({"fault": Fault.HTTP_STATUS, "http_status": 401}, 401, "refuses the credentials"),
    # the CDN in front
    ({"fault": Fault.HTML_403}, 403, "HTML page"),
    # throttled or down
    ({"fault": Fault.HTTP_STATUS, "http_status": 429}, 429, "fewer requests"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 500}, 500, "down or overloaded"),
    ({"fault": Fault.HTTP_STATUS, "http_status": 503}, 503, "down or overloaded"),
    # no answer at all
    ({"fault": Fault.RESET}, None, "closed the connection before"),
    ({"fault": Fault.TRUNCATED}, None, "closed the connection before"),
    ({"fault": Fault.HANG}, None, "did not answer in time"),
    # something, but no job
    ({"fault": Fault.MALFORMED_JSON}, 200, "not JSON"),
    ({"fault": Fault.NOT_AN_OBJECT}, 200, "does not describe a job"),
    ({"fault": Fault.NO_STATUS}, 200, "no status"),
    ({"fault": Fault.WRONG_JOB_ID}, 200, "not about job"),
    ({"fault": Fault.HUGE, "size_bytes": 2 * MAX_READ_BYTES}, 200, "more than 32 MB"),
    # what the database cannot hold
]


@pytest.mark.parametrize(("how", "http_status", "words"), ODD)
def test_an_odd_answer_is_recorded_as_a_failed_poll_and_the_job_stays_as_it_was(
    client, moodys, sql, monkeypatch, how, http_status, words
):
    if how["fault"] is Fault.HANG:
        monkeypatch.setattr(transport, "READ_SECONDS", 0.3)
    workflow_id = str(moodys.add_job("model", status="FINISHED"))
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids
    moodys.misbehave(**how)

    with pytest.raises(JobError, match=words) as caught:
        track_job_status(job_id, "Analysis", client)
    moodys.behave()

    assert str(caught.value).startswith(f"Job {job_id}: ")
    assert caught.value.job_id == job_id
    [(logged_id, status, body, error, logged_status, _)] = log_of(sql, job_id)
    assert (logged_id, status, body, logged_status) == (workflow_id, None, None, http_status)
    assert words in error
    found = read_job(job_id)
    assert (found["status"], found["last_error"], found["completed_ts"]) == ("RUNNING", None, None)


@pytest.mark.parametrize(
    ("how", "label"),
    [
        ({"fault": Fault.UNKNOWN_STATUS, "status": "HIBERNATING"}, "HIBERNATING"),
        # ours, which Moody's never sends
        ({"fault": Fault.UNKNOWN_STATUS, "status": "ERROR"}, "ERROR"),
        ({"fault": Fault.UNKNOWN_STATUS, "status": "COMPLETED"}, "COMPLETED"),
        # a known word spelt otherwise is not known
        ({"fault": Fault.LOWER_CASE_STATUS}, "finished"),
    ],
)
def test_an_unknown_status_is_recorded_word_for_word_and_moves_nothing(
    client, moodys, sql, how, label
):
    workflow_id = str(moodys.add_job("model", status="FINISHED"))
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids
    moodys.misbehave(**how)

    assert track_job_status(job_id, "Analysis", client) == "RUNNING"

    assert log_of(sql, job_id) == [(workflow_id, label, label, None, 200, True)]
    assert read_job(job_id)["status"] == "RUNNING"


@pytest.mark.parametrize("status", sorted(JobStatus.terminal()))
def test_a_job_that_has_ended_is_not_asked_about(client, moodys, sql, status):
    [job_id] = analysis_batch([job(status, None if status == "ERROR" else "12345678")]).job_ids
    before = row_of(sql, job_id)

    assert track_job_status(job_id, "Analysis", client) == status

    assert moodys.statistics()["requests_total"] == 0
    assert row_of(sql, job_id) == before
    assert log_of(sql, job_id) == []


@pytest.mark.parametrize(
    ("old", "words", "new"),
    [
        # back: it was restarted, or its cancellation refused
        ("RUNNING", "QUEUED", "QUEUED"),
        ("RUNNING", "PENDING", "PENDING"),
        ("CANCELLING", "RUNNING", "RUNNING"),
        # sideways and ahead
        ("QUEUED", "PENDING", "PENDING"),
        ("SUBMITTED", "FINISHED", "FINISHED"),
        ("CANCELLING", "FINISHED", "FINISHED"),
        ("RUNNING", "CANCEL_REQUESTED", "CANCEL_REQUESTED"),
    ],
)
def test_a_job_moves_to_what_a_read_says(client, moodys, sql, old, words, new):
    workflow_id = str(moodys.add_job("model", status=words))
    [job_id] = analysis_batch([job(old, workflow_id)]).job_ids

    assert track_job_status(job_id, "Analysis", client) == new
    assert log_of(sql, job_id)[0][1] == words


@pytest.mark.parametrize(
    ("workflow_id", "batch_type", "words"),
    [
        # never submitted
        (None, "Analysis", "was never submitted"),
        # synchronous, unknown, no type
        ("12345678", "Portfolio Creation", "are not polled. Polled are: Analysis, EDM"),
        ("12345678", "analysis", "did you mean 'Analysis'\\? Known are: Analysis, Create"),
        ("12345678", None, "None is not a known batch type"),
    ],
)
def test_a_question_that_cannot_be_asked_is_an_error_and_nothing_is_written(
    client, moodys, sql, workflow_id, batch_type, words
):
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids
    before = row_of(sql, job_id)

    with pytest.raises(JobError, match=words):
        track_job_status(job_id, batch_type, client)

    assert moodys.statistics()["requests_total"] == 0
    assert (row_of(sql, job_id), log_of(sql, job_id)) == (before, [])


@pytest.mark.parametrize("workflow_id", ["N/A", "", "../jobs", "1;2", "٣"])
def test_an_id_that_moodys_cannot_have_given_is_a_failed_poll(client, moodys, sql, workflow_id):
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids

    with pytest.raises(JobError, match="is not a valid job id"):
        track_job_status(job_id, "Analysis", client)

    assert moodys.statistics()["requests_total"] == 0
    assert [row[0] for row in log_of(sql, job_id)] == [workflow_id]


def test_moodys_is_not_asked_inside_a_transaction(client, moodys, sql):
    [job_id] = analysis_batch([job("RUNNING", "12345678")]).job_ids

    with pytest.raises(JobError, match="inside a transaction"), transaction():
        track_job_status(job_id, "Analysis", client)

    assert moodys.statistics()["requests_total"] == 0


def test_a_secret_that_moodys_repeats_is_not_kept_or_shown(client, moodys, sql, monkeypatch):
    workflow_id = str(moodys.add_job("model", status="FAILED", reason="you sent my-tenant-key"))
    [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids
    monkeypatch.setenv("RISK_MODELER_PASSWORD", "my-tenant-key")
    get_settings.cache_clear()

    track_job_status(job_id, "Analysis", client)

    kept = sql.execute("SELECT tracking_data::text FROM irp_job_tracking_log").fetchone()[0]
    assert "my-tenant-key" not in kept
    assert read_job(job_id)["last_error"] == "you sent ***"


def test_the_live_token_that_moodys_repeats_is_not_kept_or_shown(
    metastore, moodys, sql, monkeypatch
):
    monkeypatch.delenv("RISK_MODELER_API_KEY")
    for name, value in moodys.environment(bearer=True).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    with IRPClient(connections=1) as bearer:
        token = bearer.published.client.session.headers["Authorization"].removeprefix("Bearer ")
        workflow_id = str(moodys.add_job("model", status="FAILED", reason=f"you sent {token}"))
        [job_id] = analysis_batch([job("RUNNING", workflow_id)]).job_ids

        track_job_status(job_id, "Analysis", bearer)

    kept = sql.execute("SELECT tracking_data::text FROM irp_job_tracking_log").fetchone()[0]
    assert token not in kept
    assert read_job(job_id)["last_error"] == "you sent ***"


def synchronous_job(**how) -> int:
    how.setdefault("batch_type", BatchType.PORTFOLIO_CREATION)
    return analysis_batch([PreparedJob()], **how).job_ids[0]


def test_a_synchronous_job_is_finished_by_its_notebook_with_what_it_says(metastore):
    job_id = synchronous_job()

    complete_job(job_id, {"portfolio_id": 7, "share": float("nan"), "odd": "a\x00b"})

    found = read_job(job_id)
    assert found["status"] == "FINISHED"
    assert found["submission_response"] == {"portfolio_id": 7, "share": "NaN", "odd": "ab"}
    assert found["submitted_ts"] is not None
    assert found["completed_ts"] is not None


def test_a_synchronous_job_that_could_not_be_done_fails_with_the_reason(metastore):
    job_id = synchronous_job()

    fail_job(job_id, "\x1b[31mno such portfolio\x00")

    found = read_job(job_id)
    assert (found["status"], found["last_error"]) == ("FAILED", "no such portfolio")


@pytest.mark.parametrize("end", [complete_job, lambda job_id: fail_job(job_id, "x")])
@pytest.mark.parametrize("status", sorted(set(JobStatus) - {"INITIATED"}))
def test_a_job_that_was_submitted_or_has_ended_is_not_ended_again(metastore, sql, end, status):
    [job_id] = analysis_batch([job(status, "1")], batch_type=BatchType.PORTFOLIO_MAPPING).job_ids
    before = row_of(sql, job_id)

    with pytest.raises(JobError, match=f"Job {job_id} is {status}"):
        end(job_id)

    assert row_of(sql, job_id) == before


def test_a_job_that_runs_at_moodys_is_not_finished_by_a_notebook(metastore, sql):
    job_id = synchronous_job(batch_type=BatchType.ANALYSIS, status=BatchStatus.INITIATED)
    before = row_of(sql, job_id)

    with pytest.raises(JobError, match="it ends when Moody's says so"):
        complete_job(job_id)

    assert row_of(sql, job_id) == before
