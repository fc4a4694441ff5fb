import os
import subprocess
import sys
import threading
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.rows import dict_row

from helpers import constants
from helpers.batch import (
    get_active_batches,
    get_batch_job_configurations,
    get_batch_jobs,
    read_batch,
    reconcile,
)
from helpers.database import AdvisoryLocks, LockSpace, transaction
from helpers.database.migrations import migrate
from helpers.database.schema import migration_ids, missing_migrations, require_migrated
from helpers.errors import DatabaseError, SchemaOutdatedError
from helpers.job import get_job_config, read_job
from helpers.monitor.poll_list import each_job_to_poll
from helpers.settings import PROJECT_DIR
from helpers.step_chain import get_next_step_info, should_execute_next_step
from sandbox.statements import statements
from tests.support.waiting import wait_until

TABLES = [
    "irp_cycle",
    "irp_configuration",
    "irp_stage",
    "irp_step",
    "irp_step_run",
    "irp_batch",
    "irp_job_configuration",
    "irp_job",
    "irp_batch_recon_log",
    "irp_job_status_rule",
    "v_irp_job",
    "v_irp_job_configuration",
    "v_irp_batch",
]


def rows(url: str, query: str) -> list[dict[str, object]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def contents(url: str) -> dict[str, list[dict[str, object]]]:
    return {table: rows(url, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


def tracking_log(url: str, table: str = "irp_job_tracking_log") -> list[dict[str, object]]:
    return rows(
        url,
        "SELECT id, job_id, tracked_ts, moodys_workflow_id, job_status::text AS job_status, "
        f"tracking_data::text AS tracking_data FROM {table} ORDER BY id",
    )


SCHEMA_QUERIES = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1, 2""",
    "keys": """
        SELECT conrelid::regclass::text AS owner, pg_get_constraintdef(oid) AS definition
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "labels": """
        SELECT typname, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid
        ORDER BY typname, enumsortorder""",
    "functions": """
        SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1""",
    "triggers": """
        SELECT tgrelid::regclass::text AS owner, tgname FROM pg_trigger WHERE NOT tgisinternal
        ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname FROM pg_indexes
        WHERE schemaname = 'public' AND indexname ~ '_idx$' AND indexname !~ '\\d{8}'
        ORDER BY 1, 2""",
}


def schema(url: str) -> dict[str, set[tuple[object, ...]]]:
    """Return what a database is made of, except for what only the adopted one brings."""
    own = ("irp_job_status_rule", "v_irp_")
    return {
        name: {
            tuple(row.values())
            for row in rows(url, query)
            if not str(next(iter(row.values()))).startswith(own)
        }
        for name, query in SCHEMA_QUERIES.items()
    }


def test_an_empty_database_gets_every_migration_in_order(empty_database):
    done = migrate()

    assert done.applied == migration_ids()
    assert (done.polls_brought_over, done.remarks) == (0, [])
    assert missing_migrations() == []
    assert rows(empty_database, "SELECT to_regclass('irp_job_tracking_log_adopted') AS old") == [
        {"old": None}
    ]


def test_a_second_time_changes_nothing(adopted):
    migrate()
    before = (contents(adopted), tracking_log(adopted), schema(adopted))

    done = migrate()

    assert done.applied == []
    assert (contents(adopted), tracking_log(adopted), schema(adopted)) == before


def test_an_adopted_database_loses_nothing(adopted):
    before = contents(adopted)

    done = migrate()

    assert done.applied == migration_ids()
    for table, old in before.items():
        new = contents(adopted)[table]
        # what we add is new columns only
        assert [{key: row[key] for key in old[0]} for row in new] == old


def test_the_tracking_log_is_brought_over_with_its_ids_and_its_statuses_as_text(adopted):
    before = tracking_log(adopted)

    done = migrate()

    after = tracking_log(adopted)
    assert done.polls_brought_over == len(before) == 5
    for row in before:  # a partition needs a time: the earliest there is
        row["tracked_ts"] = row["tracked_ts"] or datetime(1970, 1, 1, tzinfo=UTC)
    assert after == before
    assert rows(adopted, "SELECT pg_typeof(job_status)::text AS t FROM irp_job_tracking_log")[
        0
    ] == {"t": "text"}
    assert rows(adopted, "SELECT bool_and(kept) AS kept FROM irp_job_tracking_log") == [
        {"kept": True}
    ]


def test_new_polls_get_ids_after_those_that_were_brought_over(adopted):
    migrate()

    with psycopg.connect(adopted) as connection:
        row = connection.execute(
            "INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id) VALUES (4, '1') "
            "RETURNING id"
        ).fetchone()

    assert row == (2001,)


def test_the_views_of_an_adopted_database_go_on_working(adopted):
    migrate()

    with psycopg.connect(adopted) as connection:
        connection.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = 4")

    assert rows(adopted, "SELECT jobs_done FROM v_irp_batch WHERE id = 3") == [{"jobs_done": 1}]
    assert rows(adopted, "SELECT counts_as FROM v_irp_job WHERE id = 4") == [{"counts_as": "done"}]


def test_batches_that_ended_before_never_chain_and_active_ones_are_in_their_first_activation(
    adopted,
):
    migrate()

    activations = rows(adopted, "SELECT id, activation_num FROM irp_batch ORDER BY id")
    assert {row["id"]: row["activation_num"] for row in activations} == {
        1: 0,
        2: 0,
        3: 1,
        4: 0,
        5: 0,
        6: 0,
        7: 1,
    }
    assert not should_execute_next_step(1)
    assert get_next_step_info(1) is None


def test_both_ends_have_the_same_schema(server_url, adopted, metastore):
    migrate_url(adopted)

    empty, grown = schema(metastore), schema(adopted)

    assert grown["columns"] == empty["columns"]
    assert grown["labels"] == empty["labels"]
    assert grown["functions"] == empty["functions"]
    assert grown["triggers"] == empty["triggers"]
    assert empty["keys"] == grown["keys"]
    assert empty["indexes"] <= grown["indexes"]


def migrate_url(url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "helpers.database", "migrate"],
        env={**os.environ, "DATABASE_URL": url},
        cwd=PROJECT_DIR,
        check=True,
        capture_output=True,
    )


def test_every_read_copes_with_what_an_adopted_database_leaves_out(adopted):
    migrate()

    found = {batch["batch_id"]: batch for batch in get_active_batches()}
    assert set(found) == {3}  # a cycle without a status is not ACTIVE
    assert found[3]["submitted_ts"] is None
    statuses = {job["id"]: (job["status"], job["skipped"]) for job in get_batch_jobs(3)}
    assert statuses == {4: ("RUNNING", False), 5: ("INITIATED", False), 6: ("CANCELLING", False)}
    assert [job["id"] for job in get_batch_jobs(3, skipped=False)] == [4, 5, 6]
    assert [job["id"] for job in get_batch_jobs(3, status="INITIATED")] == [5]
    assert [c["skipped"] for c in get_batch_job_configurations(2)] == [True, False]
    assert [c["overridden"] for c in get_batch_job_configurations(3)] == [False, False]
    assert read_batch(5)["status"] == "INITIATED"
    assert read_batch(7)["cycle_status"] == "UNSET"
    assert (read_job(5)["status"], read_job(5)["skipped"]) == ("INITIATED", False)
    assert get_job_config(5)["job_configuration_data"] is None
    assert [job["job_id"] for job in each_job_to_poll([3])] == [5, 6, 4]


def test_an_adopted_batch_is_reconciled_with_a_line_for_each_job_that_will_not_move(adopted):
    migrate()

    outcome = reconcile(3)

    assert (outcome.status, outcome.needs_attention) == ("ACTIVE", True)
    assert [line.split(" has ")[0].split(" was ")[0] for line in outcome.attention] == [
        "Job 4",
        "Job 5",
        "Job 6",
    ]


def test_the_labels_of_the_database_are_those_of_the_enums(metastore):
    enums = {
        "cycle_status_enum": constants.CycleStatus,
        "step_status_enum": constants.StepStatus,
        "configuration_status_enum": constants.ConfigurationStatus,
        "batch_status_enum": constants.BatchStatus,
        "job_status_enum": constants.JobStatus,
        "chain_run_status_enum": constants.ChainRunStatus,
        "notification_kind_enum": constants.NotificationKind,
        "notification_status_enum": constants.NotificationStatus,
        "action_kind_enum": constants.ActionKind,
        "action_status_enum": constants.ActionStatus,
    }
    labels: dict[str, list[str]] = {}
    for row in rows(metastore, SCHEMA_QUERIES["labels"]):
        labels.setdefault(str(row["typname"]), []).append(str(row["enumlabel"]))

    assert labels == {name: [m.value for m in enum] for name, enum in enums.items()}


def test_a_bring_over_that_was_cut_off_goes_on(adopted, monkeypatch):
    before = tracking_log(adopted)
    monkeypatch.setattr("helpers.database.migrations._PIECE", 2)

    class CutOffError(Exception):
        pass

    def cut_off(rows_so_far: int) -> None:
        raise CutOffError(rows_so_far)

    with pytest.raises(CutOffError):
        migrate(on_progress=cut_off)
    assert [row["id"] for row in tracking_log(adopted)] == [3, 7]
    assert len(tracking_log(adopted, "irp_job_tracking_log_adopted")) == 3

    message: list[int] = []
    done = migrate(on_progress=message.append)

    assert (done.applied, done.polls_brought_over, message) == ([], 3, [2, 3])
    assert [row["id"] for row in tracking_log(adopted)] == [row["id"] for row in before]


def test_a_migration_that_fails_is_rolled_back_and_not_noted_as_applied(adopted):
    with psycopg.connect(adopted) as connection:
        connection.execute("CREATE TABLE irp_monitor_run (other int)")
        connection.execute(
            "CREATE FUNCTION irp_tracking_log_add_days(days_ahead int) RETURNS int "
            "LANGUAGE sql AS 'SELECT 1'"
        )
    before = tracking_log(adopted)

    with pytest.raises(DatabaseError, match="already exists"):
        migrate()

    assert missing_migrations() == migration_ids()[1:]
    assert tracking_log(adopted) == before


def test_a_migration_and_its_note_are_one_transaction(empty_database, monkeypatch):
    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("yoyo.backends.base.DatabaseBackend.mark_one", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate()
    monkeypatch.undo()
    assert rows(empty_database, "SELECT to_regclass('irp_cycle') AS made") == [{"made": None}]


def test_a_lock_that_a_killed_run_left_does_not_stop_the_next(empty_database):
    migrate()
    with psycopg.connect(empty_database) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 99999)")

    assert migrate().applied == []


def test_two_migrations_at_the_same_time_wait_for_each_other(empty_database):
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(migrate().applied))
    with AdvisoryLocks(owner="the first") as first:
        first.acquire(LockSpace.MIGRATE, 0)
        second.start()
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: rows(empty_database, waiting) == [{"n": 1}])
        assert missing_migrations() == migration_ids()
    second.join(60)

    assert done == [migration_ids()]


