import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from helpers import recording
from helpers.batch import reconcile
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.irp_integration.endpoints import MODEL
from helpers.irp_integration.questions import Answer, Question
from helpers.job import read_job
from helpers.recording import jobs_to_poll, record, record_all, server_clock
from sandbox.seeding import PreparedJob, SeededBatch
from tests.support.analysis import analysis_batch, job

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def question(job_id: int, workflow_id: str = "1", known: str = "RUNNING") -> Question:
    return Question(job_id, workflow_id, MODEL, known)


def answer(asked: Question, status: str, *, seconds: int = 0, **body: object) -> Answer:
    content = {"jobId": asked.workflow_id, "status": status, **body}
    return Answer(asked, START + timedelta(seconds=seconds), status, content, 200)


@pytest.fixture
def running(metastore) -> int:
    return analysis_batch([job("RUNNING", "1")]).job_ids[0]


def test_an_answer_is_logged_and_moves_its_job(running, sql):
    [recorded] = record([answer(question(running), "FINISHED")])

    assert (recorded.old_status, recorded.new_status) == ("RUNNING", "FINISHED")
    assert recorded.changed
    assert recorded.remark is None
    found = read_job(running)
    assert (found["status"], found["last_tracked_ts"], found["completed_ts"]) == (
        "FINISHED",
        START,
        START,
    )


def test_an_answer_to_an_older_question_changes_nothing_and_is_logged(running, sql):
    record([answer(question(running), "CANCELLING", seconds=60)])

    [late] = record([answer(question(running), "FINISHED", seconds=30)])

    assert (late.old_status, late.new_status, late.changed) == (None, None, False)
    found = read_job(running)
    assert (found["status"], found["last_tracked_ts"]) == (
        "CANCELLING",
        START + timedelta(seconds=60),
    )
    logged = sql.execute("SELECT job_status, kept FROM irp_job_tracking_log ORDER BY id").fetchall()
    assert logged == [("CANCELLING", True), ("FINISHED", False)]


def test_a_last_question_in_the_future_is_no_question_and_holds_up_no_answer(running, sql):
    """Another tool may write local time, and a server that takes over may be behind."""
    sql.execute("UPDATE irp_job SET last_tracked_ts = clock_timestamp() + interval '1 hour'")

    [first] = record([answer(question(running), "CANCELLING", seconds=60)])
    [late] = record([answer(question(running), "FINISHED", seconds=30)])

    assert (first.new_status, late.new_status) == ("CANCELLING", None)
    found = read_job(running)
    assert (found["status"], found["last_tracked_ts"]) == (
        "CANCELLING",
        START + timedelta(seconds=60),
    )


def test_a_clock_that_is_a_little_ahead_of_the_servers_counts_as_the_servers(running, sql):
    sql.execute("UPDATE irp_job SET last_tracked_ts = clock_timestamp() + interval '30 seconds'")

    [recorded] = record([answer(question(running), "FINISHED")])

    assert recorded.new_status is None
    assert read_job(running)["status"] == "RUNNING"


@pytest.mark.parametrize("status", sorted(JobStatus.terminal()))
def test_no_answer_moves_a_job_that_has_ended(metastore, status):
    [job_id] = analysis_batch([job(status, "1")]).job_ids

    for said in JobStatus.of_moodys() - {status}:
        [recorded] = record([answer(question(job_id), said)])
        assert (
            recorded.remark == f"Moody's says {said} after {status}; the status is left as it is."
        )

    assert read_job(job_id)["status"] == status


def test_an_answer_about_a_job_that_was_resubmitted_meanwhile_is_not_applied(running, sql):
    sql.execute("UPDATE irp_job SET moodys_workflow_id = '2'")

    [recorded] = record([answer(question(running, "1"), "FAILED")])

    assert recorded.new_status is None
    assert read_job(running)["status"] == "RUNNING"


def test_an_answer_about_a_job_that_was_deleted_meanwhile_does_not_lose_the_others(metastore, sql):
    seeded = analysis_batch([job("RUNNING", "1"), job("RUNNING", "2")])
    sql.execute("DELETE FROM irp_job WHERE id = %s", [seeded.job_ids[0]])
    answers = [
        answer(question(seeded.job_ids[0], "1"), "FINISHED"),
        answer(question(seeded.job_ids[1], "2"), "FINISHED"),
    ]

    gone, there = record_all(answers)

    assert "could not be recorded" in gone.remark
    assert there.new_status == "FINISHED"
    assert read_job(seeded.job_ids[1])["status"] == "FINISHED"


