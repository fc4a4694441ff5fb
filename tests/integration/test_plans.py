import html
import threading
from collections.abc import Sequence

import psycopg
import pytest

from helpers.batch import (
    choose_batch,
    plan_cancel,
    plan_priority,
    plan_resolve,
    plan_resubmit,
    plan_skip,
    read_batch,
    recon_batch,
    submit_batch,
)
from helpers.constants import BatchStatus, CycleStatus, JobStatus
from helpers.database import AdvisoryLocks, LockSpace
from helpers.errors import BatchError, BatchMonitoringError, PlanOvertakenError
from helpers.irp_integration import IRPClient, transport
from helpers.job import read_job, submit_job, track_job_status
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, SeededBatch
from tests.support.analysis import analysis_batch
from tests.support.waiting import wait_until

MODEL_PATH = "/platform/model/v1/jobs"
WHY = "The EDM was locked; fixed by IT"


def request(name: str) -> dict[str, object]:
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


def analysis(name: str, status: JobStatus = JobStatus.FAILED, moodys_id: str | None = "77"):
    return PreparedJob(status, moodys_id, request(name), {"analysis": name})


def batch_of(*jobs: PreparedJob, status: BatchStatus = BatchStatus.FAILED, **more) -> SeededBatch:
    """A batch with a history: it was ACTIVE before it got this status."""
    made = analysis_batch(jobs, status=BatchStatus.ACTIVE, **more)
    if status is not BatchStatus.ACTIVE:
        psql("UPDATE irp_batch SET status = %s, completed_ts = now()", status.value)
    return made


_CONNECTIONS: list[psycopg.Connection] = []


def psql(statement: str, *values: object) -> list[tuple[object, ...]]:
    cursor = _CONNECTIONS[-1].execute(statement, values)
    return cursor.fetchall() if cursor.description else []


@pytest.fixture(autouse=True)
def connection(sql):
    _CONNECTIONS.append(sql)
    yield sql
    _CONNECTIONS.pop()


@pytest.fixture
def client(metastore, moodys, monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)
    with IRPClient(connections=8) as irp_client:
        yield irp_client


def snapshot() -> list[list[tuple[object, ...]]]:
    """Everything that a refused plan must leave as it was."""
    return [
        psql(
            "SELECT id, status, skipped, parent_job_id, moodys_workflow_id FROM irp_job ORDER BY id"
        ),
        psql("SELECT id, skipped, job_configuration_data FROM irp_job_configuration ORDER BY id"),
        psql("SELECT id, status, activation_num FROM irp_batch ORDER BY id"),
        psql("SELECT count(*) FROM irp_action"),
    ]


# --- resubmitting ---------------------------------------------------------------------------------


def test_a_plan_shows_what_it_would_do_and_what_not_and_writes_nothing(metastore):
    batch = batch_of(
        analysis("CAL EQ - Commercial"),
        analysis("CAL EQ - Industrial", JobStatus.FINISHED, "78"),
        analysis("CAL EQ - Residential", JobStatus.ERROR, None),
    )
    psql("UPDATE irp_job SET last_error = 'The EDM is locked' WHERE id = %s", batch.job_ids[0])
    before = snapshot()

    plan = plan_resubmit(batch.batch_id)
    shown = repr(plan)

    assert f"resubmit 2 jobs of batch {batch.batch_id} (Analysis, FAILED)" in shown
    assert "CAL EQ - Commercial (job 1, Moody's 77)" in shown
    assert "✖ FAILED  The EDM is locked" in shown
    assert "CAL EQ - Residential (job 3)" in shown
    assert "Industrial" not in shown
    assert "2 requests to Moody's" in shown
    assert "becomes ACTIVE again (attempt 2)" in shown
    assert "When the batch ends as COMPLETED or FAILED, step 4.2 starts" in shown
    assert 'plan.apply(reason="…")' in shown
    assert snapshot() == before
    assert plan.outcome()["done"] == 0


