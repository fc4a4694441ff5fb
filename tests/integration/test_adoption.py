"""What a team has built on its metastore is still there after the migrations, whoever runs them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql as composed
from psycopg.conninfo import make_conninfo

from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.database.schema import migration_ids, missing_migrations
from helpers.errors import DatabaseError
from helpers.monitor import run_pass
from helpers.settings import PROJECT_DIR
from tests.support.passes import configure


def execute(url: str, *statements: str) -> list[tuple]:
    """Run statements; return the rows of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def role(server_url) -> Iterator:
    """Make roles of this test's own, by a word."""
    suffix, made = uuid4().hex[:8], []

    def make(word: str, options: str = "LOGIN") -> str:
        name = f"{word}_{suffix}"
        execute(server_url, f"CREATE ROLE {name} {options}")
        made.append(name)
        return name

    yield make
    close_pools()
    databases = execute(server_url, "SELECT datname FROM pg_database WHERE datallowconn")
    writable = "-c default_transaction_read_only=off"  # whatever a test has made of its database
    for (database,) in databases:
        url = make_conninfo(server_url, dbname=database, options=writable)
        for name in made:
            execute(url, f"DROP OWNED BY {name} CASCADE")
    for name in made:
        execute(server_url, f"DROP ROLE {name}")


OWNERS = """
    SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S')
    UNION SELECT DISTINCT pg_get_userbyid(typowner) FROM pg_type
    WHERE typnamespace = current_schema()::regnamespace AND typtype = 'e'
    UNION SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'irp_%'"""


def give_all_to(url: str, owner: str) -> None:
    """Let everything in this database belong to a role."""
    give = """
        SELECT format('ALTER %s %s OWNER TO {owner}',
                      CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, oid::regclass)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
        UNION ALL SELECT format('ALTER TYPE %s OWNER TO {owner}', oid::regtype)
        FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'"""
    for (statement,) in execute(url, give.replace("{owner}", owner)):
        execute(url, statement)
    execute(url, f"GRANT ALL ON SCHEMA public TO {owner}")


BUILT_ON_THE_LOG = """
    CREATE VIEW v_last_answer WITH (security_barrier = true) AS
        SELECT DISTINCT ON (job_id) job_id, job_status, tracked_ts, tracking_data
        FROM irp_job_tracking_log WHERE job_status <> 'QUEUED' ORDER BY job_id, id DESC;
    CREATE VIEW v_running AS
        SELECT last.job_id, last.job_status = 'RUNNING'::job_status_enum AS is_running
        FROM v_last_answer AS last JOIN irp_job ON irp_job.id = last.job_id
        WHERE irp_job.status = ANY (ARRAY['RUNNING', 'FINISHED']::job_status_enum[]);
    COMMENT ON VIEW v_running IS 'what runs';
    CREATE TABLE noted (id int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO noted VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER note AFTER INSERT ON irp_job_tracking_log FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER asleep AFTER UPDATE ON irp_job_tracking_log FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE irp_job_tracking_log DISABLE TRIGGER asleep;
    CREATE PUBLICATION "the team's" FOR TABLE irp_job_tracking_log, irp_job;"""
VIEWS = "SELECT * FROM v_running ORDER BY 1"


def test_views_grants_triggers_and_publications_move_to_the_new_log(adopted, role):
    reader, writer = role("reader", "NOLOGIN"), role("writer", "NOLOGIN")
    execute(
        adopted,
        BUILT_ON_THE_LOG,
        f"GRANT SELECT ON irp_job_tracking_log, v_running TO {reader} WITH GRANT OPTION",
        f"GRANT INSERT, SELECT (id, job_status) ON irp_job_tracking_log TO {writer}",
        f"GRANT USAGE ON SEQUENCE irp_job_tracking_log_id_seq TO {writer}",
        "GRANT SELECT ON irp_job_tracking_log TO PUBLIC",
    )
    before = execute(adopted, VIEWS)
    assert before == [(1, False), (4, True)]

    done = migrate()

    [remark] = done.remarks
    assert remark == "1 row of the tracking log had no time, and is kept as of 1970-01-01."
    assert execute(adopted, VIEWS) == before
    assert execute(adopted, "SELECT to_regclass('irp_job_tracking_log_adopted')") == [(None,)]
    assert execute(adopted, "SELECT reloptions FROM pg_class WHERE relname = 'v_last_answer'") == [
        (["security_barrier=true"],)
    ]
    assert execute(adopted, "SELECT obj_description('v_running'::regclass)") == [("what runs",)]
    may = "SELECT has_table_privilege(%s, %s, %s)"
    with psycopg.connect(adopted) as connection:
        for who, table, right in (
            (reader, "irp_job_tracking_log", "SELECT WITH GRANT OPTION"),
            (reader, "v_running", "SELECT"),
            (writer, "irp_job_tracking_log", "INSERT"),
            ("public", "irp_job_tracking_log", "SELECT"),
        ):
            assert connection.execute(may, [who, table, right]).fetchone() == (True,), (who, right)
        column = "SELECT has_column_privilege(%s, 'irp_job_tracking_log', 'job_status', 'SELECT')"
        assert connection.execute(column, [writer]).fetchone() == (True,)
        usage = "SELECT has_sequence_privilege(%s, 'irp_job_tracking_log_id_seq', 'USAGE')"
        assert connection.execute(usage, [writer]).fetchone() == (True,)
    assert execute(adopted, "SELECT tablename FROM pg_publication_tables ORDER BY 1") == [
        ("irp_job",),
        ("irp_job_tracking_log",),
    ]