def test_a_failed_poll_notes_that_it_was_asked_and_nothing_else(running, sql):
    before = read_job(running)

    [recorded] = record(
        [Answer(question(running), START, http_status=503, error="Moody's is down (503).")]
    )

    assert (recorded.changed, recorded.remark) == (False, "Moody's is down (503).")
    after = read_job(running)
    assert after.pop("last_tracked_ts") == START
    before.pop("last_tracked_ts")
    assert after == before


def test_the_reason_of_a_failure_is_kept_whole_up_to_a_limit(running):
    reason = "first " + "x" * 20_000 + " last"

    record([answer(question(running), "FAILED", errorMessage=reason)])

    kept = read_job(running)["last_error"]
    assert len(kept) == 8_000
    assert kept.startswith("first ")
    assert kept.endswith(" last")


def test_what_is_being_polled_is_what_is_neither_settled_nor_skipped(metastore, sql):
    seeded = analysis_batch(
        [
            job("RUNNING", "1"),
            job("FINISHED", "2"),
            job("INITIATED"),
            job("QUEUED", "4"),
            job("CANCELLING", "5"),
            job("RUNNING", "6"),
        ]
    )
    ids = seeded.job_ids
    sql.execute("UPDATE irp_job SET skipped = true WHERE id = %s", [ids[5]])
    record([answer(question(ids[0], "1"), "RUNNING", seconds=9)])
    record([answer(question(ids[3], "4"), "QUEUED", seconds=3)])

    found = jobs_to_poll([seeded.batch_id])

    assert [row["job_id"] for row in found] == [ids[2], ids[4], ids[3], ids[0]]
    assert found[0]["workflow_id"] is None
    assert found[1] == {
        "job_id": ids[4],
        "batch_id": seeded.batch_id,
        "batch_type": "Analysis",
        "workflow_id": "5",
        "status": "CANCELLING",
    }
    assert jobs_to_poll([]) == []


def test_the_clock_is_the_databases_and_goes_on(metastore, sql):
    before = sql.execute("SELECT clock_timestamp()").fetchone()[0]

    clock = server_clock()
    first, second = clock(), clock()

    after = sql.execute("SELECT clock_timestamp()").fetchone()[0]
    assert before <= first <= second <= after + timedelta(milliseconds=50)


class Statements(list):
    """The statements that connections of the pool carried out."""

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execute = psycopg.Cursor.execute

        def counted(cursor, query, *args, **kwargs):
            self.append(re.sub(r"\s+", " ", str(query))[:60])
            return execute(cursor, query, *args, **kwargs)

        monkeypatch.setattr(psycopg.Cursor, "execute", counted)


def polled_and_reconciled(seeded: SeededBatch) -> None:
    rows = jobs_to_poll([seeded.batch_id])
    questions = [question(row["job_id"], row["workflow_id"]) for row in rows]
    assert all(recorded.changed for recorded in record_all(answer(q, "FAILED") for q in questions))
    assert reconcile(seeded.batch_id).status == "FAILED"


def test_statements_grow_by_chunks_and_not_by_jobs(metastore, monkeypatch):
    counts = {}
    for number in (100, 500, 1_000):
        jobs = [PreparedJob(JobStatus.RUNNING, str(10_000_000 + i)) for i in range(number)]
        seeded = analysis_batch(jobs, cycle=f"Cycle of {number}", status=BatchStatus.ACTIVE)
        statements = Statements()
        with monkeypatch.context() as patched:
            statements.watch(patched)
            polled_and_reconciled(seeded)
        counts[number] = len(statements)

    assert recording.RECORD_CHUNK == 500
    assert counts[100] == counts[500] <= 20
    # one more chunk is one more pair of statements, and the pool's look at its connection
    assert counts[1_000] - counts[500] == 3


def test_a_batch_of_ten_thousand_is_recorded_and_reconciled(metastore):
    jobs = [PreparedJob(JobStatus.RUNNING, str(i)) for i in range(1, 10_001)]
    seeded = analysis_batch(jobs, batch_type=BatchType.ANALYSIS)

    polled_and_reconciled(seeded)
