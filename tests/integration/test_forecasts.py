"""Forecasts are made of what the metastore holds, kept once an hour, and judged by what came."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from helpers.attention import ItemKind
from helpers.board import board
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.display import Severity
from helpers.forecasting import Outcome
from helpers.forecasts import (
    Lateness,
    find_late_jobs,
    forecast_active,
    forecast_chains,
    held_lately,
    store_forecasts,
)
from helpers.monitor import run_pass
from helpers.monitor.housekeeping import do_housekeeping
from sandbox.seeding import PreparedJob, SeededBatch, add_batch, add_cycle, add_step
from tests.integration.test_housekeeping import start_pass

MINUTE = timedelta(minutes=1)


@pytest.fixture
def step(metastore):
    return add_step(add_cycle("Q1"), stage_num=4, step_num=1)


def add_jobs(step, *statuses, status=BatchStatus.ACTIVE, size=None):
    configuration = {} if size is None else {"Location Count": size}
    jobs = [
        PreparedJob(each, str(number), configuration=configuration)
        for number, each in enumerate(statuses)
    ]
    return add_batch(step, BatchType.ANALYSIS, jobs, status=status)


OWN_TIMES = """
UPDATE irp_job SET submitted_ts = now() - %(submitted)s::interval,
    completed_ts = now() - %(ended)s::interval WHERE id = %(id)s"""
MOODYS_TIMES = """
UPDATE irp_job SET moodys_submitted_ts = now() - %(submitted)s::interval,
    moodys_started_ts = now() - %(started)s::interval,
    moodys_ended_ts = now() - %(ended)s::interval WHERE id = %(id)s"""


def set_times(sql, job_id, *, submitted, ended=None, started=None, statement=MOODYS_TIMES):
    """Set when a job was submitted, started and ended, in minutes ago."""
    minutes = {"submitted": submitted, "started": started, "ended": ended}
    times = {name: None if ago is None else ago * MINUTE for name, ago in minutes.items()}
    sql.execute(statement, {"id": job_id, **times})


@pytest.fixture
def past(step, sql):
    """Two finished batches of 20 jobs, each of which waited 3 minutes and ran about 10."""
    for ago in (5_000, 3_000):
        batch = add_jobs(step, *[JobStatus.FINISHED] * 20, status=BatchStatus.COMPLETED)
        for number, job_id in enumerate(batch.job_ids):
            begun = ago - number
            set_times(
                sql,
                job_id,
                submitted=begun + 3,
                started=begun,
                ended=begun - 10 - (number % 5 - 2) / 2,
            )


@pytest.fixture
def active(step, sql) -> SeededBatch:
    """Two jobs that have run for 4 minutes, and four that wait."""
    batch = add_jobs(step, *[JobStatus.RUNNING] * 2, *[JobStatus.QUEUED] * 4)
    for job_id in batch.job_ids[:2]:
        set_times(sql, job_id, submitted=6, started=4)
    for job_id in batch.job_ids[2:]:
        set_times(sql, job_id, submitted=6)
    return batch


def forecasts(sql):
    cursor = sql.execute("SELECT * FROM irp_forecast ORDER BY id")
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def end(sql, batch, *, status=BatchStatus.COMPLETED, minutes):
    """End a batch so many minutes after its forecast was made."""
    sql.execute(
        "UPDATE irp_batch SET status = %s, completed_ts = now() + %s WHERE id = %s",
        [status, minutes * MINUTE, batch.batch_id],
    )


def test_a_batch_is_forecast_from_the_jobs_of_its_type_that_have_finished(past, active, sql):
    store_forecasts()

    [row] = forecasts(sql)
    assert (row["batch_id"], row["activation_num"]) == (active.batch_id, 1)
    assert (row["samples"], row["reason"], row["ended_ts"]) == (40, None, None)
    assert row["low_ts"] <= row["median_ts"] <= row["high_ts"]
    # Two run for six minutes more; four wait for them, two at a time, ten minutes each.
    assert row["median_ts"] - row["made_ts"] == pytest.approx(26 * MINUTE, abs=4 * MINUTE)


def test_a_batch_keeps_one_forecast_an_hour(past, active, sql):
    store_forecasts()
    store_forecasts()
    first = forecasts(sql)
    sql.execute("UPDATE irp_forecast SET hour_ts = hour_ts - interval '1 hour'")
    store_forecasts()

    assert len(first) == 1
    assert len(forecasts(sql)) == 2


def test_under_20_samples_the_row_says_how_many_there_are(step, active, sql):
    batch = add_jobs(step, *[JobStatus.FINISHED] * 19, status=BatchStatus.COMPLETED)
    for number, job_id in enumerate(batch.job_ids):
        set_times(sql, job_id, submitted=100 + number, started=90 + number, ended=80 + number)
    store_forecasts()

    [row] = forecasts(sql)
    assert (row["samples"], row["reason"], row["median_ts"]) == (19, "few samples", None)


def test_an_adopted_metastore_is_forecast_from_its_own_times(step, sql):
    batch = add_jobs(step, *[JobStatus.FINISHED] * 30, status=BatchStatus.COMPLETED)
    for number, job_id in enumerate(batch.job_ids):
        set_times(
            sql, job_id, submitted=500 + 30 * number, ended=480 + 30 * number, statement=OWN_TIMES
        )
    running = add_jobs(step, JobStatus.RUNNING)
    set_times(sql, running.job_ids[0], submitted=5, statement=OWN_TIMES)
    store_forecasts()

    [row] = forecasts(sql)
    assert row["samples"] == 30
    assert row["median_ts"] - row["made_ts"] == pytest.approx(15 * MINUTE, abs=MINUTE)


def test_waiting_is_known_apart_from_running(past, step, sql):
    waiting = add_jobs(step, *[JobStatus.QUEUED] * 3)
    for job_id in waiting.job_ids:
        set_times(sql, job_id, submitted=1)
    store_forecasts()

    [row] = forecasts(sql)
    # Nothing runs: two minutes more of waiting, as usual, and then ten of running.
    assert row["median_ts"] - row["made_ts"] == pytest.approx(12 * MINUTE, abs=2 * MINUTE)


def test_the_size_that_a_configuration_names_counts(step, sql):
    for size, minutes in ((1_000, 10), (100_000, 100)):
        batch = add_jobs(step, *[JobStatus.FINISHED] * 25, status=BatchStatus.COMPLETED, size=size)
        for number, job_id in enumerate(batch.job_ids):
            begun = 9_000 - 50 * number
            set_times(sql, job_id, submitted=begun, started=begun, ended=begun - minutes)
    for size in (1_000, 100_000):
        batch = add_jobs(step, JobStatus.RUNNING, size=size)
        set_times(sql, batch.job_ids[0], submitted=5, started=5)
    store_forecasts()

    small, large = (row["median_ts"] - row["made_ts"] for row in forecasts(sql))
    assert small < 20 * MINUTE
    assert large > 60 * MINUTE


def test_a_forecast_is_judged_when_its_batch_has_ended(past, active, sql):
    store_forecasts()
    assert held_lately() == (0, 0)
    end(sql, active, minutes=26)
    store_forecasts()

    assert forecasts(sql)[0]["ended_ts"] is not None
    assert held_lately() == (1, 1)


def test_a_forecast_that_did_not_hold_counts_as_that(past, active, sql):
    store_forecasts()
    end(sql, active, minutes=900)
    store_forecasts()

    assert held_lately() == (0, 1)


@pytest.mark.parametrize("status", [BatchStatus.CANCELLED, BatchStatus.ACTIVE])
def test_what_was_forecast_of_a_batch_that_took_another_course_is_forgotten(
    past, active, sql, status
):
    store_forecasts()
    end(sql, active, status=BatchStatus.CANCELLED, minutes=1)
    end(sql, active, status=status, minutes=1)  # made active again: its next activation
    store_forecasts()

    assert {row["activation_num"] for row in forecasts(sql)} <= {2}
    assert held_lately() == (0, 0)


def test_the_record_of_what_did_not_hold_widens_what_is_forecast(past, active, sql):
    store_forecasts()
    before = forecast_active()[active.batch_id].batch
    sql.execute(
        "INSERT INTO irp_forecast (batch_id, activation_num, hour_ts, made_ts, stage, samples,"
        " low_ts, median_ts, high_ts, drawn_low_ts, drawn_high_ts, ended_ts)"
        " SELECT %s, 1, at, at, 0, 40, at + '9 min', at + '10 min', at + '11 min',"
        " at + '9 min', at + '11 min', at + '22 min'"
        " FROM (SELECT now() - n * interval '1 day' AS at FROM generate_series(1, 30) AS n) AS a",
        [active.batch_id],
    )
    after = forecast_active()[active.batch_id].batch

    assert before.remaining == before.drawn
    assert after.drawn.median == pytest.approx(before.drawn.median, rel=0.01)
    assert after.remaining.high == pytest.approx(2 * after.drawn.high)
    assert after.remaining.low == pytest.approx(after.drawn.low / 2)


def test_running_jobs_are_forecast_by_their_ids_and_overruns_named(past, step, sql):
    batch = add_jobs(step, JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.RUNNING)
    usual, waiting, hanging = batch.job_ids
    set_times(sql, usual, submitted=5, started=5)
    set_times(sql, waiting, submitted=5)
    set_times(sql, hanging, submitted=5_000, started=5_000)
    store_forecasts()

    found = forecast_active()[batch.batch_id]

    assert found.jobs[usual].outcome is Outcome.KNOWN
    assert found.jobs[usual].remaining.median == pytest.approx(300, abs=60)
    assert found.jobs[waiting].outcome is Outcome.NOT_STARTED
    assert found.jobs[hanging].outcome is Outcome.LONGER_THAN_ALL
    [late] = found.late
    assert (late.job_id, late.lateness) == (hanging, Lateness.OVERRUN)
    assert late.usual_seconds == pytest.approx(600, abs=60)
    assert [job.job_id for job in find_late_jobs()] == [hanging]


@pytest.fixture
def past_stills(past, sql):
    """Those finished jobs were without progress for 2 minutes at most."""
    sql.execute("UPDATE irp_job SET longest_still_seconds = 110 + id % 20")


def test_a_job_without_progress_for_far_longer_than_usual_is_named(past_stills, step, sql):
    batch = add_jobs(step, *[JobStatus.RUNNING] * 3)
    for job_id in batch.job_ids:
        set_times(sql, job_id, submitted=25, started=25)
    sql.execute(
        "UPDATE irp_job SET progress_ts = now() - interval '1 min' WHERE status = 'RUNNING'"
    )
    store_forecasts()
    assert find_late_jobs() == []

    still = batch.job_ids[1]
    sql.execute("UPDATE irp_job SET progress_ts = now() - interval '20 min' WHERE id = %s", [still])
    [late] = find_late_jobs()
    assert (late.job_id, late.lateness) == (still, Lateness.STILL)
    assert late.text.startswith("without progress for 20 min, usually ")
    assert late.usual_seconds == pytest.approx(120, rel=0.1)


def test_jobs_that_wait_far_longer_than_usual_are_named_if_none_of_their_batch_runs(
    past, step, sql
):
    waiting = add_jobs(step, *[JobStatus.QUEUED] * 3)
    for job_id in waiting.job_ids:
        set_times(sql, job_id, submitted=40)
    store_forecasts()
    late = find_late_jobs()
    assert [job.job_id for job in late] == waiting.job_ids
    assert {job.lateness for job in late} == {Lateness.WAITING}
    assert late[0].text.startswith("waiting to start for 40 min, usually ")
    assert late[0].usual_seconds == pytest.approx(180, rel=0.1)

    [first, *others] = waiting.job_ids
    sql.execute("UPDATE irp_job SET status = 'RUNNING' WHERE id = %s", [first])
    set_times(sql, first, submitted=40, started=1)
    assert find_late_jobs() == []  # they wait for it

    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [first])
    set_times(sql, first, submitted=40, started=12, ended=1)
    assert find_late_jobs() == []  # the queue has moved just now

    set_times(sql, first, submitted=40, started=39, ended=35)
    assert [job.job_id for job in find_late_jobs()] == others


def test_a_pass_shows_a_late_job_and_makes_one_card_of_its_batch(past, step, moodys, sql):
    batch = add_jobs(step, JobStatus.RUNNING, JobStatus.RUNNING)
    for job_id in batch.job_ids:
        set_times(sql, job_id, submitted=600, started=600)
    sql.execute("UPDATE irp_job SET read_ts = now()")
    store_forecasts()

    for _ in range(2):
        summary = run_pass()
        [item] = [item for item in summary.waiting.items if item.kind is ItemKind.LATE]
        assert "2 jobs take far longer than usual." in item.text
        assert "running for 10 h, usually " in item.text
        assert item.severity is Severity.WARNING
    cards = sql.execute(
        "SELECT batch_id, payload ->> 'reason' FROM irp_notification WHERE kind = 'JOBS_LATE'"
    ).fetchall()
    assert cards == [(batch.batch_id, "2 jobs take far longer than usual.")]


def test_a_pass_without_a_late_job_loads_no_numpy(past, step, moodys, sql):
    code = (
        "import sys; from helpers.forecasts import find_late_jobs;"
        "found = find_late_jobs(); print(found, 'numpy' in sys.modules)"
    )
    young = add_jobs(step, JobStatus.RUNNING, JobStatus.QUEUED)
    for job_id in young.job_ids:
        set_times(sql, job_id, submitted=1, started=1)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


def test_the_chain_of_a_stage_is_forecast_as_far_as_its_batches_are_prepared(metastore, sql):
    """Synchronous steps take no time; the next step that nobody has prepared ends the forecast."""
    cycle = add_cycle("Q1")
    steps = {n: add_step(cycle, stage_num=3, step_num=n) for n in range(1, 9)}
    for batch_type, ago in ((BatchType.EDM_DB_UPGRADE, 9_000), (BatchType.GEOHAZ, 5_000)):
        past_jobs = [PreparedJob(JobStatus.FINISHED, str(n)) for n in range(40)]
        batch = add_batch(steps[1], batch_type, past_jobs, status=BatchStatus.COMPLETED)
        for n, job_id in enumerate(batch.job_ids):
            set_times(
                sql, job_id, submitted=ago - 10 * n, started=ago - 10 * n, ended=ago - 20 - 10 * n
            )
    running = PreparedJob(JobStatus.RUNNING, "900")
    upgrade = add_batch(steps[5], BatchType.EDM_DB_UPGRADE, [running], status=BatchStatus.ACTIVE)
    set_times(sql, upgrade.job_ids[0], submitted=10, started=10)
    store_forecasts()

    seen = [active.seen for active in forecast_active().values()]
    assert forecast_chains(seen) == {}

    add_batch(steps[1], BatchType.GEOHAZ, [PreparedJob()])  # it moves when it is submitted
    store_forecasts()
    found = forecast_chains(seen)
    assert set(found) == {(cycle, 3, 6), (cycle, 3, 7), (cycle, 3, 8)}
    assert found[cycle, 3, 6].remaining.median == pytest.approx(30 * 60, rel=0.2)
    assert found[cycle, 3, 8] == found[cycle, 3, 7] == found[cycle, 3, 6]
    assert "about" in str(board())


def test_only_active_batches_of_active_cycles_that_moodys_works_on_are_forecast(past, step, sql):
    archived = add_step(add_cycle("Q0", status=CycleStatus.ARCHIVED), stage_num=4, step_num=1)
    add_jobs(archived, JobStatus.RUNNING)
    add_jobs(step, JobStatus.INITIATED, JobStatus.FAILED)
    skipped = add_jobs(step, JobStatus.RUNNING)
    sql.execute("UPDATE irp_job SET skipped = true WHERE id = %s", [skipped.job_ids[0]])
    store_forecasts()

    assert forecasts(sql) == []
    assert forecast_active() == {}


def test_the_history_of_a_type_is_at_most_1000_points_of_its_last_jobs(step, active, sql):
    batch = add_jobs(step, JobStatus.FINISHED, status=BatchStatus.COMPLETED)
    sql.execute(
        "INSERT INTO irp_job (batch_id, status, moodys_started_ts, moodys_ended_ts, submitted_ts)"
        " SELECT %s, 'FINISHED', now() - n * interval '1 hour',"
        " now() - n * interval '1 hour' + interval '7 minutes', now() - n * interval '1 hour'"
        " FROM generate_series(1, 1200) AS n",
        [batch.batch_id],
    )
    store_forecasts()

    [samples, points] = sql.execute(
        "SELECT samples, jsonb_array_length(classes -> '') FROM irp_duration_history"
        " WHERE measure = 'running'"
    ).fetchone()
    assert (samples, points) == (1_000, 1_000)


def test_the_housekeeping_of_a_pass_forecasts(past, active, workflows, sql):
    assert do_housekeeping(start_pass()) == []
    assert len(forecasts(sql)) == 1


@pytest.mark.parametrize("time", ["now() + '1 hour'", "'infinity'", "'-infinity'", "NULL"])
def test_times_that_make_no_sense_do_no_harm(past, active, sql, time):
    """Clocks differ, old rows lack times, and foreign tools write what they like."""
    ids = sql.execute("SELECT array_agg(id) FROM irp_job WHERE id % 3 = 0").fetchone()[0]
    for column in ("moodys_started_ts", "submitted_ts", "moodys_ended_ts", "completed_ts"):
        sql.execute(f"UPDATE irp_job SET {column} = {time} WHERE id = ANY (%s)", [ids])
    store_forecasts()

    [row] = forecasts(sql)
    assert row["median_ts"] > datetime.now(UTC)
    assert row["samples"] >= 26  # those whose times are as they were
