"""However Moody's misbehaves, a pass ends in time, records what it tried, and says what is wrong.

It says so once. And when Moody's is back, the next pass has caught up: nothing was lost meanwhile.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from helpers.constants import BACKWARD_MOVES, BatchType, JobStatus
from helpers.irp_integration import IRPClient, questions
from sandbox.misbehaviour import Fault, Kind
from sandbox.seeding import PreparedJob, add_cycle
from tests.support.passes import FAMILIES, Pass, active_batch, configure, one_pass, rows
from tests.support.waiting import wait_until

BUDGET_SECONDS = 2.0
DEFAULT_BUDGET_SECONDS = 45.0
JOBS_PER_BATCH = 8
LONG = pytest.mark.faults  # as its neighbours, except for the time it takes
KINDS = (
    BatchType.ANALYSIS,  # searched
    BatchType.EDM_CREATION,  # searched
    BatchType.GEOHAZ,  # by id
    BatchType.MRI_IMPORT,  # by id
    BatchType.GROUPING,  # by id
)


@dataclass
class Fleet:
    """Batches of several families that run at Moody's."""

    moodys: Any
    sql: Any
    batches: dict[str, Any] = field(default_factory=dict)  # family -> batch
    workflow_ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, cycle: int, kind: BatchType, *, jobs: int) -> None:
        family = FAMILIES[kind]
        ids = self.moodys.add_jobs(family, jobs, status="RUNNING")
        prepared = [PreparedJob(JobStatus.SUBMITTED, workflow_id) for workflow_id in ids]
        self.batches[family] = active_batch(cycle, kind, prepared)
        self.workflow_ids[family] = ids

    def finish(self) -> None:
        """Let every job end well."""
        for ids in self.workflow_ids.values():
            for workflow_id in ids:
                self.moodys.set_status(workflow_id, "FINISHED")

    def statuses(self, *families: str) -> set[str]:
        ids = [self.batches[family].batch_id for family in families or self.batches]
        query = "SELECT DISTINCT status::text FROM irp_job WHERE batch_id = ANY (%s)"
        return {row[0] for row in rows(self.sql, query, ids)}

    def polls(self) -> list[tuple[Any, ...]]:
        """Return workflow id, status and error of every poll on record."""
        query = (
            "SELECT moodys_workflow_id, job_status, error_message FROM irp_job_tracking_log"
            " ORDER BY id"
        )
        return rows(self.sql, query)


@pytest.fixture
def fleet(moodys, sql, workflows, monkeypatch):
    IRPClient().transport.close()  # what it imports is loaded before a clock runs
    configure(monkeypatch, monitor_poll_budget_seconds=BUDGET_SECONDS, monitor_poll_workers=8)
    fleet = Fleet(moodys, sql)
    cycle = add_cycle("Analysis-2025-Q1")
    for kind in KINDS:
        fleet.add(cycle, kind, jobs=JOBS_PER_BATCH)
    yield fleet
    moodys.behave()
    let_in(moodys)


def let_in(moodys) -> None:
    """Accept connections again, and wait until that is so."""
    moodys.refuse_connections(0)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            requests.get(f"{moodys.url}/_sandbox/statistics", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("nobody was let in")


def timed_pass(record_property) -> Pass:
    """Run one pass, and wait until its threads have ended: an interpreter waits for them too."""
    started = time.monotonic()
    done = one_pass()
    record_property("pass_seconds", round(time.monotonic() - started, 2))
    wait_until(lambda: not asking_threads())
    return done


def asking_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("poll")]


def assert_every_attempt_is_on_record(fleet: Fleet, done: Pass) -> None:
    polls = fleet.polls()
    assert len(polls) == done.polled.jobs_polled
    assert done.polled.jobs_polled + done.polled.not_asked == done.polled.jobs_due
    asked = {i for i, n in fleet.moodys.statistics()["requests_by_job"].items() if n}
    assert asked <= {workflow_id for workflow_id, _, _ in polls}
    [(in_row, failed_in_row)] = rows(
        fleet.sql,
        "SELECT jobs_polled, polls_failed FROM irp_monitor_run ORDER BY id DESC LIMIT 1",
    )
    assert (in_row, failed_in_row) == (len(polls), sum(error is not None for *_, error in polls))