def test_resubmitting_replaces_failed_jobs_submits_them_and_is_on_record(client, moodys):
    batch = batch_of(
        analysis("CAL EQ - Commercial"),
        analysis("CAL EQ - Industrial", JobStatus.FINISHED, "78"),
        analysis("CAL EQ - Residential", JobStatus.CANCELLED, "79"),
    )

    plan = plan_resubmit(batch.batch_id)
    outcome = plan.apply(client, reason=WHY)

    assert (outcome["done"], outcome["failed"], outcome["errors"]) == (2, 0, [])
    became = f"Applied: resubmit 2 jobs of batch {batch.batch_id} (Analysis, ACTIVE) of cycle"
    assert str(plan).startswith(became)
    assert "\n" not in str(plan)
    for old, new in zip([batch.job_ids[0], batch.job_ids[2]], outcome["new_job_ids"], strict=True):
        assert read_job(old)["skipped"]
        assert read_job(old)["status"] in {"FAILED", "CANCELLED"}
        assert read_job(new)["parent_job_id"] == old
        assert read_job(new)["status"] == "SUBMITTED"
        assert read_job(new)["job_configuration_id"] == read_job(old)["job_configuration_id"]
    assert sorted(received.name for received in moodys.submissions) == [
        "CAL EQ - Commercial",
        "CAL EQ - Residential",
    ]
    found = read_batch(batch.batch_id)
    assert (found["status"], found["activation_num"]) == ("ACTIVE", 2)
    assert psql(
        "SELECT kind, status, batch_id, job_id, new_job_id, reason FROM irp_action ORDER BY id"
    ) == [
        ("RESUBMIT", "DONE", batch.batch_id, old, new, WHY)
        for old, new in zip([1, 3], outcome["new_job_ids"], strict=True)
    ]


def test_applying_a_plan_again_does_nothing_again_and_returns_the_same(client, moodys):
    batch = batch_of(analysis("A"), analysis("B"))
    plan = plan_resubmit(batch.batch_id)

    first = plan.apply(client, reason=WHY)
    again = plan.apply(client, reason="a second click")

    assert again == first
    assert len(moodys.submissions) == 2
    assert psql("SELECT count(*) FROM irp_job") == [(4,)]
    assert psql("SELECT DISTINCT reason FROM irp_action") == [(WHY,)]


def test_a_plan_that_was_cut_off_before_it_submitted_goes_on_there(client, moodys, monkeypatch):
    batch = batch_of(analysis("A"), analysis("B"))
    plan = plan_resubmit(batch.batch_id)
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds=["submit"])
    cut_off = plan.apply(client, reason=WHY)
    assert cut_off["failed"] == 2
    moodys.behave()

    outcome = plan.apply(client, reason=WHY)

    assert (outcome["done"], outcome["failed"]) == (2, 0)
    assert outcome["new_job_ids"] == cut_off["new_job_ids"]
    assert len(moodys.submissions) == 2


