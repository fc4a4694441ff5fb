import json
import threading
from datetime import datetime

import psycopg
import pytest

import helpers.batch
from helpers.batch import (
    get_active_batches,
    get_batch_job_configurations,
    get_batch_jobs,
    read_batch,
    recon_batch,
    reconcile,
)
from helpers.constants import BatchStatus, BatchType, CycleStatus
from helpers.database import AdvisoryLocks, LockSpace
from helpers.errors import BatchError, BatchMonitoringError
from helpers.notifications import events
from helpers.records import ActiveBatch, Batch, Job, JobConfiguration
from helpers.steps import claims
from sandbox.seeding import PreparedJob, add_batch, add_configurations, add_cycle, add_jobs
from sandbox.seeding import add_step as seed_step
from tests.support.analysis import CYCLE, analysis_batch, job
from tests.support.waiting import wait_until

NO_IDS = [
    # none there
    999,
    2**31 - 1,
    # no ids
    0,
    -1,
    2**31,
    10**30,
    True,
    None,
    "1",
    1.0,
    [],
]


def snapshot(sql: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all that a reconciliation could change."""
    tables = ("irp_batch", "irp_job", "irp_batch_recon_log", "irp_chain_run", "irp_notification")
    return {t: sql.execute(f"SELECT * FROM {t} ORDER BY id").fetchall() for t in tables}


def test_active_batches_of_active_cycles_are_found_oldest_first(metastore):
    step = seed_step(add_cycle("Q1"), stage_num=4, step_num=1, stage_name="S", step_name="A")
    archived = seed_step(add_cycle("Q0", status=CycleStatus.ARCHIVED), stage_num=4, step_num=1)
    for status in BatchStatus:
        add_batch(archived, BatchType.ANALYSIS, status=status)
    by_status = {
        status: add_batch(step, BatchType.GROUPING, status=status).batch_id
        for status in BatchStatus
    }
    second = add_batch(step, "Analysis", status=BatchStatus.ACTIVE).batch_id

    found = get_active_batches()

    assert [batch["batch_id"] for batch in found] == [by_status[BatchStatus.ACTIVE], second]
    assert set(found[0]) == set(ActiveBatch.__annotations__)
    assert found[0]["submitted_ts"].tzinfo is not None
    assert {k: v for k, v in found[0].items() if not k.endswith(("_id", "_ts"))} == {
        "batch_type": "Grouping",
        "activation_num": 1,
        "cycle_name": "Q1",
        "stage_num": 4,
        "stage_name": "S",
        "step_num": 1,
        "step_name": "A",
    }


def test_without_a_batch_nothing_is_found(metastore):
    assert get_active_batches() == []


def test_a_batch_is_read_with_its_location(metastore):
    seeded = analysis_batch()

    batch = read_batch(seeded.batch_id)

    assert set(batch) == set(Batch.__annotations__)
    assert (batch["status"], batch["cycle_name"], batch["cycle_status"]) == (
        "ACTIVE",
        CYCLE,
        "ACTIVE",
    )
    assert isinstance(batch["created_ts"], datetime)
    assert batch["completed_ts"] is None


@pytest.mark.parametrize("batch_id", NO_IDS)
@pytest.mark.parametrize(
    "call", [read_batch, get_batch_jobs, get_batch_job_configurations, recon_batch, reconcile]
)
def test_an_id_without_a_batch_is_named_and_nothing_changes(metastore, sql, call, batch_id):
    analysis_batch([job("RUNNING", "1")])
    before = snapshot(sql)

    with pytest.raises(BatchError) as caught:
        call(batch_id)

    assert repr(batch_id) in str(caught.value)
    assert caught.value.batch_id is batch_id
    assert snapshot(sql) == before


@pytest.fixture
def mixed(metastore):
    """A batch of five jobs, the last two skipped, and a skipped configuration."""
    seeded = analysis_batch(
        [job("RUNNING", "1"), job("FAILED", "2"), job("INITIATED")],
    )
    skipped = add_jobs(
        seeded.batch_id,
        [job("FAILED", "4"), job("RUNNING", "5")],
        configuration_ids=[seeded.configuration_ids[0], None],
        skipped=True,
    )
    add_configurations(seeded.batch_id, [{"name": "left out"}], skipped=True)
    return seeded.batch_id, [*seeded.job_ids, *skipped]


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"skipped": False}, [0, 1, 2]),
        ({"skipped": True}, [3, 4]),
        ({"status": "FAILED"}, [1, 3]),
        ({"status": "FAILED", "skipped": False}, [1]),
        ({"status": "FINISHED"}, []),
    ],
)
def test_jobs_are_filtered_and_come_in_their_order(mixed, filters, positions):
    batch_id, job_ids = mixed

    jobs = get_batch_jobs(batch_id, **filters)

    assert [found["id"] for found in jobs] == [job_ids[i] for i in positions]
    assert all(set(found) == set(Job.__annotations__) for found in jobs)


def test_the_filters_may_be_given_by_position_as_the_reference_has_them(mixed):
    batch_id, job_ids = mixed

    assert [found["id"] for found in get_batch_jobs(batch_id, False, "RUNNING")] == job_ids[:1]


@pytest.mark.parametrize("status", ["running", "DONE", "", "COMPLETED"])
def test_a_filter_that_is_no_job_status_is_refused(mixed, status):
    with pytest.raises(BatchError, match="is not a job status"):
        get_batch_jobs(mixed[0], status=status)


@pytest.mark.parametrize(("skipped", "count"), [(None, 4), (False, 3), (True, 1)])
def test_configurations_are_filtered(mixed, skipped, count):
    found = get_batch_job_configurations(mixed[0], skipped=skipped)

    assert len(found) == count
    assert all(set(c) == set(JobConfiguration.__annotations__) for c in found)


# Jobs, each with a configuration of its own, a leading "-" for a skipped one; the row of the
# decision table; the jobs named by the log.
TABLE = [
    ("", "COMPLETED"),
    ("FINISHED FINISHED", "COMPLETED"),
    ("RUNNING FAILED ERROR", "ACTIVE"),
    ("INITIATED", "ACTIVE"),
    ("CANCELLED CANCELLED", "CANCELLED"),
    ("ERROR FAILED CANCELLED FINISHED", "ERROR"),
    ("FAILED CANCELLED FINISHED", "FAILED"),
    ("FINISHED CANCELLED", "ACTIVE"),
]


@pytest.mark.parametrize(("jobs", "status"), TABLE)
def test_a_batch_is_reconciled_as_the_table_says_and_the_log_keeps_it(metastore, sql, jobs, status):
    labels = jobs.split()
    seeded = analysis_batch([job(label) for label in labels])

    assert recon_batch(seeded.batch_id) == status

    batch = read_batch(seeded.batch_id)
    assert batch["status"] == status
    assert (batch["completed_ts"] is not None) == (status != "ACTIVE")
    [(result, summary)] = sql.execute(
        "SELECT recon_result::text, recon_summary FROM irp_batch_recon_log WHERE batch_id = %s",
        [seeded.batch_id],
    ).fetchall()
    assert result == status
    assert summary.pop("reason")
    ids = dict(zip(seeded.job_ids, labels, strict=True))
    assert summary == {
        "total_configs": len(labels),
        "non_skipped_configs": len(labels),
        "fulfilled_configs": labels.count("FINISHED"),
        "unfulfilled_configs": len(labels) - labels.count("FINISHED"),
        "unfulfilled_config_ids": [
            c
            for c, label in zip(seeded.configuration_ids, labels, strict=True)
            if label != "FINISHED"
        ],
        "total_jobs": len(labels),
        "non_skipped_jobs": len(labels),
        "job_status_counts": {label: labels.count(label) for label in labels},
        "failed_job_ids": [i for i, label in ids.items() if label == "FAILED"],
        "cancelled_job_ids": [i for i, label in ids.items() if label == "CANCELLED"],
        "error_job_ids": [i for i, label in ids.items() if label == "ERROR"],
    }


def test_skipped_jobs_are_counted_apart_and_decide_nothing(mixed, sql):
    batch_id, _ = mixed

    outcome = reconcile(batch_id)

    assert outcome.reason == "1 initiated, 1 running; 0 of 3 finished; 1 already failed."
    [(summary,)] = sql.execute("SELECT recon_summary FROM irp_batch_recon_log").fetchall()
    assert summary["job_status_counts"] == {
        "RUNNING": 1,
        "FAILED": 1,
        "INITIATED": 1,
        "SKIPPED": 2,
    }
    assert (summary["total_jobs"], summary["non_skipped_jobs"]) == (5, 3)
    assert (summary["total_configs"], summary["non_skipped_configs"]) == (4, 3)


def test_a_resubmitted_job_fulfils_the_configuration_of_the_one_that_was_skipped(metastore, sql):
    seeded = analysis_batch([job("FAILED", "1")])
    add_jobs(seeded.batch_id, [job("FINISHED", "2")], configuration_ids=seeded.configuration_ids)
    assert recon_batch(seeded.batch_id) == "FAILED"

    sql.execute("UPDATE irp_job SET skipped = true WHERE id = %s", seeded.job_ids)
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE' WHERE id = %s", [seeded.batch_id])

    assert recon_batch(seeded.batch_id) == "COMPLETED"


@pytest.mark.parametrize("status", sorted(set(BatchStatus) - {"ACTIVE"}))
def test_a_batch_that_is_not_active_stays_as_it_is(metastore, sql, status):
    seeded = analysis_batch([job("FAILED", "1")], status=BatchStatus(status))
    before = snapshot(sql)

    outcome = reconcile(seeded.batch_id)

    assert (outcome.status, outcome.finished) == (status, False)
    assert snapshot(sql) == before


@pytest.mark.parametrize(
    ("label", "notified", "chained"),
    [
        # partial results of analyses are worth a look
        ("FINISHED", False, True),
        ("FAILED", True, True),
        ("ERROR", True, False),
        ("CANCELLED", True, False),
        ("RUNNING", False, False),
    ],
)
def test_the_end_of_a_batch_is_written_with_what_follows_from_it(
    metastore, sql, label, notified, chained
):
    seeded = analysis_batch([job(label, "1")])

    outcome = reconcile(seeded.batch_id)

    notes = sql.execute("SELECT kind::text, batch_id, activation_num FROM irp_notification")
    assert notes.fetchall() == ([("BATCH_FAILED", seeded.batch_id, 1)] if notified else [])
    runs = sql.execute(
        "SELECT batch_id, activation_num, stage_num, from_step_num, next_step_num, status::text "
        "FROM irp_chain_run"
    )
    assert runs.fetchall() == ([(seeded.batch_id, 1, 4, 1, 2, "PENDING")] if chained else [])
    assert ("Step 4.2 starts by itself" in outcome.chain) == (label == "FINISHED")
    assert ("Step 4.2 starts all the same" in outcome.chain) == (chained and label != "FINISHED")


def test_a_batch_that_failed_and_then_completes_is_announced_as_recovered(metastore, sql):
    seeded = analysis_batch([job("FAILED", "1")])
    recon_batch(seeded.batch_id)
    sql.execute("UPDATE irp_job SET status = 'FINISHED'")
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE'")

    assert recon_batch(seeded.batch_id) == "COMPLETED"

    kinds = sql.execute("SELECT kind::text, activation_num FROM irp_notification ORDER BY id")
    assert kinds.fetchall() == [("BATCH_FAILED", 1), ("BATCH_RECOVERED", 2)]


def test_a_card_counts_what_a_resubmission_replaced_apart_from_what_a_person_skipped(
    metastore, sql
):
    seeded = analysis_batch([job("FAILED", "1"), job("FAILED", "2"), job("FAILED", "3")])
    recon_batch(seeded.batch_id)
    first, second, left_out = seeded.job_ids
    new = add_jobs(
        seeded.batch_id,
        [job("FAILED", "4"), job("FINISHED", "5"), job("FINISHED", "6")],
        configuration_ids=[seeded.configuration_ids[0]] * 2 + [seeded.configuration_ids[1]],
    )
    for replaced, by in zip([first, new[0], second], new, strict=True):  # the first one twice
        sql.execute("UPDATE irp_job SET parent_job_id = %s WHERE id = %s", [replaced, by])
    gone = [first, second, left_out, new[0]]
    sql.execute("UPDATE irp_job SET skipped = true WHERE id = ANY (%s)", [gone])
    sql.execute(
        "UPDATE irp_job_configuration SET skipped = true WHERE id = %s",
        [seeded.configuration_ids[2]],
    )
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE'")

    assert recon_batch(seeded.batch_id) == "COMPLETED"

    [(counts,)] = sql.execute(
        "SELECT payload -> 'job_status_counts' FROM irp_notification WHERE kind = 'BATCH_RECOVERED'"
    ).fetchall()
    assert counts == {"FINISHED": 2, "REPLACED": 3, "SKIPPED": 1}


def test_reconciling_twice_announces_and_chains_once(metastore, sql):
    seeded = analysis_batch([job("FAILED", "1")])

    for _ in range(2):
        recon_batch(seeded.batch_id)

    assert sql.execute("SELECT count(*) FROM irp_notification").fetchone() == (1,)
    assert sql.execute("SELECT count(*) FROM irp_chain_run").fetchone() == (1,)
    assert sql.execute("SELECT count(*) FROM irp_batch_recon_log").fetchone() == (1,)


class OnPurposeError(BatchMonitoringError):
    pass


@pytest.mark.parametrize(("owner", "name"), [(events, "announce_batch"), (claims, "make_due")])
def test_if_one_write_fails_nothing_of_the_end_is_written(metastore, sql, monkeypatch, owner, name):
    seeded = analysis_batch([job("FAILED", "1")])
    before = snapshot(sql)

    def fail(*args: object, **kwargs: object) -> None:
        raise OnPurposeError

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OnPurposeError):
        recon_batch(seeded.batch_id)
    assert snapshot(sql) == before

    monkeypatch.undo()


def test_a_reconciliation_waits_for_whoever_holds_the_batch(metastore, sql):
    seeded = analysis_batch([job("FINISHED", "1")])
    done: list[str] = []
    second = threading.Thread(target=lambda: done.append(recon_batch(seeded.batch_id)))
    waiting = "SELECT FROM pg_locks WHERE NOT granted"

    with psycopg.connect(metastore) as holder:
        holder.execute("SELECT FROM irp_batch WHERE id = %s FOR UPDATE", [seeded.batch_id])
        second.start()
        wait_until(lambda: sql.execute(waiting).fetchone() is not None)
        # what the holder does meanwhile is seen: the job is being run again
        holder.execute("UPDATE irp_job SET status = 'RUNNING'")
        assert done == []
    second.join(20)

    assert done == ["ACTIVE"]


def test_each_activation_is_counted_whoever_makes_it(metastore, sql):
    seeded = analysis_batch(status=BatchStatus.INITIATED)

    def activation() -> int:
        return read_batch(seeded.batch_id)["activation_num"]

    counts = [activation()]
    for status in ("ACTIVE", "ACTIVE", "COMPLETED", "ACTIVE", "FAILED", "ACTIVE"):
        sql.execute("UPDATE irp_batch SET status = %s::batch_status_enum", [status])
        counts.append(activation())

    assert counts == [0, 1, 1, 1, 2, 2, 3]


def test_the_attention_names_ten_jobs_and_counts_the_rest(metastore):
    seeded = analysis_batch([PreparedJob()] * 13)

    outcome = reconcile(seeded.batch_id)

    assert len(outcome.attention) == 11
    assert outcome.attention[0] == (
        f"Job {seeded.job_ids[0]} was never submitted: submit its batch again, or skip it."
    )
    assert outcome.attention[-1] == "… and 3 more jobs."


@pytest.mark.parametrize(
    ("jobs", "call"),
    [
        ([PreparedJob()], f"plan_rerun('{CYCLE}', 4, 1)"),  # its notebook submits what is left
        ([job("RUNNING", "78")], "plan_cancel(1, [1])"),  # it has been so for days
        ([job("RUNNING", "nonsense")], "plan_skip(1, [1])"),  # nobody can be asked about it
        ([job("FINISHED", "1"), job("CANCELLED", "2")], "plan_resubmit(1)"),
    ],
)
def test_what_needs_attention_comes_with_the_call_that_mends_it(metastore, sql, jobs, call):
    seeded = analysis_batch(jobs)
    sql.execute("UPDATE irp_job SET updated_ts = now() - interval '9 days'")
    outcome = reconcile(seeded.batch_id)
    assert (outcome.needs_attention, outcome.mend) == (True, call)
    assert callable(getattr(helpers.batch, call.partition("(")[0]))


def test_a_configuration_without_a_job_is_skipped_by_the_call_that_is_offered(metastore):
    seeded = analysis_batch([job("FINISHED", "1")])
    [configuration] = add_configurations(seeded.batch_id, [{"analysis": "B"}])
    outcome = reconcile(seeded.batch_id)
    assert outcome.mend == f'skip_job_configuration({configuration}, "…")'
    eval(outcome.mend, vars(helpers.batch))
    assert recon_batch(seeded.batch_id) == "COMPLETED"


def test_what_somebody_is_submitting_needs_no_attention(metastore):
    seeded = analysis_batch([PreparedJob(), job("RUNNING", "nonsense")])
    outcome = reconcile(seeded.batch_id)
    assert len(outcome.attention) == 1

    with AdvisoryLocks(owner="an analyst") as locks:
        locks.try_acquire(LockSpace.SUBMIT_BATCH, [seeded.batch_id])
        meanwhile = reconcile(seeded.batch_id)

    assert (meanwhile.needs_attention, meanwhile.attention) == (False, ())
    assert meanwhile.reason.endswith("finished. an analyst is submitting it.")
    assert reconcile(seeded.batch_id).needs_attention


def test_a_summary_with_odd_text_can_be_kept(metastore, sql):
    seeded = analysis_batch([job("FAILED", "1")])
    sql.execute("UPDATE irp_job SET last_error = %s", ['"quoted" \\ Zürich \t'])

    recon_batch(seeded.batch_id)

    [(payload,)] = sql.execute("SELECT payload FROM irp_notification").fetchall()
    assert json.dumps(payload)
    assert payload["jobs"][0]["reason"] == '"quoted" \\ Zürich \t'