def test_the_teams_triggers_fire_for_new_answers_and_not_for_those_that_are_moved(adopted):
    execute(adopted, BUILT_ON_THE_LOG)

    migrate()

    assert execute(adopted, "SELECT count(*) FROM noted") == [(0,)]
    insert = "INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id) VALUES (4, '1')"
    assert execute(adopted, insert, "SELECT count(*) FROM noted") == [(1,)]
    update = "UPDATE irp_job_tracking_log SET http_status = 200"
    assert execute(adopted, update, "SELECT count(*) FROM noted") == [(1,)]


def test_a_view_on_the_log_goes_on_to_show_new_answers_of_known_statuses(adopted):
    execute(adopted, BUILT_ON_THE_LOG)
    migrate()

    insert = "INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id, job_status) VALUES "
    execute(adopted, f"{insert} (4, '1', 'FINISHED'), (4, '1', NULL), (4, '1', 'INVENTED')")

    assert execute(adopted, VIEWS) == [(1, False), (4, False)]


@pytest.mark.parametrize(
    ("built", "named"),
    [
        (
            "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM irp_job_tracking_log",
            "materialized view m",
        ),
        ("ALTER TABLE irp_job_tracking_log ADD note text", "column note"),
        (
            "CREATE TABLE o (log_id int REFERENCES irp_job_tracking_log (id))",
            "constraint o_log_id_fkey on table o",
        ),
        (
            """CREATE FUNCTION f() RETURNS bigint LANGUAGE sql
            BEGIN ATOMIC SELECT count(*) FROM irp_job_tracking_log; END""",
            "function f()",
        ),
        ("CREATE FUNCTION f(irp_job_tracking_log) RETURNS int LANGUAGE sql AS 'SELECT 1'", "f("),
        ("CREATE TABLE c () INHERITS (irp_job_tracking_log)", "table c"),
        ("CREATE POLICY p ON irp_job_tracking_log USING (true)", "policy p"),
        ("ALTER TABLE irp_job_tracking_log ENABLE ROW LEVEL SECURITY", "row security"),
        (
            "CREATE RULE r AS ON DELETE TO irp_job_tracking_log DO INSTEAD NOTHING",
            "rule r",
        ),
        (
            "CREATE PUBLICATION p FOR TABLE irp_job_tracking_log (id, job_id)",
            "columns or rows that publication p selects",
        ),
        ("CREATE VIEW v AS SELECT l FROM irp_job_tracking_log l", "irp_job_tracking_log"),
        (
            "CREATE VIEW v AS SELECT id, job_id FROM irp_job_tracking_log GROUP BY id",
            "irp_job_tracking_log",
        ),
    ],
)
def test_what_cannot_be_moved_is_named_and_nothing_is_changed(adopted, built, named):
    [(version,)] = execute(adopted, "SELECT current_setting('server_version_num')::int")
    if "PUBLICATION" in built and version < 150_000:
        pytest.skip("publications select columns since PostgreSQL 15")
    execute(adopted, built)
    before = execute(adopted, "SELECT count(*) FROM irp_job_tracking_log")

    with pytest.raises(DatabaseError, match=re.escape(named)) as caught:
        migrate()

    assert "Drop it, migrate, and make it anew." in str(caught.value)
    assert "\n" not in str(caught.value)
    assert missing_migrations() == migration_ids()[1:]
    assert execute(adopted, "SELECT count(*) FROM irp_job_tracking_log") == before