def test_two_people_who_resubmit_the_same_jobs_make_one_replacement_each(client, moodys):
    batch = batch_of(analysis("A"), analysis("B"))
    plans = [plan_resubmit(batch.batch_id) for _ in range(4)]
    start, overtaken = threading.Barrier(4), []

    def apply(plan) -> None:
        start.wait()
        try:
            plan.apply(client, reason=WHY)
        except PlanOvertakenError as exc:
            overtaken.append(str(exc))

    threads = [threading.Thread(target=apply, args=[plan]) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(overtaken) == 3
    assert len(moodys.submissions) == 2
    assert psql("SELECT count(*) FROM irp_job") == [(4,)]
    assert psql("SELECT count(*) FROM irp_action") == [(2,)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE irp_batch SET status = 'ACTIVE'", "is ACTIVE .attempt 2. and was FAILED"),
        ("UPDATE irp_job SET skipped = true WHERE id = 1", "is FAILED, skipped and was FAILED"),
        ("UPDATE irp_job SET status = 'FINISHED' WHERE id = 1", "is FINISHED and was FAILED"),
        ("DELETE FROM irp_job WHERE id = 1", "is gone"),
        ("UPDATE irp_cycle SET status = 'ARCHIVED'", "is ARCHIVED"),
    ],
)
def test_what_has_changed_since_overtakes_a_plan_and_nothing_is_done(
    client, moodys, change, message
):
    batch = batch_of(analysis("A"), analysis("B"))
    plan = plan_resubmit(batch.batch_id)
    psql(change)
    before = snapshot()

    with pytest.raises(PlanOvertakenError, match=message):
        plan.apply(client, reason=WHY)

    assert snapshot() == before
    assert moodys.submissions == []


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (analysis("A", JobStatus.FINISHED), "is FINISHED, and what has a result is not run again"),
        (analysis("A", JobStatus.RUNNING), "may still succeed"),
        (PreparedJob(JobStatus.FAILED, "77"), "no prepared request"),
        (
            PreparedJob(JobStatus.FAILED, "77", {"settings": {"name": "A"}}),
            "built by another tool",
        ),
    ],
)
def test_jobs_that_must_not_run_again_are_refused_with_the_reason(client, moodys, job, why):
    batch = batch_of(job)
    before = snapshot()

    plan = plan_resubmit(batch.batch_id, batch.job_ids)

    assert why in repr(plan)
    with pytest.raises(BatchError, match="nothing to do"):
        plan.apply(client, reason=WHY)
    assert snapshot() == before
    assert moodys.submissions == []


def test_the_database_refuses_a_second_live_replacement_also_from_other_tools(client):
    batch = batch_of(analysis("A"))
    [old] = batch.job_ids
    plan = plan_resubmit(batch.batch_id)
    replacement = "INSERT INTO irp_job (batch_id, parent_job_id) VALUES (%s, %s)"
    psql(replacement, batch.batch_id, old)

    with pytest.raises(psycopg.errors.UniqueViolation):
        psql(replacement, batch.batch_id, old)
    before = snapshot()
    with pytest.raises(PlanOvertakenError, match="replaced already"):
        plan.apply(client, reason=WHY)
    assert snapshot() == before

    psql("UPDATE irp_job SET status = 'FAILED' WHERE parent_job_id = %s", old)
    psql(replacement, batch.batch_id, old)  # the first one is not live any more


def test_a_changed_configuration_is_a_new_row_and_needs_the_changed_request(client, moodys):
    batch = batch_of(analysis("A"))
    [old] = batch.job_ids
    change = {old: {"analysis": "A2"}}
    assert "give the changed request as well" in repr(plan_resubmit(batch.batch_id, changes=change))

    plan = plan_resubmit(batch.batch_id, changes=change, requests={old: request("A2")})
    [new] = plan.apply(client, reason=WHY)["new_job_ids"]

    assert moodys.submissions[0].name == "A2"
    assert psql(
        """SELECT job_configuration_data, skipped, overridden, override_reason_txt,
                  parent_job_configuration_id
           FROM irp_job_configuration WHERE id = %s""",
        read_job(new)["job_configuration_id"],
    ) == [({"analysis": "A2"}, False, True, WHY, batch.configuration_ids[0])]
    assert psql(
        """SELECT skipped, skipped_reason_txt, override_job_configuration_id
           FROM irp_job_configuration WHERE id = %s""",
        batch.configuration_ids[0],
    ) == [(True, WHY, read_job(new)["job_configuration_id"])]


def test_a_batch_is_completed_by_its_replacements(client, moodys):
    batch = batch_of(analysis("A"), analysis("B", JobStatus.FINISHED, "78"))
    [new] = plan_resubmit(batch.batch_id).apply(client, reason=WHY)["new_job_ids"]
    moodys.advance(60)

    track_job_status(new, "Analysis", client)

    assert recon_batch(batch.batch_id) == "COMPLETED"


