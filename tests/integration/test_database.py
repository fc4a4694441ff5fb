import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import aiosql
import psycopg
import pytest
from psycopg import sql as composed
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helpers.database import (
    AdvisoryLocks,
    LockSpace,
    close_pools,
    connect,
    in_transaction,
    lock_holders,
    queries,
    transaction,
)
from helpers.database import locks as locks_module
from helpers.database.named import sql_dir
from helpers.database.named import statements as named_statements
from helpers.errors import DatabaseError, DatabaseUnavailableError, SettingsError
from helpers.settings import get_settings
from sandbox.statements import statements
from tests.support.own_postgres import own_postgres
from tests.support.ports import free_port
from tests.support.waiting import wait_until

OWNERS = sorted(path.stem for path in (sql_dir() / "queries").glob("*.sql"))
PARAMETER = re.compile(r"%\((\w+)\)s")


def named_queries() -> list[tuple[str, str]]:
    found = []
    for owner in OWNERS:
        module = aiosql.from_path(sql_dir() / "queries" / f"{owner}.sql", "psycopg")
        found += [
            (owner, name) for name in module.available_queries if not name.endswith("_cursor")
        ]
    return found


LOG_FROM_BEFORE = """
    CREATE TABLE irp_job_tracking_log_adopted
        (id int, job_id int, tracked_ts timestamptz, moodys_workflow_id varchar(50),
         job_status job_status_enum, tracking_data jsonb)"""


def test_every_named_query_prepares_against_the_schema(metastore, sql):
    sql.execute(LOG_FROM_BEFORE)
    problems = {}
    for owner, name in named_queries():
        text = getattr(named_statements(owner), name).sql
        if text.startswith(("DROP", "LISTEN")):  # what is no query cannot be prepared
            continue
        names = list(dict.fromkeys(PARAMETER.findall(text)))
        for number, parameter in enumerate(names, 1):
            text = text.replace(f"%({parameter})s", f"${number}")
        try:
            sql.execute(f"PREPARE {owner}_{name} AS {text}")
        except psycopg.Error as exc:
            problems[f"{owner}.{name}"] = str(exc)

    assert problems == {}
    assert sql.execute("SELECT count(*) FROM pg_prepared_statements WHERE from_sql").fetchone() == (
        len(named_queries()) - 2,
    )


def test_the_log_from_before_is_dropped_by_its_name(metastore, sql):
    sql.execute(LOG_FROM_BEFORE)

    with transaction() as connection:
        queries("migrations").drop_adopted_log(connection)

    with transaction() as connection:
        assert not queries("migrations").has_adopted_log(connection)


@pytest.mark.parametrize("owner", OWNERS)
def test_every_named_query_says_what_it_is_for(owner):
    text = (sql_dir() / "queries" / f"{owner}.sql").read_text()

    for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        assert block.splitlines()[1].startswith("-- "), block.splitlines()[0]


def add_cycles(*names: str) -> None:
    with transaction() as connection:
        for name in names:
            statements().cycle(connection, name=name, status="ACTIVE")


def test_nested_calls_join_the_transaction_and_all_of_it_is_rolled_back(metastore, sql):
    class OnPurposeError(Exception):
        pass

    def add_two_and_fail() -> None:
        with transaction() as outer:
            add_cycles("one")
            with transaction() as inner:
                assert inner is outer
                add_cycles("two")
            raise OnPurposeError

    with pytest.raises(OnPurposeError):
        add_two_and_fail()
    assert sql.execute("SELECT count(*) FROM irp_cycle").fetchone() == (0,)

    add_cycles("three")
    assert sql.execute("SELECT cycle_name FROM irp_cycle").fetchall() == [("three",)]


def test_a_transaction_is_seen_from_inside_and_only_there(metastore):
    assert not in_transaction()
    with transaction():
        assert in_transaction()
    assert not in_transaction()


def test_each_thread_has_a_transaction_of_its_own(metastore):
    seen = []
    with transaction():
        thread = threading.Thread(target=lambda: seen.append(in_transaction()))
        thread.start()
        thread.join()

    assert seen == [False]


def test_an_error_that_was_swallowed_does_not_look_like_a_commit(metastore, sql):
    def swallow() -> None:
        with transaction():
            add_cycles("one")
            with suppress(psycopg.Error):
                add_cycles("one")

    with pytest.raises(DatabaseError, match="rolled back"):
        swallow()
    assert sql.execute("SELECT count(*) FROM irp_cycle").fetchone() == (0,)


def test_a_statement_that_is_refused_is_reported_and_the_next_one_works(metastore):
    with pytest.raises(DatabaseError, match="duplicate key") as caught:
        add_cycles("one", "one")

    assert not isinstance(caught.value, DatabaseUnavailableError)
    add_cycles("one")


def run(*statements: str) -> None:
    with transaction() as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_statement_that_was_cancelled_is_no_lost_connection(metastore):
    with pytest.raises(DatabaseError, match="statement timeout") as caught:
        run("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(10)")

    assert not isinstance(caught.value, DatabaseUnavailableError)