def assert_named_once(done: Pass, words: str) -> None:
    """And once more per batch where it needs a look, but not per job."""
    assert str(done.polled).count(words) == 1
    assert [words in error.text for error in done.summary.errors].count(True) == 1
    assert all(item.text.count(words) <= 1 for item in done.summary.waiting.items)
    assert "Traceback" not in str(done.summary)


def assert_catches_up(fleet: Fleet, monkeypatch) -> None:
    """One pass after Moody's is back, everything is as if nothing had happened."""
    fleet.moodys.behave()
    let_in(fleet.moodys)
    fleet.finish()
    configure(monkeypatch, monitor_poll_budget_seconds=DEFAULT_BUDGET_SECONDS)
    done = one_pass()
    assert done.polled.all_remarks == []
    assert fleet.statuses() == {"FINISHED"}
    assert set(done.became.values()) == {"COMPLETED"}
    assert not done.summary.errors or all(e.about.startswith("Step ") for e in done.summary.errors)


# --- Nothing can be had of it.

CLOSED = "Moody's closed the connection before its answer was complete."
DEAD = [
    pytest.param({"fault": Fault.HANG}, "Moody's did not answer in time.", id="hangs"),
    pytest.param(
        {"fault": Fault.LATENCY, "seconds": 30},
        "Moody's did not answer in time.",
        id="answers in 30 s",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 429},
        "Moody's asks for fewer requests (429).",
        id="429 without Retry-After",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "1"},
        "Moody's asks for fewer requests (429).",
        id="429, Retry-After a second",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "3600"},
        "Moody's asks for fewer requests (429).",
        id="429, Retry-After an hour",
    ),
    pytest.param(
        {
            "fault": Fault.HTTP_STATUS,
            "http_status": 429,
            "retry_after": "Wed, 21 Oct 2099 07:28:00 GMT",
        },
        "Moody's asks for fewer requests (429).",
        id="429, Retry-After a date",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 401},
        'Moody\'s refuses the credentials (401): "Unauthorized".',
        id="401",
    ),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 503},
        'Moody\'s is down or overloaded (503): "Service Unavailable".',
        id="503",
    ),
    pytest.param(
        {"fault": Fault.RESET},
        "Moody's closed the connection before its answer was complete.",
        id="resets",
    ),
    pytest.param(
        {"fault": Fault.SLOW_DRIP, "seconds": 0.5},
        "Moody's did not finish its answer in time.",
        id="drips",
    ),
    pytest.param(
        {"fault": Fault.SLOW_HEADERS, "seconds": 0.2},
        "Moody's did not finish its answer in time.",
        id="drips its headers",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.SLOW_DRIP, "seconds": 15},
        "Moody's did not answer in time.",
        id="drips very slowly",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.HTML_403}, "Moody's denies access (403), with an HTML page.", id="HTML"
    ),
    pytest.param(
        {"fault": Fault.TRUNCATED},
        "Moody's closed the connection before its answer was complete.",
        id="truncated",
    ),
    pytest.param(
        {"fault": Fault.MALFORMED_JSON},
        "Moody's answered with something that is not JSON.",
        id="malformed",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.NOT_AN_OBJECT},
        "Moody's answered with JSON that does not describe a job.",
        id="no object",
        marks=LONG,
    ),
    pytest.param(
        {"fault": Fault.NO_STATUS},
        "Moody's answered with a job that has no status.",
        id="no status",
    ),
]


