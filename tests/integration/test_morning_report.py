"""The morning report: one card for each ACTIVE cycle and day, whatever happens at seven."""

import json
import threading
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.errors import SettingsError
from helpers.forecasts import store_forecasts
from helpers.monitor import acknowledge, run_pass
from helpers.monitor.morning import announce_reports, due_today
from helpers.notifications.cards import MAX_MESSAGE_BYTES, card_message, size_of
from helpers.notifications.links import Links
from helpers.notifications.outbox import pending, send_due
from helpers.settings import ReportTime, get_settings
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step

ZURICH = ZoneInfo("Europe/Zurich")
SEVEN = ReportTime(time(7), ZURICH)
MIDNIGHT = ReportTime(time(0), ZoneInfo("UTC"))  # due at every time of the day


@pytest.fixture
def cycle(metastore, sql):
    cycle_id = add_cycle("Q1")
    sql.execute("UPDATE irp_cycle SET created_ts = now() - interval '9 days'")
    return cycle_id


def add_night(cycle_id, jobs=3):
    step = add_step(cycle_id, stage_num=4, step_num=1, step_name="Execute Analysis")
    rows = [
        PreparedJob(status, f"90{n}", configuration={"analysis": f"CA EQ {status} {n}"})
        for status in (JobStatus.FAILED, JobStatus.RUNNING, JobStatus.FINISHED)
        for n in range(jobs)
    ]
    return add_batch(step, BatchType.ANALYSIS, rows, status=BatchStatus.ACTIVE)


def reports(sql):
    return sql.execute(
        "SELECT cycle_id, report_date, batch_id, status::text FROM irp_notification"
        " WHERE kind = 'MORNING_REPORT' ORDER BY id"
    ).fetchall()


def text_of(card):
    return json.dumps(card, ensure_ascii=False)


@pytest.mark.parametrize(
    ("now", "day", "due"),
    [
        # an ordinary day, in winter and in summer
        ("2026-01-15T05:59:00Z", date(2026, 1, 15), "2026-01-15T06:00:00Z"),
        ("2026-07-15T05:00:00Z", date(2026, 7, 15), "2026-07-15T05:00:00Z"),
        # the day is that of the zone
        ("2026-01-15T23:30:00Z", date(2026, 1, 16), "2026-01-16T06:00:00Z"),
        # clocks go forward, and back
        ("2026-03-29T12:00:00Z", date(2026, 3, 29), "2026-03-29T05:00:00Z"),
        ("2026-10-25T12:00:00Z", date(2026, 10, 25), "2026-10-25T06:00:00Z"),
    ],
)
def test_a_report_is_due_when_clocks_there_show_its_time(now, day, due):
    found = due_today(datetime.fromisoformat(now), SEVEN)
    assert found == (day, datetime.fromisoformat(due))


@pytest.mark.parametrize(
    ("at", "due"),
    [
        (time(2, 30), "2026-10-25T00:30:00Z"),  # twice: the first
        (time(3, 30), "2026-10-25T02:30:00Z"),
    ],
)
def test_a_time_that_clocks_show_twice_is_the_first(at, due):
    now = datetime(2026, 10, 25, 12, tzinfo=UTC)
    assert due_today(now, ReportTime(at, ZURICH))[1] == datetime.fromisoformat(due)


def test_a_time_that_clocks_skip_is_due_the_same_day():
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    day, due = due_today(now, ReportTime(time(2, 30), ZURICH))
    assert (day, due) == (date(2026, 3, 29), datetime(2026, 3, 29, 1, 30, tzinfo=UTC))