def test_a_row_that_someone_else_holds_costs_one_item_and_not_the_pass(metastore, sql):
    add_cycles("one")
    with transaction() as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == {"lock_timeout": "10s"}
    with sql.transaction():
        sql.execute("SELECT FROM irp_cycle FOR UPDATE")
        with pytest.raises(DatabaseError, match="lock timeout") as caught:
            run("SET LOCAL lock_timeout = '20ms'", "SELECT FROM irp_cycle FOR UPDATE")

    assert not isinstance(caught.value, DatabaseUnavailableError)


def test_a_connection_that_breaks_is_reported_and_the_next_call_gets_a_new_one(metastore, sql):
    def break_and_ask() -> None:
        with transaction() as connection:
            pid = connection.info.backend_pid
            sql.execute("SELECT pg_terminate_backend(%s)", [pid])
            alive = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: sql.execute(alive, [pid]).fetchone() is None)
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError):
        break_and_ask()

    with transaction() as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_a_thread_that_loses_an_old_pool_leaves_the_new_one_alone(metastore, sql):
    def session() -> int:
        with transaction() as connection:
            return connection.info.backend_pid

    may_fail, is_inside = threading.Event(), threading.Event()

    def lose_the_connection() -> None:
        with transaction() as connection:
            is_inside.set()
            may_fail.wait()
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def fail_late() -> None:
        with pytest.raises(DatabaseUnavailableError):
            lose_the_connection()

    thread = threading.Thread(target=fail_late)
    thread.start()
    is_inside.wait()
    close_pools()
    opened_since = session()
    may_fail.set()
    thread.join()

    session()  # a new pool would be opened by now, where the other was discarded
    alive = "SELECT FROM pg_stat_activity WHERE pid = %s"
    assert sql.execute(alive, [opened_since]).fetchone() is not None


def test_a_host_that_vanishes_is_noticed_on_both_sides_in_half_a_minute(monkeypatch):
    """Two hours is the kernel's patience: so long a laptop that was closed would hold its locks."""
    with own_postgres({}) as server:
        server.stop()
        port = free_port()
        server.start(tcp_port=port)
        use(monkeypatch, make_conninfo(server.url, host="127.0.0.1", port=port))

        with transaction() as pooled, closing(connect(application_name="a lock")) as own:
            for connection in (pooled, own):
                asked = "SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_%%'"
                rows = connection.execute(asked)
                assert {row["name"]: int(row["setting"]) for row in rows} == {
                    "tcp_keepalives_idle": 15,
                    "tcp_keepalives_interval": 5,
                    "tcp_keepalives_count": 3,
                    "tcp_user_timeout": 30_000,
                }
                ours = connection.info.get_parameters()
                assert (ours["keepalives_idle"], ours["tcp_user_timeout"]) == ("15", "30000")
        close_pools()


