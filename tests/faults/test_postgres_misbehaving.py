"""Whatever PostgreSQL does in the middle of a pass, the next one goes on as if nothing had been.

A database that is gone ends the pass with one message; a statement that is refused, or a row
that somebody else holds, costs the one item that it is about.
"""

import json
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
import pytest

from helpers import recording
from helpers.constants import BatchType
from helpers.database import close_pools, connection
from helpers.database.migrations import migrate
from helpers.database.schema import migration_ids
from helpers.errors import DatabaseUnavailableError, SchemaOutdatedError
from helpers.monitor import run_pass
from helpers.settings import get_settings
from sandbox.postgres import drop_database, recreate_database
from sandbox.seeding import add_cycle
from tests.support import faults_checks
from tests.support.chains import age_claims
from tests.support.faults_points import install
from tests.support.notebooks import step_notebook
from tests.support.own_postgres import own_postgres
from tests.support.passes import (
    Pass,
    active_batch,
    configure,
    jobs_of,
    one_pass,
    rows,
    running,
    wait_until,
)

LONG = pytest.mark.faults
CYCLE = "Analysis-2025-Q1"
MOST_CONNECTIONS = 25
SETTINGS = {
    "fsync": "off",  # the machine stays up
    "max_connections": str(MOST_CONNECTIONS),  # in force from the restart on
}
MARK = "import os, pathlib\nwith open('ran', 'a') as ran: ran.write('x')"


@pytest.fixture(scope="module")
def own_server():
    """A server that the tests of this module may restart."""
    with own_postgres(SETTINGS) as server:
        server.restart()
        yield server


