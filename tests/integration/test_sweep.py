"""Endings that other tools wrote are announced and lead on, once, unless the step has run since."""

from datetime import timedelta

import pytest

from helpers.batch import recon_batch
from helpers.batch.sweeping import sweep
from helpers.monitor import Monitor
from sandbox.seeding import SeededBatch
from tests.support.analysis import analysis_batch, job

MINUTE = timedelta(minutes=1)


@pytest.fixture
def batch(metastore, workflows) -> SeededBatch:
    return analysis_batch([job("FAILED", "1"), job("FINISHED", "2")])


def end(sql, status: str = "FAILED", *, minutes_ago: float = 4) -> None:
    """End the batch as an older monitor or a person does."""
    sql.execute(
        "UPDATE irp_batch SET status = %s, completed_ts = now() - make_interval(secs => 60 * %s)",
        [status, minutes_ago],
    )


def run_step(sql, status: str, *, minutes_ago: float = 1, output: str | None = None) -> None:
    sql.execute(
        "INSERT INTO irp_step_run (step_id, run_num, status, started_by, started_ts, output_data) "
        "SELECT id, 1, %s, 'an older monitor', now() - make_interval(secs => 60 * %s), %s "
        "FROM irp_step WHERE step_num = 2",
        [status, minutes_ago, output],
    )


def written(sql) -> tuple:
    runs = sql.execute("SELECT batch_id, activation_num, status::text FROM irp_chain_run")
    cards = sql.execute("SELECT kind::text, activation_num FROM irp_notification")
    open_ends = sql.execute(
        "SELECT count(*) FROM irp_batch WHERE concluded_activation_num <> activation_num"
    )
    return runs.fetchall(), cards.fetchall(), open_ends.fetchone()[0]


def test_what_another_tool_ended_is_announced_and_leads_on_once(batch, sql):
    end(sql)

    [swept] = sweep(interval=MINUTE)

    assert swept.text == "Another tool ended this batch as FAILED. Step 2 is due now."
    expected = ([(batch.batch_id, 1, "PENDING")], [("BATCH_FAILED", 1)], 0)
    assert written(sql) == expected
    assert sweep(interval=MINUTE) == []
    assert written(sql) == expected


def test_our_own_ending_is_concluded_at_once(batch, sql):
    recon_batch(batch.batch_id)

    assert written(sql)[2] == 0
    assert sweep(interval=MINUTE) == []


def test_an_ending_is_left_to_the_tool_that_wrote_it_for_three_intervals(batch, sql):
    end(sql, minutes_ago=2.5)
    assert sweep(interval=MINUTE) == []

    end(sql, minutes_ago=3.5)
    assert len(sweep(interval=MINUTE)) == 1


@pytest.mark.parametrize(
    ("status", "output", "due"),
    [
        ("ACTIVE", None, False),
        ("COMPLETED", None, False),
        ("FAILED", None, False),
        ("FAILED", '{"stopped": true}', True),  # its monitor died; it has not ended by itself
    ],
)
def test_a_step_that_has_run_since_is_only_shown(batch, sql, status, output, due):
    end(sql)
    run_step(sql, status, output=output)

    [swept] = sweep(interval=MINUTE)

    assert ("is due now" in swept.text) is due
    assert ("started since, by an older monitor" in swept.text) is not due
    assert (len(written(sql)[0]), written(sql)[2]) == (int(due), 0)


def test_a_run_from_before_the_end_does_not_count(batch, sql):
    end(sql, minutes_ago=4)
    run_step(sql, "COMPLETED", minutes_ago=9)

    assert "is due now" in sweep(interval=MINUTE)[0].text


def test_a_batch_that_is_active_again_is_not_concluded(batch, sql, monkeypatch):
    end(sql)
    from helpers.batch import sweeping  # noqa: PLC0415

    look = sweeping._unconcluded

    def resubmitted_after_the_look(**how):
        found = list(look(**how))
        sql.execute("UPDATE irp_batch SET status = 'ACTIVE', completed_ts = NULL")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(
            sweeping,
            "_unconcluded",
            lambda **how: (look if how.get("batch_id") else resubmitted_after_the_look)(**how),
        )
        assert sweep(interval=MINUTE) == []
    assert written(sql)[:2] == ([], [])


@pytest.mark.parametrize("status", ["INITIATED", "ACTIVE"])
def test_a_batch_that_has_not_ended_is_left_alone(batch, sql, status):
    end(sql, status)
    assert sweep(interval=MINUTE) == []


def test_an_archived_cycle_is_left_alone(batch, sql):
    end(sql)
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    assert sweep(interval=MINUTE) == []


def test_a_pass_sweeps_and_shows_it(batch, sql):
    end(sql)
    monitor = Monitor()
    monitor.find_batches()

    shown = str(monitor.reconcile_batches())

    assert "Another tool ended this batch as FAILED. Step 2 is due now." in shown
