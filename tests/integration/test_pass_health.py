"""What the metastore knows of the passes, and when it warns."""

from datetime import timedelta

import psycopg
import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus, StartedBy
from helpers.errors import SettingsError
from helpers.monitor import run_pass
from helpers.pass_health import PassHealth, pass_health
from helpers.stage.reports import summarise_stage
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step

MINUTE = timedelta(minutes=1)


def health() -> PassHealth:
    return pass_health()


def a_pass(
    sql: psycopg.Connection,
    *,
    minutes_ago: float,
    finished: bool = True,
    errors: str = "[]",
    started_by: StartedBy = StartedBy.COMMAND,
) -> None:
    sql.execute(
        "INSERT INTO irp_monitor_run "
        "(started_ts, finished_ts, host, pid, package_version, started_by, errors) "
        "VALUES (now() - %(ago)s * interval '1 minute', "
        "CASE WHEN %(finished)s THEN now() - %(ago)s * interval '1 minute' END, "
        "'host', 1, '1', %(started_by)s, %(errors)s)",
        {"ago": minutes_ago, "finished": finished, "errors": errors, "started_by": started_by},
    )


def test_a_metastore_without_a_pass_says_never_and_warns(metastore):
    found = health()

    assert found.last_completed_ts is None
    assert found.age is None
    assert found.started_last_hour == 0
    assert found.last_error_ts is None
    assert found.lines()[0] == "Last completed pass: never."
    [warning] = found.warnings()
    assert warning.startswith("Monitoring is not on: no pass was completed yet.")


def test_passes_are_counted_and_one_that_was_cut_off_is_not_completed(sql):
    a_pass(sql, minutes_ago=90)
    a_pass(sql, minutes_ago=30, errors='[{"about": "Moody\'s", "text": "down"}]')
    a_pass(sql, minutes_ago=10)
    a_pass(sql, minutes_ago=2, finished=False)

    found = health()

    assert found.age is not None
    assert found.age == found.now_ts - found.last_completed_ts >= timedelta(minutes=10)
    assert found.lines()[1] == "Passes in the last hour: 2 completed, 1 running or cut off."
    assert found.lines()[2].endswith("Moody's: down")


@pytest.mark.parametrize(
    ("started_by", "comes_by_itself"),
    [
        (StartedBy.COMMAND, True),  # cron
        (StartedBy.SCHEDULED_NOTEBOOK, True),
        (StartedBy.NOTEBOOK, False),  # by hand
        (StartedBy.TERMINAL, False),
    ],
)
def test_passes_by_hand_do_not_tell_that_monitoring_is_on(sql, started_by, comes_by_itself):
    a_pass(sql, minutes_ago=1, started_by=started_by)
    a_pass(sql, minutes_ago=0.1, started_by=StartedBy.NOTEBOOK)

    found = health()

    assert found.comes_by_itself is comes_by_itself
    assert (found.headline == "Monitoring is on.") is comes_by_itself
    if not comes_by_itself:
        assert "Whether the next one comes, only a schedule can tell:" in found.headline


def test_a_schedule_whose_passes_no_longer_come_does_not_vouch_for_the_next(sql):
    a_pass(sql, minutes_ago=5, started_by=StartedBy.SCHEDULED_NOTEBOOK)
    a_pass(sql, minutes_ago=1, finished=False, started_by=StartedBy.SCHEDULED_NOTEBOOK)
    assert health().headline == "Monitoring is off."

    a_pass(sql, minutes_ago=0.1, started_by=StartedBy.TERMINAL)
    assert health().headline.startswith("A pass was completed 6.")
    assert health().warnings() == []


def test_an_error_of_weeks_ago_is_no_news(sql):
    a_pass(sql, minutes_ago=60 * 24 * 8, errors='[{"about": "a", "text": "b"}]')

    assert health().last_error_ts is None


@pytest.mark.parametrize(
    ("minutes_ago", "warns"),
    [
        (2.5, False),  # two runs are missing: that happens
        (3.5, True),  # three intervals
    ],
)
def test_monitoring_counts_as_off_after_three_intervals_without_a_completed_pass(
    sql, minutes_ago, warns
):
    a_pass(sql, minutes_ago=minutes_ago)
    a_pass(sql, minutes_ago=0.5, finished=False)

    assert bool(health().warnings()) is warns


