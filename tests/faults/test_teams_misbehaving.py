"""Whatever Teams does, each event is told once, in order, and within what Teams takes."""

import json
import re

import pytest

from helpers.constants import BatchType, JobStatus
from helpers.notifications.cards import MAX_MESSAGE_BYTES
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_cycle
from sandbox.teams import MOST_BYTES
from tests.support import faults_checks
from tests.support.passes import Pass, active_batch, one_pass, rows

PASSES_DOWN = 10
STORM = 200
MOST_A_SECOND, MOST_AN_HOUR = 4, 100
LONG = pytest.mark.faults


@pytest.fixture
def cycle(metastore, moodys, teams, workflows) -> int:
    return add_cycle("Analysis-2025-Q1")


def failing_batch(cycle: int, moodys, name: str) -> int:
    """Add a batch that the next pass finds failed, for a reason of its own."""
    workflow_id = moodys.add_job("import", status="FAILED", reason=f"<reason {name}>")
    job = PreparedJob(JobStatus.SUBMITTED, workflow_id)
    return active_batch(cycle, BatchType.MRI_IMPORT, [job]).batch_id


def names_in(teams) -> list[str]:
    """Return the names of the failures that Teams was told of, in order."""
    return re.findall(r"<reason ([^>]*)>", "".join(map(json.dumps, teams.messages)))


def minutes_pass(sql, minutes: int = 16) -> None:
    """Let time pass for the outbox: longer than its longest delay between tries."""
    sql.execute(
        "UPDATE irp_notification SET next_attempt_ts = next_attempt_ts - make_interval(mins => %s),"
        " created_ts = created_ts - make_interval(mins => %s),"
        " sent_ts = sent_ts - make_interval(mins => %s)",
        [minutes] * 3,
    )


DOWN = [
    pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 503}, id="503"),
    pytest.param(
        {"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "30"},
        id="429",
        marks=LONG,
    ),
    pytest.param({"fault": Fault.HTTP_STATUS, "http_status": 404}, id="404", marks=LONG),
    pytest.param({"fault": Fault.HTML_403}, id="HTML", marks=LONG),
    pytest.param({"fault": Fault.RESET}, id="resets"),
    pytest.param({"fault": Fault.HANG}, id="hangs", marks=LONG),
]


@pytest.mark.parametrize("how", DOWN)
def test_ten_passes_without_teams_and_then_each_event_is_sent_once_in_order(
    cycle, moodys, teams, sql, monkeypatch, how
):
    monkeypatch.setattr("helpers.notifications.teams._TIMEOUT_SECONDS", 1)
    teams.misbehave(**how)
    names = [f"{number:02}" for number in range(PASSES_DOWN)]
    failed = []
    for name in names:
        failed.append(failing_batch(cycle, moodys, name))
        done = one_pass()
        assert done.became == {failed[-1]: "FAILED"}
        assert (done.summary.cards_sent, done.summary.cards_waiting) == (0, len(failed))
        assert done.summary.cards_problem
        assert done.summary.errors == []
        minutes_pass(sql)
    assert teams.messages == []

    teams.behave()
    done = one_pass()

    assert names_in(teams) == names
    assert done.summary.cards_waiting == 0
    assert faults_checks.cards(sql) == [("BATCH_FAILED", i, 1, "SENT") for i in failed]
    assert one_pass().summary.cards_sent == 0
    assert names_in(teams) == names


def test_one_try_per_round_is_made_while_teams_is_down(cycle, moodys, teams, sql):
    """The first card that Teams does not take ends the round, so that the order is kept."""
    teams.misbehave(Fault.HTTP_STATUS, http_status=503)
    for number in range(3):
        failing_batch(cycle, moodys, f"{number}")

    one_pass()
    one_pass()  # within the minute after which the first one is due again

    assert teams.statistics()["requests_total"] == 1


def test_a_card_whose_answer_is_lost_is_the_only_one_that_comes_twice(cycle, moodys, teams, sql):
    """Teams has it, and nobody can know: all others come once."""
    names = ["a", "b"]
    for name in names:
        failing_batch(cycle, moodys, name)
    teams.misbehave(Fault.RESET, carried_out=True, times=1)

    one_pass()
    minutes_pass(sql)
    one_pass()

    first, again, other = names_in(teams)  # batches of one pass end in any order
    assert first == again
    assert {first, other} == set(names)


def assert_within_limits(message: dict) -> None:
    size = len(json.dumps(message).encode())
    assert size <= MAX_MESSAGE_BYTES <= 21_000 < MOST_BYTES
    [attachment] = message["attachments"]
    assert attachment["content"]["version"] <= "1.4"


def storm_passes(teams, sql, most: int) -> list[Pass]:
    """Run passes until the outbox is empty, letting a minute pass after each."""
    passes = []
    while not passes or passes[-1].summary.cards_waiting:
        before = len(teams.messages)
        passes.append(one_pass())
        assert len(teams.messages) - before <= MOST_A_SECOND
        assert len(passes) <= most, "the outbox is not emptied"
        minutes_pass(sql, 1)
    return passes


@pytest.mark.parametrize("reason_length", [30, pytest.param(6_000, marks=LONG)])
def test_a_storm_of_failures_becomes_a_few_digests_that_tell_each_once(
    cycle, moodys, teams, sql, reason_length
):
    names = [f"{number:03}" for number in range(STORM)]
    for name in names:
        failing_batch(cycle, moodys, f"{name} {'x' * reason_length}")

    passes = storm_passes(teams, sql, most=60)

    assert sorted(name[:3] for name in beginnings(teams)) == names
    assert len(teams.messages) <= MOST_AN_HOUR
    assert sum(done.summary.cards_sent for done in passes) == len(teams.messages)
    for message in teams.messages:
        assert_within_limits(message)
    assert rows(sql, "SELECT status::text, count(*) FROM irp_notification GROUP BY 1") == [
        ("SENT", STORM)
    ]


def beginnings(teams) -> list[str]:
    """Return how each reason begins that Teams was told of, where long ones are cut."""
    return re.findall(r"<reason (\d{3})", "".join(map(json.dumps, teams.messages)))


def test_a_storm_while_teams_throttles_is_sent_once_each_as_well(cycle, moodys, teams, sql):
    names = [f"{number:03}" for number in range(40)]
    for name in names:
        failing_batch(cycle, moodys, name)
    teams.misbehave(Fault.HTTP_STATUS, http_status=429, retry_after="1", times=3)

    for _ in range(3):
        assert one_pass().summary.cards_sent == 0
        minutes_pass(sql)
    storm_passes(teams, sql, most=20)

    assert sorted(names_in(teams)) == names