def test_a_pass_is_reported_to_migrate_first(adopted):
    before = contents(adopted)

    with pytest.raises(SchemaOutdatedError, match=r"python -m helpers\.database migrate"):
        require_migrated()

    assert contents(adopted) == before
    migrate()
    require_migrated()


def test_a_database_that_lacks_one_migration_is_named(metastore, sql):
    sql.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0007_monitor_runs'")

    lacking = rf"lacks 1 of {len(migration_ids())} migrations \(0007_monitor_runs\)"
    with pytest.raises(SchemaOutdatedError, match=lacking):
        require_migrated()


def command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.database", *arguments],
        env={**os.environ, "DATABASE_URL": url},
        cwd=PROJECT_DIR,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_command_says_what_it_did(adopted):
    number = len(migration_ids())
    status = command(adopted, "status")
    assert status.returncode == 1
    assert status.stdout.splitlines()[0] == "missing 0001_metastore"
    assert status.stdout.splitlines()[-1] == f"{number} of {number} migrations are missing."

    first = command(adopted, "migrate")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "brought over 5 rows of the tracking log",
        *(f"applied {name}" for name in migration_ids()),
        "1 row of the tracking log had no time, and is kept as of 1970-01-01.",
        f"{number} of {number} migrations applied; the database is up to date.",
    ]

    second = command(adopted, "migrate")
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == f"0 of {number} migrations applied; the database is up to date.\n"

    status = command(adopted, "status")
    assert (status.returncode, status.stdout) == (0, f"0 of {number} migrations are missing.\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:hunter2pw@127.0.0.1:1/d", "cannot be reached"),
        ("postgresql://u:hunter2pw%ZZ@127.0.0.1/d", "DATABASE_URL cannot be read"),
        # an @ that is not encoded
        ("postgresql://u:x@hunter2pw@127.0.0.1/d", "DATABASE_URL cannot be read"),
        ("", "No database is configured"),
    ],
)
@pytest.mark.parametrize("name", ["migrate", "status"])
def test_the_command_fails_with_one_line_and_no_secret(url, message, name):
    failed = command(url, name)

    assert failed.returncode == 1
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert "hunter2pw" not in failed.stdout + failed.stderr