def test_what_an_earlier_version_left_on_the_old_log_is_moved_by_the_next_migration(
    adopted, monkeypatch
):
    execute(adopted, "CREATE VIEW v AS SELECT id FROM irp_job_tracking_log")
    with monkeypatch.context() as earlier:
        earlier.setattr("helpers.database.migrations._move_dependants", lambda _: None)
        assert "was left in place" in migrate().remarks[-1]
    assert execute(adopted, "SELECT count(*) FROM v") == [(0,)]

    assert migrate().remarks == []

    assert execute(adopted, "SELECT count(*) FROM v") == [(5,)]


def test_an_administrator_migrates_as_the_owner_who_is_not_locked_out(
    adopted, role, moodys, workflows, monkeypatch
):
    owner = role("team")
    give_all_to(adopted, owner)
    execute(adopted, "CREATE VIEW admins AS SELECT max(id) FROM irp_job_tracking_log")

    migrate()  # as a superuser

    assert execute(adopted, OWNERS) == [(owner,)]
    assert execute(adopted, "SELECT * FROM admins") == [(2000,)]
    close_pools()
    configure(monkeypatch, database_url=make_conninfo(adopted, user=owner))
    assert "permission" not in str(run_pass())
    assert migrate().applied == []


def test_a_member_of_the_owner_migrates_as_the_owner(adopted, role, monkeypatch):
    owner, member = role("team"), role("member", "LOGIN NOINHERIT")
    give_all_to(adopted, owner)
    execute(adopted, f"GRANT {owner} TO {member}")
    configure(monkeypatch, database_url=make_conninfo(adopted, user=member))

    assert migrate().polls_brought_over == 5
    assert execute(adopted, OWNERS) == [(owner,)]


def test_what_another_role_made_when_it_migrated_goes_to_the_owner(adopted, role):
    migrate()
    owner = role("team")
    for table in ("irp_batch", "irp_job", "irp_job_tracking_log"):
        execute(adopted, f"ALTER TABLE {table} OWNER TO {owner}")
    execute(adopted, f"GRANT ALL ON SCHEMA public TO {owner}")
    close_pools()

    migrate()

    made = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = '{}'"
    for table in ("irp_chain_run", "irp_monitor_run", "_yoyo_migration"):
        assert execute(adopted, made.format(table)) == [(owner,)]


def test_a_role_that_may_not_act_for_the_owner_is_refused_and_nothing_is_changed(
    adopted, role, monkeypatch
):
    stranger = role("stranger")
    give_all_to(adopted, role("team"))
    execute(adopted, f"GRANT ALL ON SCHEMA public TO {stranger}")
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = execute(adopted, tables)
    configure(monkeypatch, database_url=make_conninfo(adopted, user=stranger))

    with pytest.raises(DatabaseError, match="belong to another role") as caught:
        migrate()

    assert "Migrate as that role" in str(caught.value)
    assert execute(adopted, tables) == before


def command(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=dict(os.environ),
        cwd=PROJECT_DIR,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "arguments"), [("helpers.monitor", ()), ("helpers.database", ("migrate",))]
)
def test_a_database_that_takes_no_changes_is_one_sentence_that_says_what_to_do(
    metastore, monkeypatch, module, arguments
):
    name = composed.Identifier(psycopg.conninfo.conninfo_to_dict(metastore)["dbname"])
    with psycopg.connect(metastore, autocommit=True) as connection:
        connection.execute(
            composed.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name)
        )
    if arguments:
        execute(metastore, "SET default_transaction_read_only = off", "DELETE FROM _yoyo_migration")

    message = command(module, *arguments)

    assert message.returncode == 1
    assert message.stderr.count("\n") == 1
    assert "Let DATABASE_URL lead to the primary server" in message.stderr


@pytest.mark.parametrize("grants", ["", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}"])
def test_a_role_without_rights_is_reported_what_to_do(metastore, role, monkeypatch, grants):
    reader = role("reader")
    if grants:
        execute(metastore, grants.format(reader))
    configure(monkeypatch, database_url=make_conninfo(metastore, user=reader))

    message = command("helpers.monitor")

    assert message.returncode == 1
    assert message.stderr.count("\n") == 1
    assert "permission denied for table" in message.stderr
    assert "Connect as the owner of the metastore's tables" in message.stderr


def test_an_account_that_owns_nothing_is_reported_what_to_do(empty_database, role, monkeypatch):
    stranger = role("stranger")
    execute(empty_database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as since PostgreSQL 15
    configure(monkeypatch, database_url=make_conninfo(empty_database, user=stranger))

    message = command("helpers.database", "migrate")

    assert message.returncode == 1
    assert message.stderr.count("\n") == 1
    assert (
        "may not create tables in schema public. Migrate as the database's owner" in message.stderr
    )