@pytest.fixture(scope="module")
def own_template(own_server):
    """A migrated database on that server, to copy from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", recreate_database(own_server.url, "template_of_tests"))
        get_settings.cache_clear()
        migrate()
        close_pools()
    get_settings.cache_clear()
    return "template_of_tests"


@pytest.fixture
def own_metastore(own_server, own_template, monkeypatch):
    """A migrated metastore on that server, in DATABASE_URL."""
    name = f"test_{uuid4().hex[:12]}"
    url = recreate_database(own_server.url, name, template=own_template)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr("helpers.database.connection._CONNECT_TIMEOUT_SECONDS", 2)
    get_settings.cache_clear()
    yield get_settings().database_url.get_secret_value()
    close_pools()
    drop_database(own_server.url, name)


class Scene:
    """Two batches at Moody's: one of analyses, one of which fails, and one that completes."""

    def __init__(self, moodys, teams, workflows, url: str) -> None:
        self.moodys, self.teams, self.url = moodys, teams, url
        cycle = add_cycle(CYCLE)
        statuses = ["FINISHED"] * 4 + ["FAILED"]
        analyses = [
            running(moodys, "model", status, reason="Out of memory.") for status in statuses
        ]
        self.failing = active_batch(cycle, BatchType.ANALYSIS, analyses).batch_id
        imports = [running(moodys, "import", "FINISHED") for _ in range(2)]
        self.completing = active_batch(cycle, BatchType.MRI_IMPORT, imports).batch_id
        self.folders = [
            step_notebook(workflows, MARK, cycle=CYCLE, stage_num=stage, step_num=step).parent
            for stage, step in ((4, 2), (3, 4))
        ]

    def starts(self) -> list[int]:
        """Return how often each of the two next steps was started."""
        marks = [folder / "ran" for folder in self.folders]
        return [len(mark.read_text()) if mark.exists() else 0 for mark in marks]

    def assert_all_is_done(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as sql:
            assert faults_checks.batches(sql) == {
                self.failing: ("FAILED", 1),
                self.completing: ("COMPLETED", 1),
            }
            assert faults_checks.broken(sql) == {}
            assert sorted(faults_checks.chain_runs(sql)) == [
                (self.failing, 1, "COMPLETED"),
                (self.completing, 1, "COMPLETED"),
            ]
            assert faults_checks.cards(sql) == [("BATCH_FAILED", self.failing, 1, "SENT")]
        assert self.starts() == [1, 1]
        assert len(self.teams.messages) == 1


@pytest.fixture
def scene(own_metastore, moodys, teams, workflows, monkeypatch):
    monkeypatch.setattr(recording, "RECORD_CHUNK", 3)
    return Scene(moodys, teams, workflows, own_metastore)


def connection_pools():
    return connection._pools


def pass_over_a_broken_database() -> str:
    """Run one pass; return its one message, empty if it went on to its end."""
    try:
        run_pass()
    except DatabaseUnavailableError as exc:
        message = str(exc)
        assert message.startswith("The database cannot be reached: ")
        assert message.count("\n") == 0
        return message
    return ""


# --- Restarted in the middle of each section.

RESTARTED = [
    pytest.param("nothing found yet", id="1 nothing found yet"),
    pytest.param("found, not polled", id="2 found, not polled", marks=LONG),
    pytest.param("polled, not recorded", id="2 polled, not recorded", marks=LONG),
    pytest.param("one chunk recorded of several", id="2 one chunk recorded", marks=LONG),
    pytest.param("inside a chunk's transaction", id="2 inside a chunk's transaction", marks=LONG),
    pytest.param("recorded, not reconciled", id="3 recorded, not reconciled", marks=LONG),
    pytest.param("batch locked, nothing decided", id="3 batch locked", marks=LONG),
    pytest.param(
        "all that follows written, not committed", id="3 all that follows written, not committed"
    ),
    pytest.param("batch ended, step not claimed", id="4 step not claimed", marks=LONG),
    pytest.param("step claimed, not started", id="4 step claimed, not started"),
    pytest.param("notebook done, not recorded", id="4 notebook done", marks=LONG),
    pytest.param("cards due, none sent", id="5 cards due, none sent", marks=LONG),
    pytest.param("attempt counted, card not sent", id="5 attempt counted", marks=LONG),
    pytest.param("card sent, not marked", id="5 card sent, not marked", marks=LONG),
    pytest.param("all done, pass not on record", id="5 pass not on record", marks=LONG),
]


@pytest.mark.parametrize("point", RESTARTED)
def test_a_restart_in_the_middle_costs_at_most_the_pass(scene, own_server, monkeypatch, point):
    struck = []

    def restart() -> None:
        struck.append(point)
        own_server.restart()

    with monkeypatch.context() as patched:
        install(point, restart, replace=patched.setattr)
        pass_over_a_broken_database()

    assert struck == [point]
    recover(scene)
    scene.assert_all_is_done()


def recover(scene: Scene) -> None:
    """Let 90 s pass for claims, and a delay for cards, and run two passes as the clock would."""
    for _ in range(2):
        with psycopg.connect(scene.url, autocommit=True) as sql:
            age_claims(sql, 91)
            sql.execute("UPDATE irp_notification SET next_attempt_ts = now()")
        assert run_pass().errors == []


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("one chunk recorded of several", id="2", marks=LONG),
        pytest.param("status written, not committed", id="3"),
        pytest.param("cards due, none sent", id="5", marks=LONG),
    ],
)
def test_a_server_that_stays_away_ends_the_pass_with_one_message(
    scene, own_server, monkeypatch, point
):
    with monkeypatch.context() as patched:
        install(point, own_server.stop, replace=patched.setattr)
        try:
            first = pass_over_a_broken_database()
            again = pass_over_a_broken_database()
        finally:
            own_server.start()

    assert "No such file or directory" in first or "terminat" in first or "server closed" in first
    assert "No such file or directory" in again  # the reason, and not that something timed out
    assert get_settings().database_url.get_secret_value() not in first + again
    recover(scene)
    scene.assert_all_is_done()


# --- No connection to be had.


@contextmanager
def every_connection_taken(url: str, *, locks: int = 0):
    """Take what connections the server has left."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(url, autocommit=True))
        wait_until(lambda: nobody_is_leaving(first, locks))  # who does frees a connection later
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            take_all(stack, url)
        yield


def nobody_is_leaving(sql: psycopg.Connection, locks: int) -> bool:
    """Whether all sessions but this one are the pool's, if there is one, and so many locks'."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND pid <> pg_backend_pid()"
    )
    size = sum(pool.get_stats()["pool_size"] for pool in connection_pools().values())
    return bool(rows(sql, query)[0][0] == size + locks)


