"""The stand-in's jobs move by their scripts and a clock that is an argument."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers.constants import JobStatus
from helpers.irp_integration.bodies import failure_reason
from sandbox.moodys_bodies import full_body, legacy_body, row
from sandbox.moodys_catalogue import parse_filter
from sandbox.moodys_jobs import DEFAULT_REASON, Family, JobBook, Script, ScriptRule
from sandbox.moodys_submissions import missing_keys

START = datetime(2026, 3, 2, 14, 5, 38, 251_900, tzinfo=UTC)
SLOW = Script(steps=(("QUEUED", 10), ("PENDING", 10), ("RUNNING", 100)))


@pytest.fixture
def book() -> JobBook:
    return JobBook(clock=lambda: START)


def status(book: JobBook, job_id: str) -> str:
    return next(job for job in book.all() if job.job_id == job_id).status_at(book.now())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "QUEUED"), (9.9, "QUEUED"), (10, "PENDING"), (20, "RUNNING"), (120, "FINISHED")],
)
def test_a_job_stands_where_its_script_has_led_it(book, seconds, expected):
    job = book.add(Family.MODEL, script=SLOW)
    book.advance(seconds)
    assert status(book, job.job_id) == expected


def test_the_time_scale_stretches_scripts(book):
    book.time_scale = 2
    job = book.add(Family.MODEL, script=SLOW)
    book.advance(239)
    assert status(book, job.job_id) == "RUNNING"
    book.advance(1)
    assert status(book, job.job_id) == "FINISHED"


def test_a_script_without_an_end_leaves_the_job_in_its_last_step(book):
    job = book.add(Family.MODEL, script=Script(steps=(("RUNNING", 1),), end=None))
    book.advance(1_000_000)
    assert status(book, job.job_id) == "RUNNING"


def test_another_script_changes_the_future_and_not_the_past(book):
    job = book.add(Family.MODEL, script=SLOW)
    book.advance(25)
    book.move(job.job_id, Script(steps=(("CANCELLING", 5),), end="CANCELLED"))
    assert status(book, job.job_id) == "CANCELLING"
    book.advance(5)
    assert status(book, job.job_id) == "CANCELLED"
    assert job.started_at(book.now()) == START + timedelta(seconds=20)


def test_a_body_has_its_times_as_moodys_writes_them(book):
    job = book.add(Family.MODEL, script=SLOW)
    queued = full_body(job, book.now())
    assert queued["submittedAt"] == "2026-03-02T14:05:38.251Z"
    assert not queued.keys() & {"startedAt", "endedAt"}
    book.advance(20)
    running = full_body(job, book.now())
    assert (running["startedAt"], running["endedAt"]) == ("2026-03-02T14:05:58Z", None)
    book.advance(100)
    assert full_body(job, book.now())["endedAt"] == "2026-03-02T14:07:38Z"


def test_a_body_by_id_has_tasks_and_a_row_has_none(book):
    job = book.add(Family.RISK_DATA, script=SLOW)
    body = full_body(job, book.now())
    assert isinstance(body["jobId"], str)
    assert len(body["jobId"]) == 8
    assert body["tasks"][0]["status"] == "Pending"
    assert "tasks" not in row(job, book.now())
    assert row(job, book.now()) == {k: v for k, v in body.items() if k != "tasks"}


def test_the_body_of_an_export_has_no_warnings(book):
    export = book.add(Family.EXPORT, script=SLOW)
    model = book.add(Family.MODEL, script=SLOW)
    assert "warnings" not in full_body(export, book.now())
    assert full_body(model, book.now())["warnings"] == []


def test_why_a_job_failed_stands_in_the_first_error_of_a_task_that_is_not_empty(book):
    job = book.add(Family.MODEL, script=Script.standing("FAILED", "No hazard for 12 locations."))
    body = full_body(job, book.now())
    assert body["tasks"][0]["output"]["errors"][0]["message"] == ""
    assert failure_reason(body) == "No hazard for 12 locations."
    assert failure_reason(legacy_body(job, book.now())) == "No hazard for 12 locations."


def test_a_failure_has_a_reason_even_if_nobody_gave_one(book):
    job = book.add(Family.MODEL, script=Script(steps=(), end="FAILED"))
    assert failure_reason(full_body(job, book.now())) == DEFAULT_REASON


def test_a_legacy_body_has_ints_for_ids_and_not_available_for_what_is_missing(book):
    job = book.add(Family.WORKFLOWS, script=SLOW)
    body = legacy_body(job, book.now())
    assert body["id"] == int(job.job_id)
    assert body["jobs"][0]["workflowId"] == int(job.job_id)
    assert body["output"] == {"resultUri": "Not Available"}
    assert not body.keys() & {"jobId", "tasks", "details"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (ScriptRule(SLOW), SLOW),
        (ScriptRule(SLOW, job_type="DLM"), SLOW),
        (ScriptRule(SLOW, job_type="GEOHAZ"), Script()),
        (ScriptRule(SLOW, name="*Florida*"), SLOW),
        (ScriptRule(SLOW, name="*/portfolios/7"), SLOW),  # the resource's URI
        (ScriptRule(SLOW, name="Florida"), Script()),  # a pattern covers the whole name
        (ScriptRule(SLOW, times=0), Script()),
    ],
)
def test_a_rule_scripts_the_submissions_that_it_matches(book, rule, expected):
    book.add_rule(rule)
    assert book.script_for("DLM", "USHU Florida 1", "/exposures/1/portfolios/7") == expected


def test_the_newest_rule_counts_and_one_for_the_next_few_is_used_up(book):
    failing = Script(end="FAILED")
    book.add_rule(ScriptRule(SLOW))
    book.add_rule(ScriptRule(failing, times=2))
    assert [book.script_for("DLM", "a") for _ in range(3)] == [failing, failing, SLOW]


def test_an_id_that_was_asked_for_is_not_given_out_again(book):
    first = book.add(Family.MODEL, script=SLOW)
    book.add(Family.MODEL, script=SLOW, job_id=str(int(first.job_id) + 1))
    third = book.add(Family.MODEL, script=SLOW)
    assert third.job_id == str(int(first.job_id) + 2)


def test_ten_thousand_jobs_are_put_in(book):
    for _ in range(10_000):
        book.add(Family.MODEL, script=Script.standing(JobStatus.RUNNING))
    assert book.count_by_status() == {"RUNNING": 10_000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('jobId IN ("1", "2")', [("jobId", {"1", "2"})]),
        ('jobId in ("1","2")', [("jobId", {"1", "2"})]),
        ('status = "QUEUED"', [("status", {"QUEUED"})]),
        ('a="x" AND b IN ("y")', [("a", {"x"}), ("b", {"y"})]),
        ('databaseName LIKE "RDM*"', [("databaseName", {"RDM*"})]),
        ('name = "An AND in it"', [("name", {"An AND in it"})]),
    ],
)
def test_a_filter_is_understood(text, expected):
    assert [(term.field, set(term.values)) for term in parse_filter(text)] == expected


@pytest.mark.parametrize("text", ["jobId IN (1, 2)", "jobId = 1", "nonsense", 'a="x" OR b="y"'])
def test_a_filter_that_is_not_understood_is_refused(text):
    with pytest.raises(ValueError, match="Invalid filter"):
        parse_filter(text)


def test_a_prefix_in_a_filter_ends_with_a_star():
    (term,) = parse_filter('databaseName LIKE "RDM_1*"')
    assert term.holds({"databaseName": "RDM_1_abc"})
    assert not term.holds({"databaseName": "RDM_2"})


def test_missing_keys_are_named_as_paths():
    body = {"a": 1, "settings": {"name": "", "id": 0}}
    assert missing_keys(body, ("a", "b", "settings.name", "settings.id", "a.c")) == [
        "b",
        "settings.name",
        "a.c",
    ]


def test_a_script_is_read_from_json():
    script = Script.of_json({"steps": [["QUEUED", 1]], "end": "FAILED", "reason": "why"})
    assert script == Script(steps=(("QUEUED", 1.0),), end="FAILED", reason="why")
    with pytest.raises(TypeError):
        Script.of_json({"nonsense": 1})
