"""What a session is trusted with: nothing that a role, a database or the environment may change."""

from collections import defaultdict
from contextlib import closing
from itertools import zip_longest

import psycopg
import pytest
from psycopg import sql as composed

from helpers.batch import read_batch
from helpers.constants import BatchType
from helpers.database import close_pools, connect, queries, transaction
from helpers.database.migrations import migrate
from helpers.job import read_job
from sandbox.seeding import add_cycle
from tests.support.notebooks import step_notebook
from tests.support.passes import FAMILIES, active_batch, jobs_of, one_pass, rows, running

CYCLE = "Analysis-2025-Q1"
SETTINGS = [
    ("DateStyle", "German"),
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "Postgres, YMD"),
    ("IntervalStyle", "postgres_verbose"),
    ("IntervalStyle", "sql_standard"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "Asia/Kathmandu"),
    ("TimeZone", "<+05>-5"),  # Python knows no such zone
    ("TimeZone", "America/St_Johns"),
    ("client_encoding", "SQL_ASCII"),  # psycopg would read bytes
    ("client_encoding", "LATIN1"),
    ("client_encoding", "EUC_TW"),  # Python has no such codec
    ("extra_float_digits", "-15"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("array_nulls", "off"),  # a NULL in an array would be the text "NULL"
    ("transform_null_equals", "on"),
    ("exit_on_error", "on"),
    ("quote_all_identifiers", "on"),
    ("session_replication_role", "replica"),  # activations would not be counted
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_deferrable", "on"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "2s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("idle_session_timeout", "2s"),
    ("row_security", "off"),
    ("client_min_messages", "debug5"),
    ("application_name", "somebody"),
    ("jit_above_cost", "0"),
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("xmloption", "document"),
]


def together() -> list[list[tuple[str, str]]]:
    """All settings in as few sets as can be: none holds two values of one name."""
    named = defaultdict(list)
    for name, value in SETTINGS:
        named[name].append((name, value))
    return [[each for each in chosen if each] for chosen in zip_longest(*named.values())]


def change(url: str, *settings: tuple[str, str]) -> None:
    """Give every later session of the database these settings."""
    with psycopg.connect(url, autocommit=True) as connection:
        database = composed.Identifier(connection.info.dbname)
        for name, value in settings:
            known = connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()
            if known == (None,):  # an older server
                continue
            # DateStyle is a list; as one quoted word it would be another.
            words = composed.SQL(", ").join(map(composed.Literal, value.split(", ")))
            connection.execute(
                composed.SQL("ALTER DATABASE {} SET {} = {}").format(
                    database, composed.Identifier(name), words
                )
            )


def assert_a_pass_does_its_work(sql, moodys, teams, kind=BatchType.MRI_IMPORT) -> None:
    cycle = add_cycle(CYCLE)
    family = FAMILIES[kind]
    reason = "Größe: '\\d+' \"{NULL}\" über 5 %"
    jobs = [running(moodys, family, "FINISHED"), running(moodys, family, "FAILED", reason=reason)]
    ended = active_batch(cycle, kind, jobs)
    watched = active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz")])

    done = one_pass()

    assert done.summary.errors == []
    assert done.became == {ended.batch_id: "FAILED", watched.batch_id: "ACTIVE"}
    assert list(jobs_of(sql).values()) == ["FINISHED", "FAILED", "RUNNING"]
    assert reason in str(read_job(ended.job_ids[1])["last_error"])
    assert [step.error for step in done.chained.steps] == [None] * (kind is BatchType.ANALYSIS)
    assert len(teams.messages) == 1
    assert read_batch(ended.batch_id)["completed_ts"].utcoffset().total_seconds() == 0
    assert rows(
        sql,
        "SELECT count(*), count(error_message), bool_and(tracked_ts <= clock_timestamp() "
        "AND tracked_ts > now() - interval '1 hour') FROM irp_job_tracking_log",
    ) == [(3, 0, True)]
    assert rows(sql, "SELECT DISTINCT activation_num FROM irp_batch") == [(1,)]


@pytest.mark.parametrize(
    "settings",
    [
        *(pytest.param(chosen, id=f"all {n}") for n, chosen in enumerate(together())),
        *(pytest.param([one], id="-".join(one), marks=pytest.mark.faults) for one in SETTINGS),
    ],
)
def test_a_pass_does_its_work_whatever_the_database_sets(
    settings, metastore, sql, moodys, teams, workflows
):
    change(metastore, *settings)

    assert_a_pass_does_its_work(sql, moodys, teams)


def test_a_pass_does_its_work_whatever_the_environment_sets(
    metastore, sql, moodys, teams, workflows, monkeypatch
):
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c array_nulls=off")

    assert_a_pass_does_its_work(sql, moodys, teams)


def test_a_step_follows_whatever_the_database_sets(metastore, sql, moodys, teams, workflows):
    change(metastore, *SETTINGS)
    step_notebook(workflows, "ran = True", cycle=CYCLE, stage_num=4, step_num=2)

    assert_a_pass_does_its_work(sql, moodys, teams, BatchType.ANALYSIS)


def test_an_adopted_database_is_migrated_whatever_it_sets(adopted):
    hostile = {name: value for name, value in SETTINGS if name != "client_min_messages"}
    change(adopted, *hostile.items())

    done = migrate()

    assert done.polls_brought_over == 5
    with transaction() as connection:  # written with a backslash, and read under this session
        assert queries("housekeeping").drop_days(connection, older_than="-10 days") == 8


PINNED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "session_replication_role": "origin",
    "synchronous_commit": "local",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}


def test_pooled_and_single_connections_have_the_same_settings_but_their_limits(metastore):
    change(metastore, *SETTINGS)

    def settings_of(connection) -> dict[str, str]:
        names = [*PINNED, "lock_timeout", "idle_in_transaction_session_timeout"]
        return {name: connection.execute(f"SHOW {name}").fetchone().popitem()[1] for name in names}

    with transaction() as pooled, closing(connect(application_name="a lock")) as own:
        assert settings_of(pooled) == {
            **PINNED,
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "1min",
        }
        assert settings_of(own) == {
            **PINNED,
            "lock_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
        }
    close_pools()


def test_the_schema_that_was_chosen_stays(metastore):
    change(metastore, ("search_path", "elsewhere, public"))

    with transaction() as connection:
        path = connection.execute("SHOW search_path").fetchone()
    assert path == {"search_path": "elsewhere, public"}
