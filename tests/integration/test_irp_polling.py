import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from helpers.constants import BACKWARD_MOVES, BatchType, Family
from helpers.irp_integration import IRPClient, pace, polling, transport
from helpers.irp_integration import questions as questions_module
from helpers.irp_integration.bodies import failure_reason
from helpers.irp_integration.health import SearchProblem
from helpers.irp_integration.polling import Poller
from helpers.irp_integration.questions import PROVEN, Answer, Question
from sandbox.misbehaviour import Fault
from tests.support.passes import wait_until

GEOHAZ, IMPORT, MODEL, RISK_DATA = Family.GEOHAZ, Family.IMPORT, Family.MODEL, Family.RISK_DATA
NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def ask(moodys):
    """Ask about jobs, with a poller that is then looked at."""
    made: list[Poller] = []
    with IRPClient(connections=8) as client:

        def asked(
            questions, *, budget_seconds=30.0, workers=8, searchable=PROVEN
        ) -> tuple[list[Answer], Poller]:
            poller = Poller(
                client.transport, workers, budget_seconds, lambda: NOW, searchable=searchable
            )
            made.append(poller)
            return list(poller.ask(questions)), poller

        yield asked


def questions(ids, *, family=Family.MODEL, known="RUNNING", first=1) -> list[Question]:
    return [Question(n, str(i), family, known) for n, i in enumerate(ids, first)]


def by_job(answers: list[Answer]) -> dict[int, str | None]:
    assert len({a.question.job_id for a in answers}) == len(answers)
    return {a.question.job_id: a.status for a in answers}


def requests_of(moodys, family="model") -> dict[str, int]:
    return moodys.statistics()["requests"].get(family, {})


def test_nothing_to_ask_asks_nothing(ask, moodys):
    assert ask([])[0] == []
    assert moodys.statistics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("family", "name"), [(Family.MODEL, "model"), (Family.RISK_DATA, "riskdata")]
)
def test_unchanged_jobs_cost_a_search_per_hundred_and_twenty_reads(ask, moodys, family, name):
    ids = moodys.add_jobs(name, 250, status="RUNNING")

    answers, poller = ask(questions(ids, family=family))

    assert set(by_job(answers).values()) == {"RUNNING"}
    assert len(answers) == 250
    assert requests_of(moodys, name) == {"search": 3, "by-id": 20}
    assert (poller.health.outages, poller.out_of_time) == ([], 0)
    assert poller.health.credentials_error is None
    assert {(a.asked_ts, a.http_status) for a in answers} == {(NOW, 200)}


@pytest.fixture
def unverified(monkeypatch):
    """Nobody is read by id before a search: small numbers of jobs are searched for as well."""
    monkeypatch.setattr(questions_module, "VERIFIED_PER_PASS", 0)


def test_so_few_jobs_as_would_be_verified_are_not_searched_for(ask, moodys):
    ids = moodys.add_jobs("model", 20, status="RUNNING")

    answers, _ = ask(questions(ids))

    assert len(answers) == 20
    assert requests_of(moodys) == {"by-id": 20}


def test_a_job_that_ended_is_read_by_id_so_that_its_full_body_is_on_record(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 10, status="RUNNING")
    moodys.set_status(ids[3], "FAILED", reason="no exposure")

    answers, _ = ask(questions(ids))

    assert requests_of(moodys) == {"search": 1, "by-id": 1}
    [failed] = [a for a in answers if a.status == "FAILED"]
    assert failed.question.workflow_id == str(ids[3])
    assert failed.body["tasks"]


def test_a_row_is_enough_for_a_job_that_moved_on_and_has_not_ended(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 250, status="RUNNING")

    answers, _ = ask(questions(ids, known="QUEUED"))

    assert by_job(answers) == dict.fromkeys(range(1, 251), "RUNNING")
    assert requests_of(moodys) == {"search": 3}
    assert all(answer.from_search and answer.body["name"] for answer in answers)


@pytest.mark.parametrize(("old", "new"), sorted(BACKWARD_MOVES))
def test_a_move_back_is_read_by_id(ask, moodys, unverified, old, new):
    ids = moodys.add_jobs("model", 2, status=new)

    answers, _ = ask(questions(ids, known=old))

    assert [(answer.status, answer.is_read) for answer in answers] == [(new, True)] * 2