@pytest.mark.parametrize(("how", "words"), DEAD)
def test_a_host_that_gives_nothing_costs_one_pass_and_one_sentence(
    fleet, monkeypatch, record_property, how, words
):
    fleet.moodys.misbehave(**how)

    done = timed_pass(record_property)

    assert fleet.statuses() == {"SUBMITTED"}
    assert done.polled.jobs_polled == done.polled.polls_failed > 0
    assert_every_attempt_is_on_record(fleet, done)
    assert_named_once(done, words)
    assert set(done.became.values()) == {"ACTIVE"}
    assert_catches_up(fleet, monkeypatch)


def test_a_host_that_refuses_connections_costs_one_pass_and_one_sentence(
    fleet, monkeypatch, record_property
):
    fleet.moodys.refuse_connections(600)

    done = timed_pass(record_property)

    let_in(fleet.moodys)
    assert fleet.statuses() == {"SUBMITTED"}
    assert done.polled.polls_failed > 0
    assert_every_attempt_is_on_record(fleet, done)
    assert_named_once(done, "Moody's cannot be reached: the connection was refused.")
    assert_catches_up(fleet, monkeypatch)


def test_an_answer_that_is_still_dripping_when_time_is_up_is_on_record_as_well(
    fleet, monkeypatch, record_property
):
    configure(monkeypatch, monitor_poll_budget_seconds=4)
    fleet.moodys.misbehave(Fault.SLOW_DRIP, seconds=3.5)

    done = timed_pass(record_property)

    assert done.polled.polls_failed > 0
    assert_every_attempt_is_on_record(fleet, done)
    assert_named_once(done, "Moody's did not finish its answer in time.")
    assert_catches_up(fleet, monkeypatch)


def test_a_host_that_is_down_asks_nobody_to_look_at_each_batch(fleet, monkeypatch, record_property):
    fleet.moodys.misbehave(Fault.HTTP_STATUS, http_status=503)

    done = timed_pass(record_property)

    assert done.reconciled.needing_attention == []
    assert done.summary.waiting.items == []
    assert all("submitted" in item.outcome.reason for item in done.reconciled.batches)


@pytest.mark.parametrize(
    ("family", "how"),
    [
        pytest.param("model", {"fault": Fault.HTTP_STATUS, "http_status": 503}, id="search: 503"),
        pytest.param("geohaz", {"fault": Fault.HANG}, id="hangs"),
        pytest.param("geohaz", {"fault": Fault.HTML_403}, id="HTML"),
        pytest.param("geohaz", {"fault": Fault.RESET}, id="resets", marks=LONG),
        pytest.param("model", {"fault": Fault.HANG}, id="search: hangs", marks=LONG),
        pytest.param("model", {"fault": Fault.RESET}, id="search: resets", marks=LONG),
        pytest.param(
            "model",
            {"fault": Fault.LATENCY, "seconds": 30},
            id="search: answers in 30 s",
            marks=LONG,
        ),
    ],
)
def test_one_family_that_is_down_holds_up_no_other(
    fleet, monkeypatch, record_property, family, how
):
    configure(monkeypatch, monitor_poll_workers=32)
    fleet.finish()
    fleet.moodys.misbehave(families={family}, **how)

    done = timed_pass(record_property)

    others = set(fleet.batches) - {family}
    assert fleet.statuses(family) == {"SUBMITTED"}
    assert fleet.statuses(*others) == {"FINISHED"}
    assert {fleet.batches[other].batch_id for other in others} == {
        batch_id for batch_id, became in done.became.items() if became == "COMPLETED"
    }
    assert_every_attempt_is_on_record(fleet, done)
    assert_catches_up(fleet, monkeypatch)