def test_threads_that_come_first_together_share_one_pool(metastore, sql):
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        with transaction() as connection:
            connection.execute("SELECT 1")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close_pools()

    left = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batch-monitor' "
        "AND datname = current_database()"
    )
    # a pool that was lost would keep its connections
    wait_until(lambda: sql.execute(left).fetchone() == (0,))


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("url", "error", "reply"),
    [
        # nobody listens
        ("postgresql://u:hunter2pw@127.0.0.1:1/d", DatabaseUnavailableError, "refused"),
        ("host=127.0.0.1 port=1 password=hunter2pw", DatabaseUnavailableError, "refused"),
        # no such socket, no such host
        ("postgresql://u:hunter2pw@/d?host=/nowhere", DatabaseUnavailableError, "/nowhere"),
        ("postgresql://u:hunter2pw@nowhere.invalid/d", DatabaseUnavailableError, "nowhere.invalid"),
        # malformed: psycopg itself would repeat it
        ("postgresql://u:hunter2pw%ZZ@h/d", SettingsError, "special characters %-encoded"),
        ("postgresql://u:a@hunter2pw@h/d", SettingsError, "special characters %-encoded"),
        ("hunter2pw", SettingsError, "special characters %-encoded"),
        ("host=h passwort=hunter2pw", SettingsError, "special characters %-encoded"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_message_without_a_secret(
    monkeypatch, url, error, reply
):
    use(monkeypatch, url)

    for attempt in (transaction, lambda: connect(application_name="x")):
        with pytest.raises(error, match="DATABASE_URL") as caught, attempt():
            pass
        message = str(caught.value)
        assert reply in message
        assert "hunter2pw" not in message
        assert "\n" not in message
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_without_a_database_the_message_names_the_settings_and_the_demo():
    with pytest.raises(SettingsError) as caught, transaction():
        pass

    for word in ("DATABASE_URL", "PGHOST", "PGDATABASE", "make demo"):
        assert word in str(caught.value)


def test_libpqs_own_variables_will_do(metastore, monkeypatch):
    parts = conninfo_to_dict(metastore)
    monkeypatch.delenv("DATABASE_URL")
    for variable, key in (
        ("PGHOST", "host"),
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGPASSWORD", "password"),
        ("PGDATABASE", "dbname"),
    ):
        if key in parts:
            monkeypatch.setenv(variable, str(parts[key]))
    get_settings.cache_clear()

    with transaction() as connection:
        assert connection.info.dbname == parts["dbname"]


def test_a_role_that_may_not_enter_is_reported_without_its_password(metastore, sql, monkeypatch):
    role = f"r{Path(metastore.split('dbname=')[1].split()[0]).name}"
    name = composed.Identifier(role)
    sql.execute(composed.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 0").format(name))
    try:
        use(monkeypatch, make_conninfo(metastore, user=role, password="hunter2pw"))
        with pytest.raises(DatabaseUnavailableError) as caught, transaction():
            pass
    finally:
        sql.execute(composed.SQL("DROP ROLE {}").format(name))

    assert "hunter2pw" not in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)
    assert "the password" in str(caught.value)


def test_a_lock_is_held_by_one_and_its_holder_is_named(metastore):
    with AdvisoryLocks(owner="monitor a pid 1") as first, AdvisoryLocks(owner="b") as second:
        assert first.try_acquire(LockSpace.POLL_BATCH, [1, 2]) == {1, 2}
        assert second.try_acquire(LockSpace.POLL_BATCH, [2, 3]) == {3}
        assert lock_holders(LockSpace.POLL_BATCH, [1, 2, 3, 4]) == {
            1: "monitor a pid 1",
            2: "monitor a pid 1",
            3: "b",
        }


def test_locks_of_different_spaces_do_not_meet(metastore):
    with AdvisoryLocks(owner="a") as first, AdvisoryLocks(owner="b") as second:
        assert first.try_acquire(LockSpace.POLL_BATCH, [1]) == {1}
        assert second.try_acquire(LockSpace.SUBMIT_BATCH, [1]) == {1}


def test_locks_are_freed_at_the_end_of_the_block(metastore):
    with AdvisoryLocks(owner="a") as first:
        first.try_acquire(LockSpace.POLL_BATCH, [1])
    with AdvisoryLocks(owner="b") as second:
        assert second.try_acquire(LockSpace.POLL_BATCH, [1]) == {1}


def test_locks_are_freed_when_their_holders_connection_dies(metastore, sql):
    with AdvisoryLocks(owner="the dead") as dead, AdvisoryLocks(owner="the heir") as heir:
        dead.try_acquire(LockSpace.POLL_BATCH, [1])
        assert heir.try_acquire(LockSpace.POLL_BATCH, [1]) == set()
        dead.check()

        sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'the dead'"
        )
        wait_until(lambda: heir.try_acquire(LockSpace.POLL_BATCH, [1]))

        with pytest.raises(DatabaseUnavailableError):
            dead.check()
        with pytest.raises(DatabaseUnavailableError):
            dead.try_acquire(LockSpace.POLL_BATCH, [2])


def test_asking_for_no_lock_takes_none(metastore):
    with AdvisoryLocks(owner="a") as locks:
        assert locks.try_acquire(LockSpace.POLL_BATCH, []) == set()
        assert lock_holders(LockSpace.POLL_BATCH, []) == {}


def test_locks_end_with_their_holders_progress(metastore, monkeypatch):
    monkeypatch.setattr(locks_module, "IDLE_SECONDS", 0.5)
    with AdvisoryLocks(owner="frozen") as silent, AdvisoryLocks(owner="b") as other:
        silent.try_acquire(LockSpace.POLL_BATCH, [1])
        monkeypatch.setattr(locks_module, "IDLE_SECONDS", 600)  # what it believes itself
        wait_until(lambda: other.are_held() and other.try_acquire(LockSpace.POLL_BATCH, [1]))
        monkeypatch.setattr(locks_module, "IDLE_SECONDS", 0.5)

        assert not silent.are_held()
        assert not silent.are_held()  # and they do not come back


def test_only_the_thread_that_works_keeps_its_locks(metastore, monkeypatch):
    monkeypatch.setattr(locks_module, "IDLE_SECONDS", 0.4)
    with AdvisoryLocks(owner="hangs") as locks:
        locks.try_acquire(LockSpace.POLL_BATCH, [1])
        with ThreadPoolExecutor(1) as pool:
            wait_until(lambda: not pool.submit(locks.are_held).result())
        assert not locks.are_held()


def test_locks_are_kept_by_pings(metastore, sql, monkeypatch):
    monkeypatch.setattr(locks_module, "IDLE_SECONDS", 2.0)
    with AdvisoryLocks(owner="works") as locks:
        assert locks.try_acquire(LockSpace.POLL_BATCH, [1]) == {1}
        last = "SELECT query_start FROM pg_stat_activity WHERE application_name = 'works'"
        first = sql.execute(last).fetchone()
        wait_until(lambda: locks.are_held() and sql.execute(last).fetchone() != first)


@pytest.mark.parametrize(("ends_when_idle", "timeout"), [(True, "1min"), (False, "0")])
def test_the_server_ends_a_silent_holder_except_for_a_migration(metastore, ends_when_idle, timeout):
    with AdvisoryLocks(owner="a", ends_when_idle=ends_when_idle) as locks:
        setting = locks._connection.execute("SHOW idle_session_timeout").fetchone()

    assert setting == {"idle_session_timeout": timeout}