def test_jobs_may_be_resubmitted_while_their_batch_is_active(client, moodys):
    batch = batch_of(
        analysis("A"), analysis("B", JobStatus.RUNNING, "78"), status=BatchStatus.ACTIVE
    )
    outcome = plan_resubmit(batch.batch_id).apply(client, reason=WHY)

    assert outcome["done"] == 1
    assert read_batch(batch.batch_id)["activation_num"] == 1


def test_what_is_asked_for_has_to_make_sense(client):
    batch = batch_of(analysis("A"))
    with pytest.raises(BatchError, match="has no job 99"):
        plan_resubmit(batch.batch_id, [99])
    with pytest.raises(BatchError, match="no batch 99"):
        plan_resubmit(99)
    with pytest.raises(BatchMonitoringError, match="Say why"):
        plan_resubmit(batch.batch_id).apply(client, reason="")
    psql("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(BatchError, match="ARCHIVED"):
        plan_resubmit(batch.batch_id)


def test_a_plan_opens_a_client_of_its_own_if_it_gets_none(client, moodys):
    batch = batch_of(analysis("A"))
    assert plan_resubmit(batch.batch_id).apply(reason=WHY)["failed"] == 0
    assert len(moodys.submissions) == 1


def test_secrets_stay_out_of_the_record(client, monkeypatch):
    batch = batch_of(analysis("A"))
    secret = client_secret(monkeypatch)
    plan_skip(batch.batch_id).apply(reason=f"curl -H 'Authorization: {secret}' said so")
    [(reason,)] = psql("SELECT reason FROM irp_action")
    assert secret not in str(reason)


def client_secret(monkeypatch: pytest.MonkeyPatch) -> str:
    from helpers.settings import get_settings  # noqa: PLC0415 - beside its one use

    key = get_settings().risk_modeler_api_key
    assert key is not None
    return key.get_secret_value()


# --- skipping -------------------------------------------------------------------------------------


def test_skipping_does_without_jobs_and_lets_the_batch_be_decided_anew(
    metastore,
):
    batch = batch_of(analysis("A"), analysis("B", JobStatus.FINISHED, "78"))

    outcome = plan_skip(batch.batch_id).apply(reason="Not needed this quarter")

    assert outcome["done"] == 1
    assert read_job(batch.job_ids[0])["skipped"]
    assert psql(
        "SELECT id, skipped, skipped_reason_txt FROM irp_job_configuration ORDER BY id"
    ) == [
        (batch.configuration_ids[0], True, "Not needed this quarter"),
        (batch.configuration_ids[1], False, None),
    ]
    assert read_batch(batch.batch_id)["activation_num"] == 2
    assert recon_batch(batch.batch_id) == "COMPLETED"
    assert psql("SELECT kind, job_id FROM irp_action") == [("SKIP", batch.job_ids[0])]


def test_a_configuration_that_another_job_fulfils_stays(metastore):
    batch = batch_of(analysis("A"), analysis("A", JobStatus.FINISHED, "78"))
    psql("UPDATE irp_job SET job_configuration_id = %s", batch.configuration_ids[0])

    plan_skip(batch.batch_id, [batch.job_ids[0]]).apply(reason=WHY)

    assert psql(
        "SELECT skipped FROM irp_job_configuration WHERE id = %s", batch.configuration_ids[0]
    ) == [(False,)]


def test_a_running_job_is_skipped_with_a_warning_that_it_runs_on(metastore):
    batch = batch_of(analysis("A", JobStatus.RUNNING), status=BatchStatus.ACTIVE)
    plan = plan_skip(batch.batch_id, batch.job_ids)
    assert f"plan_cancel({batch.batch_id}" in repr(plan)
    assert plan.apply(reason=WHY)["done"] == 1


def test_a_job_that_may_have_been_accepted_is_not_skipped(client, moodys):
    batch = analysis_batch([analysis("A", JobStatus.INITIATED, None)], status=BatchStatus.INITIATED)
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds=["submit"])
    submit_batch(batch.batch_id, client)

    plan = plan_skip(batch.batch_id, batch.job_ids)

    assert f"plan_resolve({batch.job_ids[0]}" in repr(plan)
    with pytest.raises(BatchError, match="nothing to do"):
        plan.apply(reason=WHY)
    assert not read_job(batch.job_ids[0])["skipped"]