def test_a_job_that_did_not_come_back_is_read_by_id(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 10, status="RUNNING")
    moodys.misbehave(Fault.IDS_MISSING, kinds={"search"}, job_ids=[str(ids[0]), str(ids[9])])

    answers, _ = ask(questions(ids))

    assert by_job(answers) == dict.fromkeys(range(1, 11), "RUNNING")
    assert requests_of(moodys) == {"search": 1, "by-id": 2}


def test_a_search_that_ignores_its_filter_is_seen_through(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 10, status="RUNNING")
    moodys.add_jobs("model", 150, status="FINISHED")
    moodys.misbehave(Fault.FILTER_IGNORED, kinds={"search"})

    answers, _ = ask(questions(ids))

    assert by_job(answers) == dict.fromkeys(range(1, 11), "RUNNING")
    assert requests_of(moodys) == {"search": 1, "by-id": 10}


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": Fault.HTTP_STATUS, "http_status": 400},
        {"fault": Fault.HTTP_STATUS, "http_status": 431},
        {"fault": Fault.HTML_403},
        {"fault": Fault.MALFORMED_JSON},
    ],
)
def test_a_search_that_is_of_no_use_is_not_tried_for_every_chunk(ask, moodys, fault):
    ids = moodys.add_jobs("model", 210, status="RUNNING")
    moodys.misbehave(**fault, kinds={"search"})

    answers, poller = ask(questions(ids), workers=1)

    assert by_job(answers) == dict.fromkeys(range(1, 211), "RUNNING")
    assert requests_of(moodys) == {"search": 1, "by-id": 210}
    assert poller.health.outages == []


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": Fault.HTTP_STATUS, "http_status": 500},
        {"fault": Fault.HTTP_STATUS, "http_status": 429},
        {"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "3600"},
        {"fault": Fault.HTTP_STATUS, "http_status": 503, "retry_after": "1"},
        {"fault": Fault.HANG},
        {"fault": Fault.SLOW_HEADERS},
        {"fault": Fault.RESET},
    ],
    ids=str,
)
def test_what_a_search_cannot_tell_is_read_by_id_in_the_same_pass(ask, moodys, fault):
    """Its trouble is not the host's."""
    ids = moodys.add_jobs("model", 150, status="FINISHED")
    moodys.misbehave(**fault, kinds={"search"})

    answers, poller = ask(questions(ids), budget_seconds=20)

    assert by_job(answers) == dict.fromkeys(range(1, 151), "FINISHED")
    assert requests_of(moodys)["by-id"] == 150
    assert requests_of(moodys)["search"] <= 2
    assert poller.health.outages == []
    assert set(poller.health.search_problems) == {MODEL}


def test_a_search_that_fails_once_in_a_while_is_used_on(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 400, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=500, kinds={"search"}, job_ids=[str(ids[150])])

    answers, poller = ask(questions(ids), workers=1)

    assert by_job(answers) == dict.fromkeys(range(1, 401), "RUNNING")
    assert requests_of(moodys) == {"search": 5, "by-id": 100}  # two tries for the second chunk
    assert poller.health.search_problems == {}


def test_a_search_that_is_behind_is_believed_about_nobody(ask, moodys):
    """It says RUNNING for hours, and by id they have finished."""
    ids = moodys.add_jobs("model", 350, status="FINISHED")
    moodys.misbehave(Fault.UNKNOWN_STATUS, status="RUNNING", kinds={"search"})

    answers, poller = ask(questions(ids))

    assert by_job(answers) == dict.fromkeys(range(1, 351), "FINISHED")
    assert requests_of(moodys) == {"search": 1, "by-id": 350}
    assert poller.health.search_problems == {
        MODEL: SearchProblem("It is behind what reads by id say.", is_wrong=True)
    }


def test_a_search_that_nobody_has_seen_is_used_if_it_proves_itself(ask, moodys):
    ids = moodys.add_jobs("geohaz", 250, status="RUNNING")
    moodys.let_search("geohaz")

    answers, poller = ask(questions(ids, family=GEOHAZ), searchable=Family)

    assert by_job(answers) == dict.fromkeys(range(1, 251), "RUNNING")
    assert requests_of(moodys, "geohaz") == {"search": 3, "by-id": 20}
    assert poller.health.search_problems == {}


