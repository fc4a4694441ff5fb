import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import recording
from helpers.batch import reconcile
from helpers.constants import BACKWARD_MOVES, BatchStatus, BatchType, Family, JobStatus
from helpers.errors import DatabaseUnavailableError
from helpers.irp_integration.questions import Answer, Question
from helpers.job import read_job
from helpers.monitor import housekeeping
from helpers.monitor.poll_list import each_job_to_poll
from helpers.recording import record, record_all, server_clock
from sandbox.seeding import PreparedJob, SeededBatch
from tests.support.analysis import analysis_batch, job

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def question(job_id: int, workflow_id: str = "1", known: str = "RUNNING") -> Question:
    return Question(job_id, workflow_id, Family.MODEL, known)


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


@pytest.mark.parametrize(("old", "new"), sorted(BACKWARD_MOVES))
def test_a_move_back_is_applied_if_it_was_read_by_id_and_is_a_note(metastore, old, new):
    [job_id] = analysis_batch([job(old, "1")]).job_ids
    read = answer(question(job_id), new)

    [searched] = record([replace(read, from_search=True)])
    [recorded] = record([read])

    assert (searched.new_status, recorded.new_status) == (old, new)
    assert (recorded.remark, recorded.note) == (None, f"Moody's moved it back from {old} to {new}.")
    assert read_job(job_id)["status"] == new


def test_moodys_own_times_are_kept_from_every_answer_that_has_them(running, sql):
    asked = question(running)
    seen = [
        answer(asked, "QUEUED", submittedAt="2026-03-02T13:00:00.251Z", startedAt=None),
        answer(asked, "RUNNING", seconds=1, startedAt="2026-03-02T13:10:00Z"),
        answer(asked, "FINISHED", seconds=2, endTime="2026-03-02T13:20:00Z"),
    ]
    for status in seen:
        record([status])

    times = sql.execute(
        "SELECT moodys_submitted_ts, moodys_started_ts, moodys_ended_ts, completed_ts FROM irp_job"
    ).fetchone()
    assert [moment.astimezone(UTC).strftime("%H:%M:%S") for moment in times] == [
        "13:00:00",
        "13:10:00",
        "13:20:00",
        "14:00:02",
    ]


def test_housekeeping_fills_in_the_times_of_jobs_that_ended_before(metastore, sql, monkeypatch):
    seeded = analysis_batch([job("FINISHED", "1"), job("FAILED", "2"), job("RUNNING", "3")])
    bodies = ['{"submitTime": "2025-03-02T13:00:00Z"}', '{"submitTime": "once"}', "{}"]
    for job_id, body in zip(seeded.job_ids, bodies, strict=True):
        sql.execute(
            "INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id, tracking_data)"
            " VALUES (%s, '1', %s)",
            [job_id, body],
        )
    monkeypatch.setattr(housekeeping, "_TIMES", 1)

    housekeeping.fill_in_times()

    found = sql.execute(
        "SELECT extract(year FROM moodys_submitted_ts), read_ts IS NULL FROM irp_job ORDER BY id"
    ).fetchall()
    assert found == [(2025, False), (None, False), (None, True)]


@pytest.mark.parametrize("status", sorted(JobStatus.terminal()))
def test_no_answer_moves_a_job_that_has_ended(metastore, status):
    [job_id] = analysis_batch([job(status, "1")]).job_ids

    for other in JobStatus.of_moodys() - {status}:
        [recorded] = record([answer(question(job_id), other)])
        remark = f"Moody's says {other} after {status}; the job was left unchanged."
        assert recorded.remark == remark

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


def test_what_is_being_polled_is_what_is_neither_finished_nor_skipped(metastore, sql):
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
    sql.execute("UPDATE irp_job SET skipped = (id = %s)", [ids[5]])
    record([answer(question(ids[0], "1"), "RUNNING", seconds=9)])
    record([answer(question(ids[3], "4"), "QUEUED", seconds=3)])

    found = list(each_job_to_poll([seeded.batch_id]))

    assert [row["job_id"] for row in found] == [ids[2], ids[4], ids[3], ids[0]]
    assert found[0]["workflow_id"] is None
    assert found[1] == {
        "job_id": ids[4],
        "batch_id": seeded.batch_id,
        "batch_type": "Analysis",
        "workflow_id": "5",
        "status": "CANCELLING",
        "is_legacy": False,
        "is_silent": False,
        "read_ts": None,
    }
    assert list(each_job_to_poll([])) == []