def test_a_submission_that_begins_meanwhile_overtakes_a_plan_to_skip(client, moodys):
    batch = analysis_batch([analysis("A", JobStatus.INITIATED, None)])
    plan = plan_skip(batch.batch_id, batch.job_ids)
    submit_batch(batch.batch_id, client)

    with pytest.raises(PlanOvertakenError, match="is SUBMITTED and was INITIATED"):
        plan.apply(reason=WHY)
    assert not read_job(batch.job_ids[0])["skipped"]


def test_a_job_that_was_skipped_meanwhile_is_not_sent(client, moodys, monkeypatch):
    batch = analysis_batch([analysis("A", JobStatus.INITIATED, None)])
    [job_id] = batch.job_ids
    read = read_job(job_id)
    plan_skip(batch.batch_id, [job_id]).apply(reason=WHY)
    monkeypatch.setattr(
        "helpers.job.submitting.read_job", lambda _: read
    )  # what a submitter read before

    submit_job(job_id, "Analysis", client)

    assert moodys.submissions == []


# --- resolving ------------------------------------------------------------------------------------


@pytest.fixture
def unknown(client, moodys) -> SeededBatch:
    """A batch with a job that Moody's may have accepted."""
    batch = analysis_batch([analysis("A", JobStatus.INITIATED, None)])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, kinds=["submit"])
    submit_batch(batch.batch_id, client)
    moodys.behave()
    return batch


def test_a_submission_that_a_person_found_at_moodys_is_watched(unknown, client, moodys):
    moodys_id = moodys.add_job("model", status="RUNNING")
    plan = plan_resolve(unknown.job_ids[0], moodys_id=moodys_id)
    assert f"watched as Moody's {moodys_id}" in repr(plan)

    plan.apply(reason="Found on Moody's page")

    assert read_job(unknown.job_ids[0])["status"] == "SUBMITTED"
    assert track_job_status(unknown.job_ids[0], "Analysis", client) == "RUNNING"
    assert psql("SELECT kind, outcome FROM irp_action") == [("RESOLVE", f"accepted as {moodys_id}")]


def test_a_submission_that_moodys_does_not_have_is_an_error_and_can_be_resubmitted(
    unknown, client, moodys
):
    plan_resolve(unknown.job_ids[0], not_accepted=True).apply(reason="Not on Moody's page")

    job = read_job(unknown.job_ids[0])
    assert (job["status"], job["submission_request_id"]) == ("ERROR", None)
    assert "Not on Moody's page" in str(job["last_error"])
    assert plan_resubmit(unknown.batch_id).apply(client, reason=WHY)["failed"] == 0
    assert len(moodys.submissions) == 1


@pytest.mark.parametrize(("theirs", "given"), [("555", "555"), ("00555", 555), ("555", "0555")])
def test_an_id_that_another_job_has_is_not_taken(unknown, theirs, given):
    psql(
        "INSERT INTO irp_job (batch_id, status, moodys_workflow_id) VALUES (%s, 'RUNNING', %s)",
        unknown.batch_id,
        theirs,
    )
    before = snapshot()
    with pytest.raises(PlanOvertakenError, match="has the id 555"):
        plan_resolve(unknown.job_ids[0], moodys_id=given).apply(reason=WHY)
    assert snapshot() == before


