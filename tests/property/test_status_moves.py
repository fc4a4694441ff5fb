"""Laws of the guarded update: whatever is answered, in whatever order it arrives."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.constants import BACKWARD_MOVES, JOB_MOVES, Family, JobStatus
from helpers.database import transaction
from helpers.irp_integration.questions import Answer, Question
from helpers.recording import record
from tests.support.analysis import analysis_batch, job

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
ANSWERED = [*(status.value for status in JobStatus), "HIBERNATING", None]  # None: the poll failed

answers_in_any_order = st.lists(
    st.tuples(st.sampled_from(ANSWERED), st.integers(0, 20), st.booleans()), min_size=1, max_size=12
)


@given(answers=answers_in_any_order, first=st.sampled_from(sorted(JobStatus)))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_sequence_of_answers_leaves_an_end_or_goes_back_in_time(metastore, answers, first):
    """A search never moves a job backward, and nothing overwrites an answer asked for later."""
    job_id = one_job(first.value)
    status, asked_last = first.value, None
    for answered, seconds, from_search in answers:
        asked = START + timedelta(seconds=seconds)
        [recorded] = record([poll(job_id, answered, asked, from_search=from_search)])
        if asked_last is not None and asked < asked_last:
            assert recorded.new_status is None
        else:
            asked_last = asked
            legal = answered in JobStatus.of_moodys() and answered in JOB_MOVES[JobStatus(status)]
            legal &= (status, answered) not in BACKWARD_MOVES or not from_search
            status = answered if legal else status
            assert recorded.new_status == status
        assert (stored_status(job_id), first_end(first.value, status)) == (status, True)
    assert polls_on_record(job_id) == len(answers)


def first_end(first: str, status: str) -> bool:
    return first not in JobStatus.terminal() or status == first


def poll(job_id: int, answered: str | None, asked: datetime, *, from_search: bool) -> Answer:
    question = Question(job_id, "1", Family.MODEL, "RUNNING")
    if answered is None:
        return Answer(question, asked, http_status=503, error="down")
    body = {"jobId": "1", "status": answered}
    return Answer(question, asked, answered, body, 200, from_search=from_search)


def one_job(status: str) -> int:
    return analysis_batch([job(status, "1")], cycle=uuid4().hex).job_ids[0]


def stored_status(job_id: int) -> str:
    with transaction() as connection:
        row = connection.execute(
            "SELECT status::text AS status FROM irp_job WHERE id = %s", [job_id]
        ).fetchone()
    return row["status"]


def polls_on_record(job_id: int) -> int:
    with transaction() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM irp_job_tracking_log WHERE job_id = %s", [job_id]
        ).fetchone()
    return row["n"]