@pytest.mark.parametrize(
    ("each_minute", "warns"),
    [(1, False), (2, True)],  # schedules of the same notebook
)
def test_two_schedules_of_the_monitor_are_noticed(sql, each_minute, warns):
    for minute in range(10):
        for _ in range(each_minute):
            a_pass(sql, minutes_ago=minute + 0.5, started_by=StartedBy.SCHEDULED_NOTEBOOK)

    warnings = health().warnings()

    assert any("more than one schedule" in warning for warning in warnings) is warns


def test_an_older_copy_is_reported_until_the_schedule_runs_a_fresh_one(sql):
    def scheduled(minutes_ago: float, *, is_current: bool | None) -> None:
        a_pass(sql, minutes_ago=minutes_ago, started_by=StartedBy.SCHEDULED_NOTEBOOK)
        sql.execute(
            "UPDATE irp_monitor_run SET copy_is_current = %s "
            "WHERE id = (SELECT max(id) FROM irp_monitor_run)",
            [is_current],
        )

    scheduled(2, is_current=False)
    a_pass(sql, minutes_ago=0.2, started_by=StartedBy.NOTEBOOK)  # by hand, from the package's own
    [warning] = health().warnings()
    assert "`python -m helpers.schedule update`" in warning

    scheduled(1, is_current=True)
    assert health().warnings() == []


def test_passes_by_hand_are_no_second_schedule(sql):
    for minute in range(10):
        a_pass(sql, minutes_ago=minute + 0.5, started_by=StartedBy.SCHEDULED_NOTEBOOK)
        a_pass(sql, minutes_ago=minute + 0.5, started_by=StartedBy.NOTEBOOK)

    assert health().warnings() == []


def test_without_a_database_there_is_nothing_to_know():
    with pytest.raises(SettingsError):
        health()


def test_a_pass_does_not_count_itself(metastore, moodys, sql):
    summary = run_pass()
    assert "Passes in the last hour: 0 completed, 0 running or cut off." in str(summary)
    assert "Last completed pass before this one: never." in str(summary)
    assert "Passes in the last hour: 1 completed, 0 running or cut off." in str(run_pass())
    assert "Last completed pass: never." not in "\n".join(health().lines())


def test_a_summary_tells_what_starts_the_next_run_unless_passes_come_by_themselves(
    metastore, moodys, sql
):
    step = add_step(add_cycle("Q1"), stage_num=4, step_num=1)
    job = PreparedJob(JobStatus.RUNNING, str(moodys.add_job("model", status="RUNNING")))
    add_batch(step, BatchType.ANALYSIS, [job], status=BatchStatus.ACTIVE)
    note = "The next run comes by itself only if a schedule or cron starts it."

    assert note in str(run_pass())
    sql.execute("UPDATE irp_monitor_run SET started_by = 'notebook'")
    assert note in str(run_pass())
    sql.execute("UPDATE irp_monitor_run SET started_by = 'scheduled notebook'")
    assert note not in str(run_pass())


@pytest.mark.parametrize(
    ("owner", "is_off"),
    [
        ("rms@host pid 1 #a", False),  # a pass runs this very notebook
        ("rms@host pid 12 #a", True),  # a person, or another process, does
        (None, True),
    ],
)
def test_a_summary_that_a_pass_chains_does_not_say_that_monitoring_is_off(sql, owner, is_off):
    step_id = add_step(add_cycle("Q1"), stage_num=4, step_num=2)
    a_pass(sql, minutes_ago=60)
    a_pass(sql, minutes_ago=50, finished=False)
    sql.execute(
        "INSERT INTO irp_step_claim (step_id, attempt, owner, claimed_ts, claim_expires_ts)"
        " VALUES (%s, 1, %s, now() - interval '49 min', CASE WHEN %s::text IS NOT NULL"
        " THEN now() + interval '1 min' END)",
        [step_id, owner, owner],
    )
    [step] = sql.execute(
        "SELECT cycle_id FROM irp_step JOIN irp_stage ON irp_stage.id = stage_id"
    ).fetchall()
    found = summarise_stage(
        {"step_id": step_id, "cycle_id": step[0], "stage_num": 4, "cycle_name": "Q1"}
    )
    assert any("Monitoring is not on" in warning for warning in found.warnings) is is_off