@pytest.mark.parametrize("minutes", [3, pytest.param(10, marks=LONG)])
def test_minutes_of_503_are_as_many_short_passes_on_record_and_then_all_is_well(
    fleet, monkeypatch, record_property, minutes
):
    fleet.moodys.misbehave(Fault.HTTP_STATUS, http_status=503)
    on_record = 0

    for _ in range(minutes):
        done = timed_pass(record_property)
        assert_named_once(done, "Moody's is down or overloaded (503)")
        assert len(fleet.polls()) == on_record + done.polled.jobs_polled
        on_record = len(fleet.polls())
        fleet.moodys.advance(60)

    assert fleet.statuses() == {"SUBMITTED"}
    assert {error for _, _, error in fleet.polls()} == {
        'Moody\'s is down or overloaded (503): "Service Unavailable".'
    }
    # The longest unasked come first, so that no job is left out of every pass.
    everything = {i for ids in fleet.workflow_ids.values() for i in ids}
    assert {workflow_id for workflow_id, _, _ in fleet.polls()} == everything
    assert_catches_up(fleet, monkeypatch)


# --- Searches that cannot be relied upon.


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"fault": Fault.IDS_MISSING}, id="every second row missing"),
        pytest.param({"fault": Fault.FILTER_IGNORED}, id="filter ignored"),
        pytest.param({"fault": Fault.WRONG_JOB_ID}, id="rows of other jobs"),
        pytest.param({"fault": Fault.NO_STATUS}, id="rows without a status"),
        pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 400}, id="refused with 400"),
        pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 404}, id="refused with 404"),
        pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 431}, id="query too long"),
        pytest.param({"fault": Fault.HTML_403}, id="HTML"),
        pytest.param({"fault": Fault.MALFORMED_JSON}, id="malformed"),
        pytest.param({"fault": Fault.NOT_AN_OBJECT}, id="no list"),
        pytest.param({"fault": Fault.HUGE}, id="huge"),
    ],
)
def test_what_a_search_does_not_tell_is_read_by_id_in_the_same_pass(
    fleet, moodys, monkeypatch, record_property, how
):
    monkeypatch.setattr(questions, "VERIFIED_PER_PASS", 2)  # or so few would not be searched for
    configure(monkeypatch, monitor_poll_budget_seconds=DEFAULT_BUDGET_SECONDS)
    moodys.add_jobs("model", 150, status="FAILED")  # what a search without its filter brings up
    fleet.finish()
    moodys.set_status(fleet.workflow_ids["model"][0], "FAILED", reason="The one that failed.")
    moodys.misbehave(kinds={Kind.SEARCH}, **how)

    done = timed_pass(record_property)

    assert done.polled.polls_failed == done.polled.not_asked == 0
    assert_every_attempt_is_on_record(fleet, done)
    assert rows(fleet.sql, "SELECT moodys_workflow_id FROM irp_job WHERE status <> 'FINISHED'") == [
        (fleet.workflow_ids["model"][0],)
    ]
    assert done.became[fleet.batches["model"].batch_id] == "FAILED"
    assert not [e for e in done.summary.errors if not e.about.startswith("Step ")]


def test_answers_larger_than_what_is_kept_count(fleet, monkeypatch, record_property):
    configure(monkeypatch, monitor_poll_budget_seconds=DEFAULT_BUDGET_SECONDS)
    fleet.finish()
    fleet.moodys.misbehave(Fault.HUGE, kinds={Kind.BY_ID}, size_bytes=5 * 1024**2)

    done = timed_pass(record_property)

    assert fleet.statuses() == {"FINISHED"}
    assert done.polled.all_remarks == []


def test_a_search_that_is_refused_is_named_once_and_is_no_error(
    fleet, monkeypatch, record_property
):
    monkeypatch.setattr(questions, "VERIFIED_PER_PASS", 2)
    fleet.moodys.misbehave(Fault.HTTP_STATUS, http_status=400, kinds={Kind.SEARCH})

    done = timed_pass(record_property)

    assert str(done.polled).count("Read one by one") == 1
    assert "Moody's model, risk data jobs" in str(done.polled)
    assert done.summary.errors == []


# --- Statuses that are none, or that are of yesterday.