@pytest.mark.parametrize(
    "fault",
    [
        None,  # 404: there is none
        {"fault": Fault.IDS_MISSING},
        {"fault": Fault.FILTER_IGNORED},
        {"fault": Fault.UNKNOWN_STATUS, "status": "QUEUED"},
        {"fault": Fault.WRONG_JOB_ID},
        {"fault": Fault.HTML_403},
        {"fault": Fault.HTTP_STATUS, "http_status": 500},
        {"fault": Fault.HTTP_STATUS, "http_status": 204},
        {"fault": Fault.NOT_AN_OBJECT},
    ],
    ids=str,
)
def test_a_search_that_nobody_has_seen_is_not_used_unless_it_proves_itself(ask, moodys, fault):
    ids = moodys.add_jobs("geohaz", 150, status="RUNNING")
    if fault is not None:
        moodys.let_search("geohaz")
        moodys.add_jobs("geohaz", 150, status="FINISHED")  # what comes up without the filter
        moodys.misbehave(**fault, kinds={"search"})

    answers, poller = ask(questions(ids, family=GEOHAZ), searchable=Family)

    assert by_job(answers) == dict.fromkeys(range(1, 151), "RUNNING")
    assert all(answer.is_read for answer in answers)
    assert requests_of(moodys, "geohaz")["by-id"] == 150
    assert requests_of(moodys, "geohaz")["search"] <= 2
    assert set(poller.health.search_problems) == {GEOHAZ}


def test_the_silent_are_verified_first_and_then_the_longest_unread(ask, moodys):
    ids = moodys.add_jobs("model", 150, status="RUNNING")
    asked = [
        replace(
            question,
            is_silent=number in {40, 140},
            read_ts=None if number in {50, 60} else NOW + timedelta(seconds=number),
        )
        for number, question in enumerate(questions(ids))
    ]

    answers, _ = ask(asked)

    read = {answer.question.job_id - 1 for answer in answers if answer.is_read}
    assert read == {40, 140, 50, 60, *range(16)}


@pytest.mark.parametrize(
    ("jobs", "per_second"),
    [(600, 100), pytest.param(600, 20, marks=[pytest.mark.faults, pytest.mark.timeout(120)])],
)
@pytest.mark.parametrize("workers", [8, 64])
def test_a_host_that_throttles_is_asked_as_fast_as_it_allows(
    ask, moodys, jobs, per_second, workers
):
    ids = moodys.add_jobs("geohaz", jobs, status="RUNNING")
    moodys.misbehave(Fault.RATE_LIMIT, per_second=per_second, retry_after="1")

    answers, poller = ask(questions(ids, family=GEOHAZ), budget_seconds=45, workers=workers)

    assert by_job(answers) == dict.fromkeys(range(1, jobs + 1), "RUNNING")
    assert (poller.health.outages, poller.out_of_time) == ([], 0)


def test_a_host_that_lets_nothing_through_is_down(ask, moodys):
    ids = moodys.add_jobs("geohaz", 60, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=429, retry_after="0")

    answers, poller = ask(questions(ids, family=GEOHAZ), workers=4)

    [outage] = poller.health.outages
    assert outage.reason == "Moody's asks for fewer requests (429)."
    assert {answer.error for answer in answers} == {outage.reason}
    assert len(answers) + outage.unasked == 60


def test_a_job_that_is_always_throttled_holds_up_no_other(ask, moodys, monkeypatch):
    monkeypatch.setattr(pace, "_PAUSE_SECONDS", 0.05)
    ids = moodys.add_jobs("geohaz", 10, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=429, job_ids={ids[0], ids[5]})

    answers, poller = ask(questions(ids, family=GEOHAZ), workers=1)

    assert by_job(answers) == dict.fromkeys(range(1, 11), "RUNNING") | {1: None, 6: None}
    assert poller.health.outages == []