def test_times_in_the_future_hold_up_no_question(metastore, sql):
    """The server's clock was ahead and was put right: such jobs come first, and count as unread."""
    seeded = analysis_batch([job("RUNNING", "1"), job("RUNNING", "2")])
    first, ahead = seeded.job_ids
    record([answer(question(first, "1"), "RUNNING", seconds=9)])
    sql.execute(
        "UPDATE irp_job SET last_tracked_ts = now() + interval '5 hours',"
        " read_ts = now() + interval '5 hours', updated_ts = now() + interval '5 hours'"
        " WHERE id = %s",
        [ahead],
    )

    found = list(each_job_to_poll([seeded.batch_id]))

    assert [row["job_id"] for row in found] == [ahead, first]
    assert (found[0]["read_ts"], found[0]["is_silent"]) == (None, True)


def test_a_job_is_silent_if_nothing_new_was_learned_of_it_for_an_hour(metastore, sql):
    seeded = analysis_batch([job("RUNNING", str(number)) for number in range(1, 4)])
    changed, read, silent = seeded.job_ids
    sql.execute("UPDATE irp_job SET updated_ts = now() - interval '2 hours'")
    sql.execute("UPDATE irp_job SET updated_ts = now() WHERE id = %s", [changed])
    sql.execute("UPDATE irp_job SET read_ts = now() WHERE id = %s", [read])

    found = {row["job_id"]: row["is_silent"] for row in each_job_to_poll([seeded.batch_id])}

    assert found == {changed: False, read: False, silent: True}


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
    rows = list(each_job_to_poll([seeded.batch_id]))
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


# --- Chunks are bounded by count and by bytes.


@given(
    sizes=st.lists(st.integers(1, 40), max_size=60),
    most=st.integers(1, 10),
    most_bytes=st.integers(1, 100),
)
def test_a_chunk_holds_no_more_than_so_many_answers_and_so_many_bytes(sizes, most, most_bytes):
    answers = [answer(question(n), "RUNNING", text="x" * size) for n, size in enumerate(sizes)]
    entries = [recording._entry(one) for one in answers]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recording, "RECORD_CHUNK", most)
        patched.setattr(recording, "RECORD_BYTES", most_bytes)
        chunks = list(recording._chunks(entries))

    assert [entry for chunk in chunks for entry in chunk] == entries
    assert all(1 <= len(chunk) <= most for chunk in chunks)
    assert all(sum(entry.size for entry in chunk[:-1]) < most_bytes for chunk in chunks)


MOST_BYTES = 300_000


@contextmanager
def server_that_drops_large_statements(sql):
    """Kill whoever logs more than ``MOST_BYTES`` in one statement."""
    sql.execute(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF (SELECT sum(length(tracking_data::text)) FROM logged) > {MOST_BYTES} THEN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$"
    )
    sql.execute(
        "CREATE TRIGGER drop_it AFTER INSERT ON irp_job_tracking_log"
        " REFERENCING NEW TABLE AS logged FOR EACH STATEMENT EXECUTE FUNCTION drop_it()"
    )
    yield
    sql.execute("DROP FUNCTION drop_it CASCADE")


def large_answers(*sizes: int) -> list[Answer]:
    jobs = [job("RUNNING", str(n)) for n in range(1, len(sizes) + 1)]
    ids = analysis_batch(jobs).job_ids
    return [
        answer(question(job_id, str(n)), "FAILED", errorMessage="no exposure", log="x" * size)
        for n, (job_id, size) in enumerate(zip(ids, sizes, strict=True), 1)
    ]


def logged(sql) -> list[tuple[object, ...]]:
    return sql.execute(
        "SELECT job_status, tracking_data IS NULL, error_message, note"
        " FROM irp_job_tracking_log ORDER BY job_id"
    ).fetchall()