def take_all(stack: ExitStack, url: str) -> None:
    for _ in range(MOST_CONNECTIONS):
        stack.enter_context(psycopg.connect(url))


def test_a_server_without_a_connection_left_says_so_and_nothing_happens(scene, own_server):
    close_pools()
    with every_connection_taken(own_server.url):
        message = pass_over_a_broken_database()

    assert "too many clients" in message
    assert scene.moodys.statistics()["requests_total"] == 0
    with psycopg.connect(scene.url) as sql:
        assert rows(sql, "SELECT count(*) FROM irp_monitor_run") == [(0,)]
    recover(scene)
    scene.assert_all_is_done()


@pytest.mark.parametrize(
    ("point", "locks", "reply"),
    [
        pytest.param("nothing found yet", 0, "too many clients", id="2 no locks"),
        # the pool's own connection and the lock's are there already
        pytest.param("cards due, none sent", 1, "", id="5 none for a card", marks=LONG),
    ],
)
def test_connections_that_run_out_in_the_middle_end_the_pass_with_the_reason(
    scene, own_server, monkeypatch, point, locks, reply
):
    stack, struck = ExitStack(), []

    def take() -> None:
        stack.enter_context(every_connection_taken(own_server.url, locks=locks))
        struck.append(point)

    with stack, monkeypatch.context() as patched:
        install(point, take, replace=patched.setattr)
        message = pass_over_a_broken_database()

    assert struck == [point]
    assert reply in message
    assert bool(message) is bool(reply)
    recover(scene)
    scene.assert_all_is_done()


# --- Rows that somebody else holds.


@pytest.fixture
def impatient(monkeypatch):
    """A lock of somebody else costs a second in place of ten."""
    monkeypatch.setattr("helpers.database.connection._LOCK_TIMEOUT", "1s")
    close_pools()


@contextmanager
def held(url: str, query: str, *parameters: object):
    """Hold rows, or a table, as a person does who has forgotten to commit."""
    with psycopg.connect(url) as somebody:
        somebody.execute(query, parameters)
        yield


def three_batches(moodys) -> list:
    cycle = add_cycle(CYCLE)
    return [
        active_batch(cycle, kind, [running(moodys, family, "FINISHED") for _ in range(4)])
        for kind, family in (
            (BatchType.ANALYSIS, "model"),
            (BatchType.GEOHAZ, "geohaz"),
            (BatchType.GROUPING, "grouping"),
        )
    ]


def test_a_batch_that_somebody_holds_costs_that_batch_one_pass(
    moodys, sql, metastore, workflows, impatient
):
    first, second, third = three_batches(moodys)

    with held(metastore, "SELECT FROM irp_batch WHERE id = %s FOR UPDATE", second.batch_id):
        done = one_pass()

    assert done.became == {first.batch_id: "COMPLETED", third.batch_id: "COMPLETED"}
    [error] = done.reconciled.errors
    assert error.about == f"Batch {second.batch_id}"
    assert "lock timeout" in error.text
    assert one_pass().became == {second.batch_id: "COMPLETED"}
    assert faults_checks.broken(sql) == {}


def pass_with_waits(monkeypatch: pytest.MonkeyPatch) -> tuple[Pass, list[str]]:
    """Run a pass, and note the statements that waited in vain for what another session holds."""
    waits: list[str] = []
    execute = psycopg.Cursor.execute

    def noting(self: psycopg.Cursor, query: object, *rest: object, **more: object) -> object:
        try:
            return execute(self, query, *rest, **more)
        except psycopg.errors.LockNotAvailable:
            waits.append(str(query))
            raise

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", noting)
        return one_pass(), waits