def test_a_job_of_an_unknown_type_is_not_called_finished_by_naming_its_id(unknown):
    psql("UPDATE irp_batch SET batch_type = 'analysis'")
    with pytest.raises(BatchError, match="'analysis' is not a known batch type"):
        plan_resolve(unknown.job_ids[0], moodys_id="555")


@pytest.mark.parametrize("how", [{}, {"moodys_id": "5", "not_accepted": True}, {"moodys_id": "x"}])
def test_resolving_needs_one_answer_that_can_be_true(unknown, how):
    with pytest.raises(BatchError):
        plan_resolve(unknown.job_ids[0], **how)


def test_only_a_submission_with_an_unknown_outcome_is_resolved(metastore):
    batch = batch_of(analysis("A"), status=BatchStatus.ACTIVE)
    plan = plan_resolve(batch.job_ids[0], not_accepted=True)
    assert "no unknown outcome" in repr(plan)
    with pytest.raises(BatchError, match="nothing to do"):
        plan.apply(reason=WHY)
    assert read_job(batch.job_ids[0])["status"] == "FAILED"


def test_a_job_is_not_resolved_while_it_is_being_submitted(unknown):
    plan = plan_resolve(unknown.job_ids[0], not_accepted=True)
    with AdvisoryLocks(owner="ana") as locks:
        locks.try_acquire(LockSpace.SUBMIT_BATCH, [unknown.batch_id])
        with pytest.raises(BatchError, match="being submitted by ana"):
            plan.apply(reason=WHY)
    assert read_job(unknown.job_ids[0])["status"] == "INITIATED"


# --- cancelling, priorities -----------------------------------------------------------------------


def running_batch(moodys, *statuses: str, job_type: str = "DLM") -> SeededBatch:
    ids = [moodys.add_job("model", status=status, job_type=job_type) for status in statuses]
    jobs = [
        analysis(f"A{i}", JobStatus(status), moodys_id)
        for i, (status, moodys_id) in enumerate(zip(statuses, ids, strict=True))
    ]
    return batch_of(*jobs, status=BatchStatus.ACTIVE)


def statuses_of(batch: SeededBatch, client: IRPClient) -> Sequence[str]:
    return [track_job_status(job_id, "Analysis", client) for job_id in batch.job_ids]


def test_cancelling_asks_moodys_and_our_jobs_follow_its_word(client, moodys):
    batch = running_batch(moodys, "QUEUED", "RUNNING")
    plan = plan_cancel(batch.batch_id)
    assert "2 requests to Moody's, which may reject some" in repr(plan)

    outcome = plan.apply(client, reason=WHY)

    assert (outcome["done"], outcome["failed"]) == (2, 0)
    assert [change.body for change in moodys.changes] == [{"status": "CANCELLED"}] * 2
    assert [read_job(i)["status"] for i in batch.job_ids] == ["QUEUED", "RUNNING"]
    assert set(statuses_of(batch, client)) <= {"CANCEL_REQUESTED", "CANCELLING", "CANCELLED"}
    moodys.advance(60)
    assert statuses_of(batch, client) == ["CANCELLED", "CANCELLED"]
    assert recon_batch(batch.batch_id) == "CANCELLED"