def partitions(url: str) -> list[str]:
    found = rows(
        url,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
        "WHERE inhparent = 'irp_job_tracking_log_polls'::regclass ORDER BY 1",
    )
    return [str(row["name"]) for row in found]


def test_the_days_ahead_are_made_once(metastore, sql):
    assert len(partitions(metastore)) == 9  # today, seven days ahead, and the rest

    def add(days: int) -> int:
        return sql.execute("SELECT irp_tracking_log_add_days(%s)", [days]).fetchone()[0]

    assert add(7) == 0
    assert add(9) == 2
    assert len(partitions(metastore)) == 11


def test_a_poll_of_any_day_finds_its_location(metastore, sql, one_job):
    add = (
        "INSERT INTO irp_job_tracking_log (job_id, tracked_ts, moodys_workflow_id, kept) "
        "VALUES (%s, now() + %s::interval, '1', %s)"
    )
    for when in ("0", "7 days", "-400 days", "400 days"):
        for kept in (True, False):
            sql.execute(add, [one_job, when, kept])

    found = dict(
        sql.execute(
            "SELECT tableoid::regclass::text, count(*) FROM irp_job_tracking_log GROUP BY 1"
        ).fetchall()
    )
    assert found.pop("irp_job_tracking_log_kept") == 4
    assert found.pop("irp_job_tracking_log_rest") == 2
    assert sorted(found.values()) == [1, 1]