def test_a_family_that_is_throttled_holds_up_no_other(ask, moodys):
    slow = moodys.add_jobs("geohaz", 5, status="RUNNING")
    quick = moodys.add_jobs("import", 50, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=429, retry_after="3600", families={"geohaz"})

    answers, poller = ask(
        questions(slow, family=GEOHAZ) + questions(quick, family=IMPORT, first=101)
    )

    assert sum(answer.status == "RUNNING" for answer in answers) == 50
    assert [outage.family for outage in poller.health.outages] == [GEOHAZ]


def test_answers_that_nobody_takes_are_bounded_by_bytes(ask, moodys, monkeypatch):
    monkeypatch.setattr(polling, "_MOST_HELD_BYTES", 100_000)
    ids = moodys.add_jobs("geohaz", 40, status="RUNNING")
    moodys.misbehave(Fault.HUGE, size_bytes=60_000)
    with IRPClient(connections=2) as client:
        answers = Poller(client.transport, 2, 30.0, lambda: NOW).ask(questions(ids, family=GEOHAZ))
        next(answers)
        wait_until(lambda: requests_of(moodys, "geohaz")["by-id"] >= 3)
        assert requests_of(moodys, "geohaz")["by-id"] <= 6
        assert len(list(answers)) == 39


def test_families_without_a_proven_search_are_read_by_id_side_by_side(ask, moodys):
    ids = moodys.add_jobs("geohaz", 40, status="RUNNING")
    moodys.misbehave(Fault.LATENCY, seconds=0.05)

    answers, _ = ask(questions(ids, family=Family.GEOHAZ))

    assert len(answers) == 40
    assert requests_of(moodys, "geohaz") == {"by-id": 40}
    assert 2 <= moodys.statistics()["most_in_flight"] <= 8


def test_a_job_that_another_tool_submitted_is_found_where_such_tools_submit(ask, moodys):
    ids = moodys.add_jobs("workflows", 3, status="FAILED", job_type="MRI_IMPORT", reason="No file.")
    imports = [replace(q, batch_type=BatchType.MRI_IMPORT) for q in questions(ids, family=IMPORT)]
    first, *others = imports

    answers, _ = ask([first, *(replace(question, is_legacy=True) for question in others)])

    assert by_job(answers) == dict.fromkeys(range(1, 4), "FAILED")
    assert all(answer.is_legacy and answer.is_read for answer in answers)
    assert {failure_reason(answer.body) for answer in answers} == {"No file."}
    assert requests_of(moodys, "import") == {"by-id": 1}
    assert requests_of(moodys, "workflows") == {"by-id": 3}


@pytest.mark.parametrize(
    ("batch_type", "job_type"),
    [
        # another kind of job has the same id there
        (BatchType.MRI_IMPORT, "EDM_DATA_UPGRADE"),
        (BatchType.EDM_DB_UPGRADE, "MRI_IMPORT"),
        # jobs of these types are not submitted there
        (BatchType.EDM_CREATION, "EDM_DATA_UPGRADE"),
        (BatchType.GEOHAZ, "GEOHAZ"),
    ],
)
def test_what_is_found_there_is_believed_only_if_its_type_fits(ask, moodys, batch_type, job_type):
    [known] = moodys.add_jobs("workflows", 1, status="FINISHED", job_type=job_type)
    [question] = questions([known], family=batch_type.family)

    [answer], _ = ask([replace(question, batch_type=batch_type)])

    assert (answer.status, answer.http_status) == (None, 404)
    assert "does not know job" in answer.error


def test_a_job_of_ours_in_such_a_batch_is_found_in_its_family(ask, moodys):
    [known] = moodys.add_jobs("import", 1, status="RUNNING")
    [question] = questions([known], family=IMPORT)

    [answer], _ = ask([replace(question, batch_type=BatchType.MRI_IMPORT, is_legacy=True)])

    assert (answer.status, answer.is_legacy) == ("RUNNING", False)


def test_a_name_that_is_resolved_for_ever_keeps_no_pass(ask, moodys, monkeypatch):
    ids = moodys.add_jobs("geohaz", 3, status="RUNNING")
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])

    answers, _ = ask(questions(ids, family=GEOHAZ), budget_seconds=1.0)

    assert {answer.error for answer in answers} == {"Moody's did not finish its answer in time."}
    assert len(answers) == 3
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("poll"))
    over.set()


