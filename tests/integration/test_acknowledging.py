"""Seen, I am on it: until what waits changes."""

import pytest

from helpers.attention import ItemKind
from helpers.board import board
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.errors import BatchError
from helpers.monitor import acknowledge, run_pass, what_waits
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step


@pytest.fixture
def batch(metastore, moodys, monkeypatch):
    """An ACTIVE batch of which one job has failed and two run."""
    monkeypatch.setenv("MONITOR_USER", "anna")
    running = moodys.add_job("model", status="RUNNING")
    jobs = [
        PreparedJob(JobStatus.FAILED, "900"),
        *[PreparedJob(JobStatus.RUNNING, str(running))] * 2,
    ]
    step = add_step(add_cycle("Q1"), stage_num=4, step_num=1)
    return add_batch(step, BatchType.ANALYSIS, jobs, status=BatchStatus.ACTIVE)


@pytest.mark.parametrize(
    "name",
    [
        "batch 1",
        "Batch 1",
        " batch  1 ",
        1,
        "batch 1: failing",
        "Batch 1 (Analysis, step 4.1 of Q1)",
    ],
)
def test_what_waits_is_acknowledged_by_what_people_call_it(batch, name):
    shown = acknowledge(name, "unlocking the EDM")

    [item] = shown.items
    assert item.seen.startswith("Seen by anna at ")
    assert item.seen.endswith(": unlocking the EDM")
    assert shown.open == 0


def test_an_acknowledgement_is_shown_everywhere_until_the_item_changes(batch, sql):
    [item] = what_waits().items
    acknowledge(item, "unlocking the EDM")

    for report in (what_waits(), board(), run_pass()):
        assert "Seen by anna at " in str(report)
        assert "unlocking the EDM" in str(report)
    assert "0 things wait for you (1 more seen)." in str(what_waits())

    sql.execute("UPDATE irp_job SET status = 'FAILED' WHERE id = %s", [batch.job_ids[1]])
    [changed] = what_waits().items
    assert changed.kind is ItemKind.FAILING
    assert changed.seen == ""
    assert changed.fingerprint != item.fingerprint


def test_time_alone_changes_nothing(batch, sql):
    before = [item.fingerprint for item in what_waits().items]
    sql.execute(
        "UPDATE irp_batch SET submitted_ts = submitted_ts - interval '5 h';"
        "UPDATE irp_job SET submitted_ts = submitted_ts - interval '5 h'"
    )
    assert [item.fingerprint for item in what_waits().items] == before


def test_what_does_not_wait_is_refused_with_what_does(batch, sql):
    with pytest.raises(BatchError, match=r"called 'batch 7'\. What waits is: batch 1\."):
        acknowledge("batch 7", "")

    assert sql.execute("SELECT count(*) FROM irp_acknowledgement").fetchone() == (0,)


def test_the_latest_acknowledgement_is_shown_and_none_is_lost(batch, sql, monkeypatch):
    acknowledge("batch 1", "first")
    monkeypatch.setenv("MONITOR_USER", "ben")
    [item] = acknowledge("batch 1", "second").items

    assert item.seen.startswith("Seen by ben at ")
    assert item.seen.endswith(": second")
    rows = sql.execute("SELECT item, note, person FROM irp_acknowledgement ORDER BY id").fetchall()
    assert rows == [("batch 1: failing", "first", "anna"), ("batch 1: failing", "second", "ben")]