@pytest.mark.parametrize(
    ("how", "label"),
    [
        pytest.param({"fault": Fault.UNKNOWN_STATUS, "status": "ARCHIVED"}, "ARCHIVED", id="new"),
        pytest.param({"fault": Fault.LOWER_CASE_STATUS}, "finished", id="lower case"),
        pytest.param(
            {"fault": Fault.UNKNOWN_STATUS, "status": " FINISHED"}, " FINISHED", id="space"
        ),
        pytest.param(
            {"fault": Fault.UNKNOWN_STATUS, "status": "SUBMITTED"}, "SUBMITTED", id="ours"
        ),
        pytest.param({"fault": Fault.UNKNOWN_STATUS, "status": "ERROR"}, "ERROR", id="ours, ended"),
    ],
)
def test_a_label_that_nobody_knows_never_counts_as_done(
    fleet, monkeypatch, record_property, how, label
):
    """It may come any day: it is kept word for word, the job stays, and people are told once."""
    fleet.finish()
    fleet.moodys.misbehave(**how)

    done = timed_pass(record_property)

    assert fleet.statuses() == {"SUBMITTED"}
    assert {status for _, status, _ in fleet.polls()} == {label}
    assert_every_attempt_is_on_record(fleet, done)
    assert_named_once(done, f"Moody's says {label!r}, an unrecognised status")
    assert len(done.reconciled.needing_attention) == len(KINDS)
    assert_catches_up(fleet, monkeypatch)


def test_a_job_that_moodys_moves_back_is_a_note_and_no_error(moodys, sql, workflows):
    """The vendor restarts a job, or refuses to cancel it: the job shows what Moody's says."""
    batch = active_batch(
        add_cycle("Analysis-2025-Q1"),
        BatchType.ANALYSIS,
        [
            PreparedJob(old, moodys.add_job("model", status=new))
            for old, new in sorted(BACKWARD_MOVES)
        ],
    )

    done = one_pass()

    statuses = rows(sql, "SELECT status::text FROM irp_job ORDER BY id")
    assert statuses == [(new.value,) for _, new in sorted(BACKWARD_MOVES)]
    assert done.summary.errors == []
    assert "Moody's moved it back from RUNNING to QUEUED." in str(done.polled)
    assert done.became == {batch.batch_id: "ACTIVE"}


def test_where_the_jobs_of_other_tools_are_known_is_remembered(moodys, sql, workflows):
    """They submit through the older API, whose jobs say in a list of their own why they failed."""
    ids = moodys.add_jobs("workflows", 3, status="RUNNING", job_type="EDM_DATA_UPGRADE")
    batch = active_batch(
        add_cycle("Analysis-2025-Q1"),
        BatchType.EDM_DB_UPGRADE,
        [PreparedJob(JobStatus.SUBMITTED, workflow_id) for workflow_id in ids],
    )
    first = one_pass()
    before = moodys.statistics()["requests"]
    moodys.set_status(ids[0], "FAILED", reason="The server version is too old.")

    done = one_pass()

    assert first.summary.errors == done.summary.errors == []
    assert moodys.statistics()["requests"]["riskdata"] == before["riskdata"] == {"by-id": 3}
    assert rows(sql, "SELECT ids_known_at FROM irp_batch WHERE id = %s", batch.batch_id) == [
        ("workflows",)
    ]
    assert rows(sql, "SELECT last_error FROM irp_job WHERE status = 'FAILED'") == [
        ("The server version is too old.",)
    ]


# --- Credentials that run out.


@pytest.fixture
def bearer(fleet, moodys, monkeypatch):
    configure(monkeypatch, risk_modeler_api_key=None)
    configure(monkeypatch, **moodys.environment(bearer=True))
    return fleet


def logins(moodys) -> int:
    return moodys.statistics()["requests"].get("auth", {}).get("login", 0)