def test_one_bad_job_does_not_keep_the_others(ask, moodys):
    ids = moodys.add_jobs("geohaz", 10, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=404, job_ids=[str(ids[4])])

    answers, poller = ask(
        [*questions(ids, family=Family.GEOHAZ), Question(99, "N/A", Family.GEOHAZ, "RUNNING")]
    )

    problems = {a.question.job_id: (a.http_status, a.error) for a in answers if a.error}
    assert set(problems) == {5, 99}
    assert problems[5][0] == 404
    assert "is not a valid job id" in problems[99][1]
    assert len(answers) == 11
    assert poller.health.outages == []


def test_an_id_in_other_digits_spoils_nobodys_search(ask, moodys):
    [known] = moodys.add_jobs("model", 1, status="RUNNING")

    answers, _ = ask(questions([known, "١٢٣"]))

    assert by_job(answers) == {1: "RUNNING", 2: None}
    assert requests_of(moodys) == {"by-id": 1}


def test_a_family_that_is_down_is_noticed_after_a_few_failures_and_named_once(ask, moodys):
    ids = moodys.add_jobs("geohaz", 200, status="RUNNING")
    others = moodys.add_jobs("model", 5, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, families={"geohaz"})
    asked = questions(ids, family=Family.GEOHAZ) + [
        Question(1_000 + n, str(i), Family.MODEL, "RUNNING") for n, i in enumerate(others)
    ]

    answers, poller = ask(asked, workers=4)

    [outage] = poller.health.outages
    failed = [a for a in answers if a.error is not None]
    assert outage.family is Family.GEOHAZ
    assert "503" in outage.reason
    assert 5 <= len(failed) <= 5 + 4
    assert outage.unasked == 200 - len(failed)
    assert sum(a.status == "RUNNING" for a in answers) == 5


def test_failures_that_are_not_in_a_row_are_no_outage(ask, moodys):
    ids = moodys.add_jobs("geohaz", 40, status="RUNNING")
    bad = [str(i) for n, i in enumerate(ids) if n % 2]
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, job_ids=bad)

    answers, poller = ask(questions(ids, family=Family.GEOHAZ), workers=1)

    assert len(answers) == 40
    assert poller.health.outages == []


def test_refused_credentials_end_the_asking_at_once(ask, moodys):
    ids = moodys.add_jobs("geohaz", 200, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401)

    answers, poller = ask(questions(ids, family=Family.GEOHAZ), workers=4)

    assert 5 <= len(answers) <= 5 + 4  # five in a row, and what was under way
    assert "RISK_MODELER_API_KEY" in str(poller.health.credentials_error)
    assert (poller.health.outages, poller.out_of_time) == ([], 0)


def test_a_family_that_this_key_may_not_see_keeps_no_other_from_being_asked(ask, moodys):
    closed = moodys.add_jobs("geohaz", 40, status="RUNNING")
    opened = moodys.add_jobs("import", 40, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401, families={"geohaz"})

    answers, poller = ask(
        questions(closed, family=Family.GEOHAZ)
        + questions(opened, family=Family.IMPORT, first=1000),
        workers=4,
    )

    assert len([answer for answer in answers if answer.error is None]) == 40
    assert poller.health.credentials_error is None
    assert [outage.family for outage in poller.health.outages] == [Family.GEOHAZ]