def test_a_job_that_somebody_holds_costs_that_job_one_pass_and_one_wait(
    moodys, sql, metastore, workflows, monkeypatch
):
    monkeypatch.setattr("helpers.database.connection._LOCK_TIMEOUT", "2s")
    close_pools()
    batches = three_batches(moodys)
    job_id = batches[0].job_ids[2]

    with held(metastore, "SELECT FROM irp_job WHERE id = %s FOR UPDATE", job_id):
        done, waits = pass_with_waits(monkeypatch)

    assert {i for i, status in jobs_of(sql).items() if status != "FINISHED"} == {job_id}
    [remark] = done.polled.remarks
    assert remark.about == f"Job {job_id}"
    assert "held by another session" in remark.text
    assert len(waits) == 1  # halving the chunk down to it would wait at each of four steps
    assert one_pass().became == {batches[0].batch_id: "COMPLETED"}
    assert faults_checks.broken(sql) == {}


@pytest.mark.parametrize("table", ["irp_job", "irp_job_tracking_log"])
def test_a_table_that_somebody_holds_costs_one_wait_per_chunk_and_no_answer_is_half_recorded(
    moodys, sql, metastore, workflows, monkeypatch, impatient, table
):
    one_pass()  # does the housekeeping of this hour
    batches = three_batches(moodys)

    with held(metastore, f"LOCK TABLE {table} IN SHARE MODE"):
        done, waits = pass_with_waits(monkeypatch)

    assert set(jobs_of(sql).values()) == {"SUBMITTED"}
    assert rows(sql, "SELECT count(*) FROM irp_job_tracking_log") == [(0,)]
    assert len(done.polled.problems) == 1
    assert len(waits) < 10  # an answer at a time, it would be twelve and more
    assert set(one_pass().became) == {batch.batch_id for batch in batches}
    assert faults_checks.broken(sql) == {}


# --- Errors of the server's own.

INJECTED = {
    "53100": "No space left on device",
    "40001": "could not serialize access",
    "40P01": "deadlock detected",
    "53200": "out of memory",
    "25006": "read-only transaction",
    "XX001": "invalid page in block 0",
}
WRITTEN = [
    "irp_job_tracking_log",
    "irp_job",
    "irp_batch_recon_log",
    "irp_batch",
    "irp_chain_run",
    "irp_notification",
    "irp_step_run",
    "irp_monitor_run",
]


IN_SHORT = {
    ("53100", "irp_job_tracking_log"),
    ("53100", "irp_monitor_run"),
    ("40001", "irp_batch"),
}
REFUSED = [
    pytest.param(code, table, marks=[] if (code, table) in IN_SHORT else LONG)
    for code in INJECTED
    for table in WRITTEN
]


@contextmanager
def refused(sql, table: str, sqlstate: str, *, times: int | None = None):
    """Let every write to a table fail, or the next so many."""
    words = INJECTED[sqlstate]
    sql.execute("CREATE SEQUENCE refusals")
    condition = f"nextval('refusals') <= {times}" if times is not None else "true"
    sql.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN"
        f" RAISE EXCEPTION '{words}' USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$"
    )
    sql.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW"
        " EXECUTE FUNCTION refuse()"
    )
    yield
    sql.execute("DROP FUNCTION refuse CASCADE")
    sql.execute("DROP SEQUENCE refusals")


@pytest.fixture
def ordinary(metastore, moodys, teams, workflows):
    return Scene(moodys, teams, workflows, metastore)


@pytest.mark.parametrize(("sqlstate", "table"), REFUSED)
def test_a_table_that_cannot_be_written_is_reported_and_the_next_pass_goes_on(
    ordinary, sql, sqlstate, table
):
    words = INJECTED[sqlstate]
    with refused(sql, table, sqlstate):
        if table == "irp_monitor_run":  # not even its start can be put on record
            with pytest.raises(Exception, match=words):
                run_pass()
        else:
            done = one_pass()
            assert words in str(done.summary)
            assert "Traceback" not in str(done.summary)

    sql.execute("UPDATE irp_notification SET next_attempt_ts = now()")
    failed = rows(sql, "SELECT count(*) FROM irp_chain_run WHERE status = 'FAILED'")[0][0]
    one_pass()
    if table == "irp_step_run":  # a step that could not be logged was not started: people look
        assert failed == 2
        assert ordinary.starts() == [0, 0]
        assert len(rows(sql, "SELECT FROM irp_notification WHERE kind = 'CHAIN_FAILED'")) == 2
    else:
        ordinary.assert_all_is_done()