def test_a_token_that_expires_in_mid_pass_is_renewed_once_and_no_job_is_missed(
    bearer, moodys, monkeypatch, record_property
):
    configure(monkeypatch, monitor_poll_budget_seconds=DEFAULT_BUDGET_SECONDS)
    bearer.finish()
    moodys.misbehave(Fault.LATENCY, seconds=0.05, kinds={Kind.BY_ID})

    def expire() -> None:
        deadline = time.monotonic() + 30
        while moodys.statistics()["requests_total"] < 10 and time.monotonic() < deadline:
            time.sleep(0.005)
        moodys.access.expire_tokens()

    expiring = threading.Thread(target=expire)
    expiring.start()
    done = timed_pass(record_property)
    expiring.join()

    assert bearer.statuses() == {"FINISHED"}
    assert logins(moodys) == 2
    assert done.polled.all_remarks == []
    assert_every_attempt_is_on_record(bearer, done)


LOGIN_FAULTS = [
    pytest.param({"fault": Fault.HANG}, id="hangs"),
    pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 401}, id="refused"),
    pytest.param({"fault": Fault.HTML_403}, id="HTML"),
    pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 503}, id="503", marks=LONG),
    pytest.param({"fault": Fault.LATENCY, "seconds": 30}, id="answers in 30 s", marks=LONG),
    pytest.param({"fault": Fault.RESET}, id="resets", marks=LONG),
    pytest.param({"fault": Fault.MALFORMED_JSON}, id="malformed", marks=LONG),
]


@pytest.mark.parametrize("how", LOGIN_FAULTS)
def test_a_login_that_fails_at_the_start_is_one_message_in_time(
    bearer, moodys, monkeypatch, record_property, how
):
    moodys.misbehave(kinds={Kind.LOGIN}, **how)

    done = timed_pass(record_property)

    assert done.polled.refused is not None
    assert done.polled.not_asked == done.polled.jobs_due
    assert bearer.polls() == []
    assert len(done.summary.errors) == 1
    assert done.chained.blocked
    assert_catches_up(bearer, monkeypatch)


@pytest.mark.parametrize("how", LOGIN_FAULTS)
def test_a_login_that_fails_in_mid_pass_ends_it_in_time(
    bearer, moodys, monkeypatch, record_property, how
):
    moodys.misbehave(Fault.LATENCY, seconds=0.05, kinds={Kind.BY_ID})
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401, kinds={Kind.BY_ID, Kind.SEARCH})
    original, first = moodys.access.login, threading.Event()

    def login_once(*arguments):
        first.set()
        moodys.misbehave(kinds={Kind.LOGIN}, **how)
        return original(*arguments)

    monkeypatch.setattr(moodys.access, "login", login_once)
    done = timed_pass(record_property)

    assert first.is_set()
    assert bearer.statuses() == {"SUBMITTED"}
    assert_every_attempt_is_on_record(bearer, done)
    assert len({error.text for error in done.summary.errors}) == len(done.summary.errors)
    monkeypatch.setattr(moodys.access, "login", original)
    assert_catches_up(bearer, monkeypatch)


# --- With the time that a pass has in daily use.


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("how", "words"), DEAD)
def test_with_the_default_budget_a_pass_ends_in_time_as_well(
    fleet, monkeypatch, record_property, how, words
):
    cycle = rows(fleet.sql, "SELECT id FROM irp_cycle")[0][0]
    fleet.add(cycle, BatchType.EXPORT_TO_RDM, jobs=200)
    configure(monkeypatch, monitor_poll_budget_seconds=None, monitor_poll_workers=None)
    fleet.moodys.misbehave(**how)

    done = timed_pass(record_property)

    assert fleet.statuses() == {"SUBMITTED"}
    assert_every_attempt_is_on_record(fleet, done)
    if how == {"fault": Fault.SLOW_DRIP, "seconds": 15}:  # now there is time for the first piece
        words = "Moody's did not finish its answer in time."
    assert_named_once(done, words)
    assert_catches_up(fleet, monkeypatch)