def test_a_day_whose_polls_lie_in_the_rest_already_is_left_to_it(metastore, sql, one_job):
    sql.execute(
        "INSERT INTO irp_job_tracking_log (job_id, tracked_ts, moodys_workflow_id, kept) "
        "VALUES (%s, now() + interval '8 days', '1', false)",
        [one_job],
    )

    made = sql.execute("SELECT irp_tracking_log_add_days(9)").fetchone()[0]

    assert made == 1


def test_old_days_are_dropped_and_what_is_kept_stays(metastore, sql, one_job):
    day = "to_char(now() AT TIME ZONE 'UTC' - interval '40 days', 'YYYYMMDD')"
    name = sql.execute(f"SELECT 'irp_job_tracking_log_' || {day}").fetchone()[0]
    sql.execute(
        f"CREATE TABLE {name} PARTITION OF irp_job_tracking_log_polls FOR VALUES FROM "
        f"('{name[-8:]} 00:00+00') TO ('{name[-8:]} 24:00+00')"
    )
    add = (
        "INSERT INTO irp_job_tracking_log (job_id, tracked_ts, moodys_workflow_id, kept) "
        "SELECT %s, now() - %s::interval, '1', %s"
    )
    for when, kept in (("40 days", True), ("40 days", False), ("90 days", False), ("0", False)):
        sql.execute(add, [one_job, when, kept])

    dropped = sql.execute("SELECT irp_tracking_log_drop_days('30 days')").fetchone()[0]

    assert dropped == 1
    assert name not in partitions(metastore)
    left = sql.execute("SELECT kept, count(*) FROM irp_job_tracking_log GROUP BY 1 ORDER BY 1")
    assert left.fetchall() == [(False, 1), (True, 1)]
    assert sql.execute("SELECT irp_tracking_log_drop_days('30 days')").fetchone() == (0,)


@pytest.fixture
def one_job(metastore) -> int:
    with transaction() as connection:
        cycle = statements().cycle(connection, name="Q1", status="ACTIVE")
        stage = statements().stage(connection, cycle_id=cycle, num=4, name="Analysis")
        step = statements().step(
            connection, stage_id=stage, num=1, name="A", notebook_path=None, requires_batch=True
        )
        batch = statements().batch(connection, step_id=step, batch_type="Analysis", status="ACTIVE")
        [job] = statements().jobs(
            connection,
            batch_id=batch,
            configuration_ids=[None],
            statuses=["RUNNING"],
            workflow_ids=["1"],
            requests=[None],
            skipped=False,
        )
    return job["id"]