def test_what_nobody_foresaw_is_an_answer_too(ask, moodys, monkeypatch):
    ids = moodys.add_jobs("geohaz", 2, status="RUNNING")

    def break_down(*args: object, **how: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(polling, "read", break_down)

    answers, poller = ask(questions(ids, family=Family.GEOHAZ))

    assert [answer.error for answer in answers] == ["MemoryError: no room"] * 2
    assert poller.out_of_time == 0


def test_a_401_to_a_search_is_about_those_that_get_it_one_by_one(ask, moodys, unverified):
    ids = moodys.add_jobs("model", 150, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401, job_ids=[str(ids[3])])

    answers, poller = ask(questions(ids), workers=1)

    assert {i for i, status in by_job(answers).items() if status is None} == {4}
    assert len(answers) == 150
    assert (poller.health.credentials_error, poller.health.outages) == (None, [])


def test_a_searched_family_that_gets_nothing_but_401_costs_a_few_requests(ask, moodys):
    ids = moodys.add_jobs("model", 250, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401)

    answers, poller = ask(questions(ids), workers=1)

    assert requests_of(moodys) == {"by-id": 5}
    assert len(answers) == 5
    assert poller.health.credentials_error is not None


def test_where_the_only_answer_is_a_401_it_is_about_the_credentials(ask, moodys):
    ids = moodys.add_jobs("geohaz", 1, status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401)

    [answer], poller = ask(questions(ids, family=Family.GEOHAZ))

    assert answer.http_status == 401
    assert poller.health.credentials_error is not None


def test_what_the_budget_does_not_reach_is_counted_and_not_answered(ask, moodys):
    ids = moodys.add_jobs("geohaz", 60, status="RUNNING")
    moodys.misbehave(Fault.LATENCY, seconds=0.2)

    answers, poller = ask(questions(ids, family=Family.GEOHAZ), workers=2, budget_seconds=1.0)

    answered = [a for a in answers if a.error is None]
    assert len(answered) < 60  # two workers, and five answers a second for each
    assert len(answers) + poller.out_of_time == 60
    assert poller.health.outages == []


def test_the_longest_unasked_are_asked_first(ask, moodys):
    ids = moodys.add_jobs("geohaz", 20, status="RUNNING")

    answers, _ = ask(questions(ids, family=Family.GEOHAZ), workers=1)

    assert [a.question.job_id for a in answers] == list(range(1, 21))


def test_a_search_is_made_where_its_first_job_stands(ask, moodys, unverified):
    geohaz = questions(moodys.add_jobs("geohaz", 6, status="RUNNING"), family=Family.GEOHAZ)
    model = questions(moodys.add_jobs("model", 3, status="RUNNING"), first=101)

    answers, _ = ask([*geohaz[:2], model[0], *geohaz[2:5], *model[1:], geohaz[5]], workers=1)

    assert [a.question.job_id for a in answers] == [1, 2, 101, 102, 103, 3, 4, 5, 6]
    assert requests_of(moodys) == {"search": 1}


def test_what_a_search_leaves_to_read_is_read_before_whoever_stands_behind_it(
    ask, moodys, unverified
):
    ids = moodys.add_jobs("model", 150, status="RUNNING")
    for changed in (ids[0], ids[99], ids[100]):
        moodys.set_status(changed, "FINISHED")
    geohaz = questions(
        moodys.add_jobs("geohaz", 4, status="RUNNING"), family=Family.GEOHAZ, first=201
    )

    answers, _ = ask([*questions(ids), *geohaz], workers=1)

    order = [a.question.job_id for a in answers]
    assert order == [*range(2, 100), 1, 100, *range(102, 151), 101, *range(201, 205)]
    assert requests_of(moodys) == {"search": 2, "by-id": 3}


def test_a_listener_that_is_busy_holds_up_no_thread(ask, moodys):
    """Recording answers takes time, in which Moody's is asked on."""
    ids = moodys.add_jobs("model", 100, status="FINISHED")
    with IRPClient(connections=4) as client:
        answers = Poller(client.transport, 4, 30.0, lambda: NOW).ask(
            [
                *questions(moodys.add_jobs("geohaz", 1, status="RUNNING"), family=Family.GEOHAZ),
                *questions(ids, first=101),
                *questions(
                    moodys.add_jobs("import", 200, status="RUNNING"),
                    family=Family.IMPORT,
                    first=301,
                ),
            ]
        )
        next(answers)

        wait_until(lambda: requests_of(moodys) == {"search": 1, "by-id": 100})
        answers.close()


def test_whoever_stops_listening_leaves_no_question_behind(ask, moodys):
    ids = moodys.add_jobs("geohaz", 200, status="RUNNING")
    with IRPClient(connections=2) as client:
        poller = Poller(client.transport, 2, 30.0, lambda: NOW)
        answers = poller.ask(questions(ids, family=Family.GEOHAZ))
        next(answers)
        answers.close()
        for thread in threading.enumerate():
            if thread.name.startswith("poll"):
                thread.join(20)

    assert moodys.statistics()["requests_total"] < 200