def cancel(client: IRPClient, job_id: int, who: str, why: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JUPYTERHUB_USER", who)
        plan_cancel(read_job(job_id)["batch_id"], [job_id]).apply(client, reason=why)


@pytest.mark.parametrize(
    ("cancelled", "remark"),
    [
        ([], None),
        ([("carla", "Wrong")], '1 of these was cancelled by carla ("Wrong"): {} it out.'),
        ([("carla", "Wrong")] * 2, '2 of these were cancelled by carla ("Wrong"): {} them out.'),
        (  # the people with most of the jobs come first
            [("ana", "Late"), ("carla", "Wrong"), ("carla", "Wrong")],
            '3 of these were cancelled by carla ("Wrong"), ana ("Late"): {} them out.',
        ),
        ([("carla", "Wrong")] * 4, 'These jobs were cancelled by carla ("Wrong").'),
    ],
)
def test_a_plan_without_names_says_what_people_had_cancelled(client, moodys, cancelled, remark):
    batch = running_batch(moodys, *["QUEUED"] * 4)
    for job_id, (who, why) in zip(batch.job_ids, cancelled, strict=False):
        cancel(client, job_id, who, why)
    for job_id in batch.job_ids[len(cancelled) :]:
        psql("UPDATE irp_job SET status = 'FAILED' WHERE id = %s", job_id)
    moodys.advance(60)
    for job_id in batch.job_ids[: len(cancelled)]:
        assert track_job_status(job_id, "Analysis", client) == "CANCELLED"

    without_names = plan_resubmit(batch.batch_id)
    named = plan_resubmit(batch.batch_id, batch.job_ids)

    assert [job.job_id for job in without_names.jobs] == list(batch.job_ids)
    if remark is None:
        assert "cancelled by" not in str(without_names)
    else:
        assert f"▲ {remark.format('name the others to leave')}\n" in str(without_names)
    assert "cancelled by" not in str(named)


def test_a_plan_does_not_blame_people_for_what_moodys_did_not_let_them_cancel(client, moodys):
    batch = running_batch(moodys, "RUNNING", job_type="GROUPING")
    cancel(client, batch.job_ids[0], "carla", "Wrong")
    psql("UPDATE irp_job SET status = 'CANCELLED'")  # by somebody else, at Moody's

    assert "carla" not in str(plan_resubmit(batch.batch_id))


def test_what_moodys_rejects_is_reported(client, moodys):
    batch = running_batch(moodys, "RUNNING", job_type="GROUPING")

    plan = plan_cancel(batch.batch_id)
    outcome = plan.apply(client, reason=WHY)

    assert (outcome["done"], outcome["failed"]) == (0, 1)
    assert f": 1 job failed\n  Problem\n  {outcome['errors'][0]}" in str(plan)
    assert "GROUPING job that is RUNNING cannot be cancelled" in outcome["errors"][0]
    assert psql("SELECT status FROM irp_action") == [("REJECTED",)]
    assert statuses_of(batch, client) == ["RUNNING"]


def test_a_request_that_was_cut_off_is_repeated_with_the_same_key(client, moodys, monkeypatch):
    batch = running_batch(moodys, "QUEUED")
    plan = plan_cancel(batch.batch_id)
    sent = client.submit

    def sent_and_killed(*args, **keys):
        sent(*args, **keys)
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "submit", sent_and_killed)
    with pytest.raises(KeyboardInterrupt):
        plan.apply(client, reason=WHY)
    assert psql("SELECT status FROM irp_action") == [("PLANNED",)]
    assert "▲ It was cut off before 1 job; applying it again goes on." in str(plan)
    monkeypatch.undo()

    assert plan.apply(client, reason=WHY)["done"] == 1

    assert len(moodys.changes) == 1
    assert "cut off" not in str(plan)
    assert psql("SELECT status FROM irp_action") == [("DONE",)]


def test_an_outcome_that_stays_unknown_is_reported_to_be_unknown(client, moodys):
    batch = running_batch(moodys, "QUEUED")
    moodys.misbehave(Fault.HTML_403, kinds=["change"])

    outcome = plan_cancel(batch.batch_id).apply(client, reason=WHY)

    assert (outcome["done"], outcome["failed"]) == (0, 1)
    assert psql("SELECT status FROM irp_action") == [("UNKNOWN",)]


def test_a_priority_is_changed_at_moodys(client, moodys):
    batch = running_batch(moodys, "QUEUED", "RUNNING")

    outcome = plan_priority(batch.batch_id, "High", [batch.job_ids[0]]).apply(client, reason=WHY)

    assert outcome["done"] == 1
    assert [change.body for change in moodys.changes] == [{"priority": "High"}]
    with pytest.raises(BatchError, match="Moody's knows: Very Low"):
        plan_priority(batch.batch_id, "urgent")