def test_each_minute_of_a_year_has_one_report_a_day():
    """Whatever the clocks do, every day's report is due once, on that day."""
    for zone in (ZURICH, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")):
        now, dues = datetime(2026, 1, 1, tzinfo=UTC), {}
        while now.year == 2026:
            day, due = due_today(now, ReportTime(time(7), zone))
            assert dues.setdefault(day, due) == due
            assert due.astimezone(zone).date() == day
            now += timedelta(hours=1)
        assert len(dues) in {365, 366}


def test_before_its_time_there_is_none(cycle, sql):
    now = datetime.now(UTC)
    later = (now + timedelta(minutes=2)).time().replace(tzinfo=None)
    if later > now.time():
        announce_reports(ReportTime(later, ZoneInfo("UTC")))
        assert reports(sql) == []


def test_a_cycle_has_one_a_day_and_one_that_is_archived_has_none(cycle, sql):
    add_cycle("Old", status=CycleStatus.ARCHIVED)
    for _ in range(3):
        announce_reports(MIDNIGHT)
    today = datetime.now(UTC).date()
    assert reports(sql) == [(cycle, today, None, "PENDING")]

    sql.execute("UPDATE irp_notification SET report_date = report_date - 1")  # it was yesterday's
    announce_reports(MIDNIGHT)
    assert [row[1] for row in reports(sql)] == [today - timedelta(days=1), today]


def test_a_cycle_that_was_made_after_its_time_waits_for_the_next_day(cycle, sql):
    sql.execute("UPDATE irp_cycle SET created_ts = now()")
    announce_reports(MIDNIGHT)
    assert reports(sql) == []


def test_any_number_of_passes_at_once_make_one_card(cycle, moodys, teams, monkeypatch, sql):
    monkeypatch.setenv("MONITOR_REPORT_AT", "00:00 UTC")
    get_settings.cache_clear()
    errors = []

    def one_pass() -> None:
        try:
            run_pass()
        except Exception as exc:  # noqa: BLE001 - shown by the test
            errors.append(exc)

    passes = [threading.Thread(target=one_pass) for _ in range(4)]
    for each in passes:
        each.start()
    for each in passes:
        each.join()
    run_pass()

    assert errors == []
    assert [row[3] for row in reports(sql)] == ["SENT"]
    assert sum("MORNING REPORT" in text_of(message) for message in teams.messages) == 1


def test_the_card_says_what_failed_why_what_runs_and_who_is_on_it(cycle, sql, monkeypatch):
    monkeypatch.setenv("MONITOR_USER", "anna")
    add_night(cycle)
    sql.execute("UPDATE irp_job SET last_error = 'The EDM is locked' WHERE status = 'FAILED'")
    sql.execute("UPDATE irp_batch SET submitted_ts = now() - interval '8 hours'")
    acknowledge("batch 1", "unlocking it")
    store_forecasts()
    announce_reports(MIDNIGHT)

    [event] = pending()
    card = text_of(card_message(event, links=Links()))
    for part in (
        "MORNING REPORT, FAILURES: where it stands — cycle Q1",
        "3 of 9 jobs of 4.1 Execute Analysis failed so far",
        "4.1 Execute Analysis: 3 failed: ",
        "“The EDM is locked” (CA EQ FAILED 0, CA EQ FAILED 1, CA EQ FAILED 2)",
        "4.1 Execute Analysis: 3 jobs, not known yet: 20 finished jobs are needed, 0 so far",
        "Batch 1 (Analysis, step 4.1 of Q1): Seen by anna",
        "Monitoring was off",
    ):
        assert part in card


def test_a_report_of_10000_jobs_is_under_20_kb(cycle, sql):
    batch = add_night(cycle, jobs=1)
    sql.execute(
        """INSERT INTO irp_job (batch_id, status, last_error, moodys_workflow_id)
           SELECT %s, 'FAILED', repeat('Grund ä ' || n %% 50, 200), n::text
           FROM generate_series(1, 10000) AS n""",
        [batch.batch_id],
    )
    for number in range(12):
        add_step(cycle, stage_num=5, step_num=number, step_name="Ein langer Name " * 12)
    announce_reports(MIDNIGHT)

    [event] = pending()
    message = card_message(event, links=Links())
    assert size_of(message) < MAX_MESSAGE_BYTES
    assert "4.1 Execute Analysis: 200 failed: " in text_of(message)
    assert "10,001" in text_of(message)


def test_a_report_is_a_card_of_its_own_among_many_events(cycle, teams, sql):
    for _ in range(5):
        step = add_step(cycle, stage_num=4, step_num=1)
        add_batch(step, BatchType.ANALYSIS, [PreparedJob()], status=BatchStatus.ACTIVE)
    sql.execute(
        """INSERT INTO irp_notification (kind, batch_id, activation_num, payload)
           SELECT 'BATCH_FAILED', id, 1, '{}' FROM irp_batch"""
    )
    announce_reports(MIDNIGHT)
    assert send_due().cards == 2
    digest, report = teams.messages
    assert "5 events" in text_of(digest)
    assert "MORNING REPORT" in text_of(report)


@pytest.mark.parametrize("belongs_to", ["", "batch_id, cycle_id, report_date", "cycle_id"])
def test_a_message_belongs_to_a_batch_or_to_a_cycle_and_a_day(cycle, sql, belongs_to):
    add_night(cycle)
    columns = {"batch_id": "1", "cycle_id": str(cycle), "report_date": "now()"}
    names = belongs_to.split(", ") if belongs_to else []
    names_of = "".join(f", {name}" for name in names)
    values = "".join(f", {columns[name]}" for name in names)
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.execute(
            f"INSERT INTO irp_notification (kind, activation_num, payload{names_of})"
            f" VALUES ('JOBS_LATE', 1, '{{}}'{values})"
        )
    assert sql.execute("SELECT count(*) FROM irp_notification").fetchone() == (0,)


@pytest.mark.parametrize("text", ["7", "25:00", "07:60", "seven", "07:00 Nowhere/Land"])
def test_a_time_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("MONITOR_REPORT_AT", text)
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="MONITOR_REPORT_AT"):
        get_settings()


@pytest.mark.parametrize(
    ("text", "zone"), [("07:00 Europe/Zurich", ZURICH), ("07:00", None), ("7:00", None)]
)
def test_a_time_of_day_may_have_a_zone(monkeypatch, text, zone):
    monkeypatch.setenv("MONITOR_REPORT_AT", text)
    monkeypatch.delenv("MONITOR_TIME_ZONE", raising=False)
    get_settings.cache_clear()
    assert get_settings().monitor_report_at == ReportTime(time(7), zone)