def test_a_chunk_that_costs_the_connection_twice_is_halved(metastore, sql):
    answers = large_answers(*[100_000] * 7)

    with server_that_drops_large_statements(sql):
        recorded = list(record_all(answers))

    assert {item.new_status for item in recorded} == {"FAILED"}
    assert logged(sql) == [("FAILED", False, None, None)] * 7


def test_a_single_answer_that_costs_the_connection_is_recorded_without_its_body(metastore, sql):
    answers = large_answers(1_000, 400_000, 1_000)

    with server_that_drops_large_statements(sql):
        recorded = list(record_all(answers))

    assert [item.new_status for item in recorded] == ["FAILED"] * 3
    assert [item.remark for item in recorded] == [None] * 3
    first, large, last = logged(sql)
    assert first == last == ("FAILED", False, None, None)
    assert large[:3] == ("FAILED", True, None)
    assert large[3].startswith("The body (400,")
    large_job = answers[1].question.job_id
    assert read_job(large_job)["last_error"] == "no exposure"


@pytest.mark.parametrize("sqlstate", ["57014", "53200", "54000", "22P05", "XX000"])
def test_a_body_that_the_database_rejects_does_not_keep_its_job_from_its_end(
    metastore, sql, sqlstate
):
    """A statement's time, memory, a limit, an encoding without that character, a bug."""
    answers = large_answers(1_000, 400_000, 1_000)
    sql.execute(
        "CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"
    )
    sql.execute(
        "CREATE TRIGGER reject BEFORE INSERT ON irp_job_tracking_log FOR EACH ROW"
        f" WHEN (length(NEW.tracking_data::text) > {MOST_BYTES}) EXECUTE FUNCTION reject()"
    )

    recorded = list(record_all(answers))

    assert [item.new_status for item in recorded] == ["FAILED"] * 3
    assert [without_body for _, without_body, *_ in logged(sql)] == [False, True, False]


def test_a_server_that_is_away_is_not_tried_once_per_half(metastore, monkeypatch):
    answers = large_answers(*[10] * 8)
    tried: list[int] = []

    def lost(entries):
        tried.append(len(entries))
        raise DatabaseUnavailableError("The server closed the connection.")

    def away():
        raise DatabaseUnavailableError("The database cannot be reached.")

    monkeypatch.setattr(recording, "_record", lost)
    monkeypatch.setattr(recording, "server_clock", away)
    monkeypatch.setattr(recording, "_AWAY_SECONDS", 0)

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        list(record_all(answers))

    assert tried == [8]


def test_how_long_a_job_is_without_progress_is_kept(running, sql):
    """From its first answer while it runs; an answer of a search or a failed one says no less."""
    asked = question(running)
    answers = [(0, 10), (60, 10), (120, 40), (180, 40), (240, None), (420, 40), (480, 100)]
    for seconds, percent in answers:
        status = "FINISHED" if percent == 100 else "RUNNING"
        record([answer(asked, status, seconds=seconds, progress=percent)])

    [progress, since, longest] = sql.execute(
        "SELECT progress, progress_ts, longest_still_seconds FROM irp_job WHERE id = %s", [running]
    ).fetchone()
    assert (progress, since, longest) == (100, START + timedelta(seconds=480), 360.0)


def test_waiting_is_no_time_without_progress(metastore, sql):
    [job_id] = analysis_batch([job("QUEUED", "1")]).job_ids
    for seconds, status in [(0, "QUEUED"), (600, "RUNNING"), (660, "RUNNING")]:
        record([answer(question(job_id), status, seconds=seconds, progress=0)])

    [since, longest] = sql.execute(
        "SELECT progress_ts, longest_still_seconds FROM irp_job WHERE id = %s", [job_id]
    ).fetchone()
    assert (since, longest) == (START + timedelta(seconds=600), 60.0)


@pytest.mark.parametrize("odd", ["half", True, -1, 101, None, [50]])
def test_a_progress_that_makes_no_sense_is_not_kept(running, sql, odd):
    record([answer(question(running), "RUNNING", progress=odd)])

    assert sql.execute("SELECT progress FROM irp_job").fetchone() == (None,)