def test_jobs_that_do_not_run_are_not_cancelled(client, moodys):
    batch = batch_of(
        analysis("A"),
        analysis("B", JobStatus.INITIATED, None),
        analysis("C", JobStatus.RUNNING, "not a number"),
        status=BatchStatus.ACTIVE,
    )
    shown = repr(plan_cancel(batch.batch_id, batch.job_ids))
    assert "it is FAILED: it has ended" in shown
    assert "not been submitted; skip it" in shown
    assert "'not a number' is not a valid job id" in shown
    assert moodys.changes == []


# --- what people get wrong, and at the wrong moment -----------------------------------------------


@pytest.mark.parametrize("reason", ["", " \t", "\x00\x1b[31m", None, 7])
def test_a_reason_is_a_text_that_says_something(client, reason):
    batch = batch_of(analysis("A"))
    before = snapshot()
    with pytest.raises(BatchMonitoringError, match="Say why"):
        plan_skip(batch.batch_id).apply(reason=reason)
    assert snapshot() == before


@pytest.mark.parametrize("plan", [plan_resubmit, plan_skip, plan_cancel])
@pytest.mark.parametrize("batch_id", ["8", None, True, -1, 1.5, 10**12])
def test_what_is_not_a_batch_id_is_refused_as_such(client, plan, batch_id):
    with pytest.raises(BatchError, match=r"not a valid batch id|no batch"):
        plan(batch_id)


@pytest.mark.parametrize("job_ids", [1, "1", ["1"], [None], [True], [10**12]])
def test_what_is_not_a_list_of_job_ids_is_refused_as_such(client, job_ids):
    batch = batch_of(analysis("A"))
    with pytest.raises(BatchError, match=r"given as a list|has no job"):
        plan_skip(batch.batch_id, job_ids)


@pytest.mark.parametrize("name", ['O\'Brien "x"; DROP TABLE irp_job', "<b>bold</b>", "ÄÖ €"])
def test_names_of_any_kind_are_shown_and_stored_as_they_are(client, moodys, name):
    batch = batch_of(PreparedJob(JobStatus.FAILED, "77", request(name), {"job_name": name}))
    plan = choose_batch(batch.batch_id).plan_resubmit(name)
    assert name in repr(plan)
    assert name in html.unescape(plan._repr_html_())
    assert "<b>bold" not in plan._repr_html_()
    assert plan.apply(client, reason=f"because of {name}")["failed"] == 0
    assert [received.name for received in moodys.submissions] == [name]
    assert psql("SELECT reason FROM irp_action") == [(f"because of {name}",)]


def test_a_cycle_is_not_archived_between_the_look_and_the_act_of_a_plan(client, metastore):
    batch = batch_of(analysis("A"))
    plan = plan_skip(batch.batch_id)
    with psycopg.connect(metastore) as archiving:
        archiving.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
        outcome: list[object] = []

        def apply() -> None:
            try:
                outcome.append(plan.apply(reason=WHY))
            except BatchMonitoringError as exc:
                outcome.append(exc)

        thread = threading.Thread(target=apply)
        thread.start()
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: psql(blocked) == [(1,)] or outcome)
        assert outcome == []
        archiving.commit()
    thread.join(30)
    assert isinstance(outcome[0], PlanOvertakenError)
    assert psql("SELECT status::text FROM irp_batch") == [("FAILED",)]


def test_plans_are_refused_in_an_archived_cycle(metastore):
    batch = analysis_batch([analysis("A")], cycle_status=CycleStatus.ARCHIVED)
    for plan in (plan_resubmit, plan_skip, plan_cancel):
        with pytest.raises(BatchError, match="ARCHIVED: nobody would watch"):
            plan(batch.batch_id)
