"""That a database is up to date is read from its tables, and not from a list alone."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers.database.__main__ import main
from helpers.database.migrations import migrate
from helpers.database.schema import expected_columns, own_objects, problem, require_migrated
from helpers.errors import DatabaseError, SchemaOutdatedError
from helpers.monitor import run_pass
from tests.support.passes import configure, rows

ADOPTED = (Path(__file__).parent.parent / "support" / "adopted.sql").read_text()
THE_TEAMS_TABLES = (
    "irp_job_tracking_log, irp_batch_recon_log, irp_job, irp_job_configuration, irp_batch, "
    "irp_step_run, irp_step, irp_stage, irp_configuration, irp_cycle"
)
DROP_THE_TEAMS = f"""
    DROP TABLE {THE_TEAMS_TABLES} CASCADE;
    DROP TYPE cycle_status_enum, step_status_enum, configuration_status_enum, batch_status_enum,
        job_status_enum CASCADE"""


def test_what_is_expected_is_what_the_migrations_leave(metastore, sql):
    found = rows(
        sql,
        "SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 "
        "AND NOT attisdropped AND NOT relispartition AND relname !~ 'yoyo'",
    )
    types = rows(
        sql,
        "SELECT typname FROM pg_type WHERE typtype = 'e' AND typname !~ "
        "'^(cycle|step|configuration|batch|job)_status_enum$'",
    )
    functions = rows(sql, "SELECT DISTINCT proname FROM pg_proc WHERE proname ~ '^irp_'")

    assert expected_columns() == set(found)
    assert sorted(own_objects()["TYPE"]) == sorted(name for (name,) in types)
    assert sorted(set(own_objects()["FUNCTION"])) == sorted(name for (name,) in functions)


def test_a_migrated_database_has_no_problem(metastore):
    assert problem() is None
    require_migrated()


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (
            "ALTER TABLE irp_batch DROP COLUMN activation_num CASCADE",
            "irp_batch.activation_num, irp_v",
        ),
        ("DROP TABLE irp_chain_run CASCADE", "irp_chain_run.activation_num, irp_chain_run.attempt"),
        (
            "ALTER TABLE irp_batch DISABLE TRIGGER irp_batch_count_activation",
            "trigger irp_batch_count_activation is missing",
        ),
        ("CREATE SCHEMA a; CREATE TABLE a.irp_batch (id int)", "search_path (a, public)"),
        (f"{DROP_THE_TEAMS}; {ADOPTED}", "irp_batch.activation_num"),
    ],
)
def test_what_is_missing_is_reported_in_one_sentence_before_anything_is_written(
    metastore, sql, monkeypatch, capsys, broken, named
):
    sql.execute(broken)
    configure(
        monkeypatch, database_url=make_conninfo(metastore, options="-csearch_path=a,\\ public")
    )

    assert main(["status"]) == 1

    [count, message] = capsys.readouterr().out.splitlines()
    assert count.startswith("0 of ")
    assert named in message
    assert "put the right one first" in message
    assert "python -m helpers.database migrate --anew" in message
    for attempt in (run_pass, migrate):
        with pytest.raises(SchemaOutdatedError) as caught:
            attempt()
        assert str(caught.value) == message
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err.strip() == message


def test_tables_that_were_made_anew_are_migrated_anew(metastore, sql, moodys, workflows):
    sql.execute(
        "INSERT INTO irp_monitor_run (host, pid, package_version, started_by) VALUES "
        "('h', 1, '0', 'command')"
    )
    sql.execute(f"{DROP_THE_TEAMS}; {ADOPTED}")

    assert main(["migrate", "--anew"]) == 0

    assert problem() is None
    assert rows(sql, "SELECT count(*) FROM irp_job_tracking_log") == [(5,)]
    assert rows(sql, "SELECT count(*) FROM irp_monitor_run") == [(0,)]
    assert run_pass().batches_found == 1


def test_nothing_is_dropped_without_need(metastore, sql):
    with pytest.raises(DatabaseError, match="were not made anew"):
        migrate(anew=True)
    sql.execute("ALTER TABLE irp_batch DROP COLUMN activation_num CASCADE")
    with pytest.raises(DatabaseError, match="rename or drop it first"):
        migrate(anew=True)

    assert rows(sql, "SELECT to_regclass('irp_chain_run') IS NOT NULL") == [(True,)]


def test_tables_in_a_schema_of_their_own_are_migrated_there(empty_database, monkeypatch):
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA team; SET search_path = team")
        connection.execute(ADOPTED)
    url = make_conninfo(empty_database, options="-csearch_path=public,team")
    configure(monkeypatch, database_url=url)

    migrate()

    with psycopg.connect(empty_database) as connection:
        strays = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert strays == []
    assert run_pass().batches_found == 1