@pytest.mark.parametrize("sqlstate", ["40001", pytest.param("40P01", marks=LONG)])
def test_a_conflict_with_somebody_else_is_tried_again_at_once(ordinary, sql, sqlstate):
    with refused(sql, "irp_job", sqlstate, times=1):
        done = one_pass()

    assert done.polled.all_remarks == []
    assert set(jobs_of(sql).values()) == {"FINISHED", "FAILED"}


def test_a_disk_that_is_full_is_not_tried_once_per_job(metastore, moodys, sql, workflows):
    jobs = [running(moodys, "model", "FINISHED") for _ in range(300)]
    active_batch(add_cycle(CYCLE), BatchType.ANALYSIS, jobs)

    with refused(sql, "irp_job", "53100", times=1_000_000):  # counted, by a sequence
        done = one_pass()
        tries = rows(sql, "SELECT last_value FROM refusals")[0][0]

    assert tries < 10
    assert len(done.polled.problems) == 1
    assert set(jobs_of(sql).values()) == {"SUBMITTED"}
    assert one_pass().became


def test_an_end_that_cannot_be_put_on_record_still_shows_the_summary(ordinary, sql):
    monitor_run = "BEFORE UPDATE ON irp_monitor_run"
    sql.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
    )
    sql.execute(f"CREATE TRIGGER refuse {monitor_run} FOR EACH ROW EXECUTE FUNCTION refuse()")

    done = one_pass()

    assert done.became == {ordinary.failing: "FAILED", ordinary.completing: "COMPLETED"}
    assert "No space left on device" in str(done.summary)
    assert done.summary.failed
    ordinary.assert_all_is_done()


def test_a_claim_that_fails_leaves_the_notebook_that_runs_alone(ordinary, sql, monkeypatch):
    """Errors of one chain run do not stop the others."""
    configure(monkeypatch, monitor_step_workers=2)
    # The first claim goes through; the second one, while the first notebook runs, does not.
    sql.execute("CREATE SEQUENCE claims")
    sql.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('claims') = 2 THEN RAISE EXCEPTION 'could not serialize access'"
        " USING ERRCODE = '40001'; END IF; RETURN NEW; END $$"
    )
    sql.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON irp_chain_run FOR EACH ROW"
        " WHEN (NEW.attempt > OLD.attempt) EXECUTE FUNCTION refuse()"
    )

    done = one_pass()

    assert [step.error for step in done.chained.steps][:1] == [None]
    assert "could not serialize access" in str(done.chained)
    one_pass()
    ordinary.assert_all_is_done()


# --- Behind on migrations.


def dump(url: str) -> dict[str, list]:
    """Return every row of every table."""
    with psycopg.connect(url) as sql:
        names = sql.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace ="
            " 'public'::regnamespace ORDER BY relname"
        ).fetchall()
        return {name: sql.execute(f'TABLE "{name}"').fetchall() for (name,) in names}


@pytest.mark.parametrize("missing", [1, 3])
def test_a_database_that_is_behind_is_informed_and_nothing_is_written_or_asked(
    metastore, moodys, teams, workflows, missing
):
    active_batch(add_cycle(CYCLE), BatchType.GEOHAZ, [running(moodys, "geohaz", "FINISHED")])
    names = migration_ids()[-missing:]
    with psycopg.connect(metastore) as sql:
        sql.execute("DELETE FROM _yoyo_migration WHERE migration_id = ANY (%s)", [names])
    before = dump(metastore)

    with pytest.raises(SchemaOutdatedError) as caught:
        run_pass()

    message = str(caught.value)
    assert all(name in message for name in names)
    assert "python -m helpers.database migrate" in message
    assert json.dumps(message)
    assert dump(metastore) == before
    assert moodys.statistics()["requests_total"] == 0
